//! Which files of the log stay that no checkpoint needs, against a list of them, and on a disk that is small.

use super::*;
use crate::durable::kept::KeptFiles;

/// Who removes files, by how long those that are not needed may be.
pub(super) fn kept(files: &SimulatedFiles, bytes_max: u64) -> KeptFiles {
    let directory = directory().to_owned();
    KeptFiles::new(Arc::new(files.clone()), directory, bytes_max, Position(0))
}

/// The position of the first record of each file, in order.
pub(super) fn firsts(files: &SimulatedFiles) -> Vec<Position> {
    let names = files.list(directory()).unwrap();
    let firsts = names.iter().filter_map(|name| segment::position(name));
    let mut firsts: Vec<Position> = firsts.collect();
    firsts.sort_unstable();
    firsts
}

fn len(files: &SimulatedFiles, first: Position) -> u64 {
    files.len(&segment::path(directory(), first)).unwrap()
}

proptest! {
    #[test]
    fn the_newest_stay_of_those_that_are_not_needed_and_what_is_needed_is_found(
        parts in prop::collection::vec(groups(), 1..4),
        steps in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
        bytes_max in 0_u64..8000,
    ) {
        let files = SimulatedFiles::default();
        let mut end = 0;
        for (start, part) in (1..).zip(&parts) {
            // As a start does: the end of the last file is cut off.
            let (_, found) = recovered(&files, Position(end)).unwrap();
            prop_assert_eq!((found.end, found.start), (Position(end), start));
            (end, _) = write(&files, start, Position(end), part);
        }
        let appended: Frames = parts.concat().concat();
        let kept = kept(&files, bytes_max);
        let mut needed = 0;
        for step in steps {
            // A position that is further back than one before is of no more use.
            let step = step.index(appended.len() + 1) as u64;
            needed = needed.max(step);
            let before = firsts(&files);
            let ends = before[1..].iter().chain([&Position(u64::MAX)]);
            let files_and_ends: Vec<_> = before.iter().zip(ends).collect();
            let (mut left, mut expected) = (0, Vec::new());
            for (first, end) in files_and_ends.into_iter().rev() {
                if *end <= Position(needed) {
                    left += len(&files, *first);
                    if left > bytes_max {
                        break;
                    }
                }
                expected.insert(0, *first);
            }
            kept.trim(Position(step)).unwrap();
            prop_assert_eq!(firsts(&files), &expected[..]);
            let of_use = expected.windows(2).filter(|pair| pair[1] <= Position(needed));
            let bytes: u64 = of_use.map(|pair| len(&files, pair[0])).sum();
            prop_assert_eq!(kept.bytes(), bytes);
            let mut found = Frames::new();
            let from = Position(needed);
            let recovered = recover(&files, directory(), STORE, from, Position(end), |frame| {
                found.push((frame.shard, frame.content.to_vec()));
                true
            });
            prop_assert_eq!(recovered.unwrap().end, Position(end));
            prop_assert_eq!(&found[..], &appended[needed as usize..]);
        }
    }
}

#[test]
fn what_is_kept_gives_way_before_a_disk_is_called_full() {
    let files = SimulatedFiles::default();
    files.bytes_max(Some(6 * FILE_BYTES + 100));
    let options = LogOptions {
        kept_bytes_max: u64::MAX,
        ..options(1, Position(0))
    };
    let (log, told) = begin_with(&files, options).unwrap();
    log.reserve(FILE_BYTES);
    let mut most = 0;
    for number in 0..100 {
        let end = log.append(append(&(0, vec![number; 300])));
        let reached = told.recv_timeout(Duration::from_secs(30));
        assert_eq!(reached.unwrap().unwrap(), end, "it would wait for room");
        assert_eq!(log.room(), LogRoom::Open);
        // As if a checkpoint had been taken.
        log.trim(end).unwrap();
        most = most.max(log.kept_bytes());
    }
    assert!(
        (2 * FILE_BYTES..4 * FILE_BYTES).contains(&most),
        "{most} bytes: as much as the disk has room for"
    );
    // Whoever needs more room has it, and what is needed stays.
    log.give_way(3 * FILE_BYTES).unwrap();
    assert!(files.free_bytes(directory()).unwrap() >= 3 * FILE_BYTES);
    log.give_way(u64::MAX).unwrap();
    assert_eq!(log.kept_bytes(), 0);
    let needed = log.end();
    drop(log);
    let found = recover(&files, directory(), STORE, needed, needed, |_| true);
    assert_eq!(found.unwrap().end, needed);
}

#[test]
fn what_is_kept_gives_way_to_the_files_of_a_start() {
    let files = SimulatedFiles::default();
    let frames: Vec<Frames> = (0..30).map(|byte| vec![(0, vec![byte; 300])]).collect();
    let (end, _) = write(&files, 1, Position(0), &frames);
    let found = recovered(&files, Position(end)).unwrap().1;
    let before = firsts(&files);
    let taken = u64::MAX - files.free_bytes(directory()).unwrap();
    files.bytes_max(Some(taken + 100));
    let needs = |needed| LogOptions {
        needed: Position(needed),
        kept_bytes_max: u64::MAX,
        ..options(found.start, Position(end))
    };
    // Where all is needed there is no room.
    let refused = begin_with(&files, needs(0));
    assert!(matches!(refused, Err(LogError::Begin(..))));
    let (log, told) = begin_with(&files, needs(end)).unwrap();
    let first = append(&(0, vec![1; 300]));
    assert_eq!(log.append(first), Position(end + 1));
    let reached = told.recv_timeout(Duration::from_secs(30));
    assert_eq!(reached.unwrap().unwrap(), Position(end + 1));
    let after = firsts(&files);
    assert!(after[0] > before[0], "the oldest went");
    assert_eq!(after.last(), Some(&Position(end)));
}
