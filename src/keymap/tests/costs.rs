//! What deletes and long filters take, and that it is counted.

use super::*;

/// An index of so many keys whose jobs are done, and these.
fn indexed(keys: u32) -> (KeyIndex, Vec<String>) {
    let names: Vec<String> = (0..keys).map(|n| format!("user:{n:07}:name")).collect();
    let mut index = KeyIndex::default();
    for (slot, name) in (0..).zip(&names) {
        index.insert(name.as_bytes(), slot);
        while let Some(job) = index.next_job() {
            assert!(matches!(index.finish(job.run()), Finish::Done(_)));
        }
    }
    (index, names)
}

#[test]
fn what_a_delete_takes_is_counted_at_once() {
    let (mut index, names) = indexed(4 * 4096);
    let before = index.heap_bytes();
    assert_eq!(index.stats().segment_bytes.dead, 0);
    for name in names.iter().take(3000) {
        assert!(index.remove(name.as_bytes()).is_some());
    }
    // Two ranks each, before any job has looked.
    assert!(index.stats().segment_bytes.dead >= 3000 * 8);
    assert!(index.heap_bytes() >= before + 3000 * 8);
}

#[test]
fn a_first_delete_takes_no_more_in_a_large_segment_than_in_a_small_one() {
    let taken = |keys: u32| {
        let (mut index, names) = indexed(keys);
        assert!(index.remove(names[0].as_bytes()).is_some());
        index.stats().segment_bytes.dead
    };
    assert_eq!(taken(4096), taken(16 * 4096));
}

#[test]
fn what_a_long_filter_takes_is_work_of_the_page() {
    let mut index = KeyIndex::default();
    let prefix = "p".repeat(990);
    for number in 0..4096 {
        index.insert(format!("{prefix}{number:05}").as_bytes(), number);
    }
    while let Some(job) = index.next_job() {
        assert!(matches!(index.finish(job.run()), Finish::Done(_)));
    }
    let page_of = |prefix: &str| {
        let filter = Filter {
            prefix: prefix.into(),
            suffix: Vec::new(),
        };
        index.page(&filter, b"", 4096).keys.len()
    };
    let (short, long) = (page_of("p"), page_of(&prefix));
    assert!(long < short, "{long} keys, and {short}");
    assert!(long > short / 2, "{long} keys, and {short}");
}

#[test]
fn waste_that_no_rewrite_ends_is_not_forgotten() {
    let (index, _) = indexed(4096);
    let live = &index.segments[0];
    live.waste(u32::MAX - 1);
    live.waste(2);
    assert_eq!(live.wasted(), u32::MAX);
}
