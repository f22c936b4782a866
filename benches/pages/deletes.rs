//! What a page and a count cost after mass deletes, against an index that never held what was
//! deleted.

use crate::rivals::by_index;
use crate::shapes::Shape;
use crate::{Merges, build, finish, median_us, mixes};
use kvstore::keymap::KeyIndex;
use kvstore::model::Filter;

/// Whether a key is deleted, by its place among all and by itself.
type IsDoomed<'a> = Box<dyn Fn(usize, &str) -> bool + 'a>;

pub fn report(shape: &Shape) {
    let suffix = shape.suffixes[1].clone();
    let mut sorted: Vec<&String> = shape.keys.iter().collect();
    sorted.sort_unstable();
    let half = sorted[sorted.len() / 2].clone();
    let patterns: [(&str, IsDoomed<'_>); 3] = [
        ("half at random", Box::new(|at, _| at % 2 == 0)),
        ("a contiguous half", Box::new(move |_, key| *key < *half)),
        (
            "99 % of a suffix class",
            Box::new(move |at, key| key.ends_with(&suffix) && at % 100 != 0),
        ),
    ];
    for (pattern, is_doomed) in patterns {
        let mut index = build(&shape.keys, Merges::AllDone);
        let mut rest = Vec::new();
        for (at, key) in shape.keys.iter().enumerate() {
            if is_doomed(at, key) {
                index.remove(key.as_bytes());
            } else {
                rest.push(key.clone());
            }
        }
        let fresh = build(&rest, Merges::AllDone);
        settle(&mut index);
        // Searches that met many dead keys asked for them to be cleared away.
        worst(&index, &fresh, shape);
        settle(&mut index);
        let settled = worst(&index, &fresh, shape);
        println!(
            "| {} {} | {pattern} | {:.0} | {:.0} | {:.2} |",
            shape.keys.len(),
            shape.name,
            settled.0,
            settled.1,
            settled.0 / settled.1
        );
    }
}

/// The median time of the worst mix, of an index and of one with the same keys.
fn worst(index: &KeyIndex, fresh: &KeyIndex, shape: &Shape) -> (f64, f64) {
    let mut worst = (0.0_f64, 0.0_f64);
    for (prefix, suffix) in mixes(shape) {
        let filter = Filter {
            prefix: prefix.into(),
            suffix: suffix.into(),
        };
        let expected = by_index(fresh, &filter);
        let ours = median_us(|| assert_eq!(by_index(index, &filter), expected));
        let theirs = median_us(|| assert_eq!(by_index(fresh, &filter), expected));
        worst = (worst.0.max(ours), worst.1.max(theirs));
    }
    worst
}

fn settle(index: &mut KeyIndex) {
    while let Some(job) = index.next_job() {
        finish(job, |outcome| index.finish(outcome));
    }
}
