//! The worst page against the number of keys, as a picture.

use plotters::prelude::*;
use std::path::Path;

/// What was measured of a shape: the number of keys, and the worst mix of the key index and of a
/// tree that is walked, in µs.
pub struct Series {
    pub name: &'static str,
    pub points: Vec<(f64, f64, f64)>,
}

pub fn draw(file: &Path, series: &[Series]) {
    let drawn = try_draw(file, series);
    drawn.expect("the folder of the picture can be written to");
}

fn try_draw(file: &Path, series: &[Series]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(file, (720, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let points = || series.iter().flat_map(|series| &series.points);
    let least = points().map(|point| point.0).fold(f64::MAX, f64::min);
    let most = points().map(|point| point.0).fold(0.0, f64::max);
    let slowest = points()
        .map(|point| point.2.max(point.1))
        .fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .caption(
            "Page of 100 keys with the exact total, worst filter mix",
            ("sans-serif", 17),
        )
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (least..most * 1.1).log_scale(),
            (10.0..slowest * 1.5).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("keys")
        .y_desc("median µs")
        .draw()?;
    for (index, series) in series.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let ours = series.points.iter().map(|point| (point.0, point.1));
        let tree = series.points.iter().map(|point| (point.0, point.2));
        chart
            .draw_series(LineSeries::new(ours, color.stroke_width(3)).point_size(3))?
            .label(format!("kvstore, {}", series.name))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
        chart
            .draw_series(DashedLineSeries::new(tree, 4, 4, color.stroke_width(1)))?
            .label(format!("tree, walked and filtered, {}", series.name))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(1)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::MiddleRight)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    root.present()?;
    Ok(())
}
