//! How many segments any history leaves, and what becomes of jobs that fail.

use super::*;

/// At rest there are few segments whatever came before: each costs every search its share.
pub(super) fn has_few_segments(map: &KeyMap) {
    let keys = map.len() as f64 / 4096.0;
    let most = 2.0 * keys.max(1.0).log(4.0) + 4.0;
    let stats = map.stats();
    assert!(
        stats.segments as f64 <= most,
        "{most} for {}: {stats:?}",
        map.len()
    );
}

#[derive(Clone, Debug)]
enum Phase {
    /// So many new keys.
    Load(u32),
    /// So many of the newest are deleted, or of the oldest.
    DeleteNewest(u32),
    DeleteOldest(u32),
    /// One in so many is deleted.
    Thin(u32),
    /// So many new keys, then a freeze, whatever the tree holds.
    Freeze(u32),
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        3 => (0u32..30_000).prop_map(Phase::Load),
        2 => (0u32..9_000).prop_map(Phase::DeleteNewest),
        1 => (0u32..9_000).prop_map(Phase::DeleteOldest),
        1 => (2u32..20).prop_map(Phase::Thin),
        3 => prop_oneof![1u32..10, 1u32..1400, 1u32..5000].prop_map(Phase::Freeze),
    ]
}

fn run_phases(phases: &[Phase]) {
    let mut map = KeyMap::default();
    let mut alive: std::collections::VecDeque<u32> = Default::default();
    let mut next = 0;
    let name = |number: u32| key(&format!("{number:08}"));
    for phase in phases {
        match *phase {
            Phase::Load(keys) | Phase::Freeze(keys) => {
                for number in next..next + keys {
                    map.set(&name(number), value(0));
                    alive.push_back(number);
                    // As settled as a busy map is at any moment.
                    if number % 1024 == 0 {
                        map.settle();
                        has_few_segments(&map);
                    }
                }
                next += keys;
                if let Phase::Freeze(_) = phase {
                    map.freeze();
                }
            }
            Phase::DeleteNewest(keys) => {
                for _ in 0..keys {
                    alive
                        .pop_back()
                        .inspect(|number| assert!(map.delete(&name(*number))));
                }
            }
            Phase::DeleteOldest(keys) => {
                for _ in 0..keys {
                    alive
                        .pop_front()
                        .inspect(|number| assert!(map.delete(&name(*number))));
                }
            }
            Phase::Thin(share) => alive.retain(|number| {
                let stays = number % share != 0;
                assert!(stays || map.delete(&name(*number)));
                stays
            }),
        }
        map.settle();
        has_few_segments(&map);
    }
    assert_eq!(map.len(), alive.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(effort(5, 50)))]
    #[test]
    fn there_are_few_segments_after_any_history(phases in prop::collection::vec(phase(), 1..40)) {
        run_phases(&phases);
    }
}

#[test]
fn a_small_segment_does_not_end_all_merging() {
    // Purges leave one of some hundred keys beside a large one. Merging that ended there would leave a segment of each
    // 4096 keys that follow, which is more than are let pass.
    let (large, more) = effort((21 * 4096, 70_000), (77 * 4096, 200_000));
    run_phases(&[
        Phase::Load(large),
        Phase::DeleteNewest(3_596),
        Phase::Load(more),
    ]);
    // So does a tree that is frozen early.
    let (before, after) = effort((30_000, 60_000), (100_000, 100_000));
    run_phases(&[Phase::Load(before), Phase::Freeze(576), Phase::Load(after)]);
    let frozen_early = vec![Phase::Freeze(1); 60];
    run_phases(
        &[
            vec![Phase::Load(before)],
            frozen_early,
            vec![Phase::Load(after)],
        ]
        .concat(),
    );
}

#[test]
fn a_job_that_fails_is_tried_again_and_one_that_always_does_is_noticed() {
    let fail = |map: &mut KeyMap, job: Job| {
        let outcome = Outcome {
            result: job::JobResult::Failed("planted".into()),
            ..Job {
                id: job.id,
                task: job::Task::Drop {
                    retired: job::Retired::default(),
                    lane: job.lane(),
                },
            }
            .run()
        };
        assert!(matches!(map.finish(outcome), Finish::Done));
    };
    let load = |map: &mut KeyMap, from: u32| {
        for number in from..from + 4096 {
            map.set(&key(&format!("{number:06}")), value(0));
        }
    };
    // A freeze, and then the merge of what freezes left.
    let mut map = KeyMap::default();
    load(&mut map, 0);
    let job = map.next_job().expect("a full tree is frozen");
    fail(&mut map, job);
    assert!(!map.is_broken());
    map.settle();
    assert_eq!((map.stats().segments, map.stats().merges_failed), (1, 1));
    let mut failed = 0;
    for round in 1..40 {
        load(&mut map, round * 4096);
        while let Some(job) = map.next_job() {
            if failed < 3 && job.lane() != Lane::Urgent {
                failed += 1;
                fail(&mut map, job);
            } else if let Finish::Again(_) = map.finish(job.run()) {
                unreachable!("nothing was deleted");
            }
        }
    }
    assert_eq!(failed, 3);
    has_few_segments(&map);
    // A freeze that never works.
    load(&mut map, 900_000);
    for _ in 0..3 {
        assert!(!map.is_broken());
        let job = map.next_job().expect("it is tried again");
        fail(&mut map, job);
    }
    assert!(map.is_broken());
    map.settle();
    assert_eq!(
        map.get(&key("900000")),
        Some(value(0)),
        "its keys are there"
    );
}
