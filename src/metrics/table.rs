//! Metrics that are read at a scrape. Each is written once: its name, its help, and where its value is.

use super::{options, registered};
use prometheus::{Counter, Error, Gauge, GaugeVec, Registry};

/// A metric of what `S` says of itself.
pub(super) struct Sampled<S> {
    /// Without the prefix of all names.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) value: Value<S>,
}

/// Of what kind a metric is, and where its value is.
pub(super) enum Value<S> {
    Gauge(fn(&S) -> f64),
    /// The total since the start.
    Counter(fn(&S) -> f64),
    /// One for each of a closed set of labels.
    Gauges(&'static str, fn(&S) -> Vec<(&'static str, f64)>),
}

/// Metrics that are in a registry.
#[derive(Debug)]
pub(super) struct Table<S: 'static>(Vec<Row<S>>);

#[derive(Debug)]
enum Row<S> {
    Gauge(Gauge, fn(&S) -> f64),
    Counter(Counter, fn(&S) -> f64),
    Gauges(GaugeVec, fn(&S) -> Vec<(&'static str, f64)>),
}

impl<S> Table<S> {
    /// Puts metrics in a registry.
    ///
    /// # Errors
    /// Where a name is not one or is there twice.
    pub(super) fn register(registry: &Registry, metrics: &[Sampled<S>]) -> Result<Self, Error> {
        let rows = metrics.iter().map(|metric| {
            let options = options(metric.name, metric.help);
            Ok(match metric.value {
                Value::Gauge(read) => {
                    Row::Gauge(registered(registry, Gauge::with_opts(options))?, read)
                }
                Value::Counter(read) => {
                    Row::Counter(registered(registry, Counter::with_opts(options))?, read)
                }
                Value::Gauges(label, read) => {
                    let gauges = GaugeVec::new(options, &[label]);
                    Row::Gauges(registered(registry, gauges)?, read)
                }
            })
        });
        Ok(Self(rows.collect::<Result<_, Error>>()?))
    }

    /// Takes the values in. Not to be called twice at once, since both would add the same difference.
    pub(super) fn set(&self, stats: &S) {
        for row in &self.0 {
            match row {
                Row::Gauge(gauge, read) => gauge.set(read(stats)),
                Row::Counter(counter, read) => {
                    counter.inc_by((read(stats) - counter.get()).max(0.0));
                }
                Row::Gauges(gauges, read) => {
                    for (label, value) in read(stats) {
                        gauges.with_label_values(&[label]).set(value);
                    }
                }
            }
        }
    }
}
