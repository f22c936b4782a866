//! What deletes and long filters take, and that it is counted.

use super::*;

/// An index of so many keys whose jobs are done, and these.
fn indexed(keys: u32) -> (KeyIndex, Vec<String>) {
    let names: Vec<String> = (0..keys).map(|n| format!("user:{n:07}:name")).collect();
    let mut index = KeyIndex::default();
    for (slot, name) in (0..).zip(&names) {
        index.insert(name.as_bytes(), slot);
        while let Some(job) = index.next_job() {
            assert!(matches!(index.finish(job.run()), Finish::Done));
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
    let settle = |index: &mut KeyIndex| {
        while let Some(job) = index.next_job() {
            assert!(matches!(index.finish(job.run()), Finish::Done));
        }
    };
    for number in 0..4096 {
        index.insert(format!("{prefix}{number:05}").as_bytes(), number);
        settle(&mut index);
    }
    index.freeze();
    settle(&mut index);
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

/// A key of some hundred bytes.
fn long(number: u32) -> String {
    format!("{number:06}{}", "k".repeat(900))
}

/// An index of long keys in segments that are worth a merge, for which there was no room, and how many keys are in them.
fn unmerged() -> (KeyIndex, u32) {
    let mut index = KeyIndex::default();
    for number in 0..4000 {
        index.insert(long(number).as_bytes(), number);
        while let Some(job) = index.next_job_within(MergeRoom::NONE) {
            assert!(matches!(index.finish(job.run()), Finish::Done));
        }
    }
    let stats = index.stats();
    assert!(stats.segments > 2 && stats.fresh_keys < 2000, "{stats:?}");
    assert_eq!(stats.merging_bytes, 0);
    (index, 4000 - stats.fresh_keys as u32)
}

#[test]
fn deletes_while_a_merge_runs_take_some_bytes_each_however_long_the_keys() {
    let (mut index, keys) = unmerged();
    assert!(index.look_again(), "there may be room now");
    let merge = index.next_job().unwrap();
    assert_eq!(index.stats().merges_running, 1);
    let before = index.heap_bytes();
    let mut doomed: Vec<u32> = (0..keys).filter(|number| number % 2 == 0).collect();
    for number in &doomed {
        assert_eq!(index.remove(long(*number).as_bytes()), Some(*number));
    }
    let taken = index.heap_bytes() - before;
    assert!(taken < 32 * doomed.len(), "{taken} for {}", doomed.len());
    // One is there again, elsewhere.
    index.insert(long(0).as_bytes(), keys + 1);
    let Finish::Again(carry_over) = index.finish(merge.run()) else {
        panic!("many were deleted meanwhile");
    };
    // Some more while these are carried over, which the swap does itself.
    let more = (0..keys).filter(|number| number % 128 == 1);
    for number in more {
        assert_eq!(index.remove(long(number).as_bytes()), Some(number));
        doomed.push(number);
    }
    assert!(matches!(index.finish(carry_over.run()), Finish::Done));
    let stats = index.stats();
    assert_eq!((stats.segments, stats.dead_keys), (1, doomed.len()));
    let expected = |number: u32| match number {
        0 => Some(keys + 1),
        _ => (!doomed.contains(&number)).then_some(number),
    };
    for number in 0..4000 {
        assert_eq!(index.find(long(number).as_bytes()), expected(number));
    }
    let filter = Filter {
        prefix: Vec::new(),
        suffix: b"k".to_vec(),
    };
    assert_eq!(index.count(&filter), 4001 - doomed.len());
    assert_eq!(index.len(), 4001 - doomed.len());
}

#[test]
fn what_a_merge_takes_and_replaces_is_counted_until_it_is_dropped() {
    let (mut index, _) = unmerged();
    let held = index.stats().segment_bytes.total();
    assert!(index.look_again());
    let upcoming = index.upcoming().rewriting;
    let merge = index.next_job().unwrap();
    assert!(upcoming > held, "{upcoming} bytes to rewrite {held}");
    assert_eq!(index.merging_bytes(), upcoming);
    assert!(matches!(index.finish(merge.run()), Finish::Done));
    assert_eq!(index.merging_bytes(), held, "the inputs are still there");
    let dropping = index.next_job().unwrap();
    assert!(matches!(index.finish(dropping.run()), Finish::Done));
    assert_eq!(index.merging_bytes(), 0);
}

#[test]
fn a_segment_is_rewritten_without_room_once_half_of_it_is_dead_and_nothing_else_runs() {
    let (mut index, keys) = unmerged();
    let mut room = MergeRoom {
        is_alone: true,
        ..MergeRoom::NONE
    };
    assert!(index.next_job_within(room).is_none());
    for number in (0..keys).filter(|number| number % 5 < 2) {
        index.remove(long(number).as_bytes());
    }
    assert!(index.next_job_within(room).is_none(), "less than half");
    for number in (0..keys).filter(|number| number % 5 == 2) {
        index.remove(long(number).as_bytes());
    }
    room.is_alone = false;
    assert!(index.next_job_within(room).is_none(), "another may end");
    room.is_alone = true;
    assert!(index.look_again());
    let rewritten = index.next_job_within(room).unwrap();
    assert!(matches!(index.finish(rewritten.run()), Finish::Done));
    let alive = (0..4000).filter(|number| *number >= keys || number % 5 > 2);
    assert_eq!(index.len(), alive.count());
}

#[test]
fn a_fold_of_a_segment_that_was_merged_away_is_dropped_by_a_job() {
    let keys = 32 * 1024;
    let (mut index, names) = indexed(keys);
    for name in names.iter().step_by(4) {
        assert!(index.remove(name.as_bytes()).is_some());
    }
    // For a fold, but not to rewrite what it is of.
    let room = MergeRoom {
        now: 64 * names.len() / 4,
        ..MergeRoom::NONE
    };
    let fold = index.next_job_within(room).unwrap();
    assert_eq!(
        (index.stats().merges_running, fold.keys() > 4000),
        (0, true)
    );
    assert!(index.next_job_within(room).is_none());
    assert!(index.look_again());
    while let Some(job) = index.next_job() {
        assert!(matches!(index.finish(job.run()), Finish::Done));
    }
    let stats = index.stats();
    assert_eq!((stats.dead_keys, stats.segments), (0, 1));
    let outcome = fold.run();
    let job::JobResult::Folded { index: folded } = &outcome.result else {
        panic!("{outcome:?}");
    };
    let bytes = folded.heap_bytes();
    assert!(matches!(index.finish(outcome), Finish::Done));
    assert_eq!(index.merging_bytes(), bytes);
    let dropping = index.next_job().unwrap();
    assert!(matches!(index.finish(dropping.run()), Finish::Done));
    assert_eq!(index.merging_bytes(), 0);
}

#[test]
fn a_result_that_is_dead_when_it_lands_is_dropped_by_a_job_with_its_dead() {
    let (mut index, keys) = unmerged();
    assert!(index.look_again());
    let merge = index.next_job().unwrap();
    for number in 0..keys {
        assert!(index.remove(long(number).as_bytes()).is_some());
    }
    let replaced = index.stats().segment_bytes.total();
    let Finish::Again(carry_over) = index.finish(merge.run()) else {
        panic!("all were deleted meanwhile");
    };
    let outcome = carry_over.run();
    let job::JobResult::Merged { segment, dead } = &outcome.result else {
        panic!("{outcome:?}");
    };
    let bytes = segment.heap_bytes().total() + dead.heap_bytes();
    assert!(dead.heap_bytes() > 0);
    assert!(matches!(index.finish(outcome), Finish::Done));
    assert_eq!(index.stats().segments, 0);
    assert_eq!(index.merging_bytes(), replaced + bytes);
}
