//! The log against a list of what was appended, through crashes at every operation.

mod defects;
mod histories;
mod kept;
mod reading;

use super::simulated::{Loss, SimulatedFiles};
use super::*;
use crate::effort::effort;
use proptest::prelude::*;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const STORE: [u8; 16] = [9; 16];
const FILE_BYTES: u64 = 1024;

/// What the log tells, for a test that waits.
struct Told(Sender<Result<Position, LogError>>);

impl Listener for Told {
    fn reached(&mut self, position: Position, _: &[u32]) {
        let _ = self.0.send(Ok(position));
    }

    fn passed(&mut self, _: Position, _: Vec<Append>) {}

    fn synced(&mut self, _: Duration) {}

    fn room(&mut self, _: LogRoom) {}

    fn failed(&mut self, error: LogError) {
        let _ = self.0.send(Err(error));
    }
}

fn directory() -> &'static Path {
    Path::new("/data/log")
}

/// A log and what it tells.
type Begun = Result<(Log, Receiver<Result<Position, LogError>>), LogError>;

fn options(start: u64, first: Position) -> LogOptions {
    LogOptions {
        directory: directory().to_owned(),
        store: STORE,
        start,
        first,
        needed: Position(0),
        kept_bytes_max: 0,
        file_bytes: FILE_BYTES,
        waiting_bytes_max: 64 * 1024,
        sync: Sync::Always,
    }
}

fn begin(files: &SimulatedFiles, start: u64, first: Position) -> Begun {
    begin_with(files, options(start, first))
}

fn begin_with(files: &SimulatedFiles, options: LogOptions) -> Begun {
    let (sender, receiver) = channel();
    Ok((
        Log::begin(Arc::new(files.clone()), options, Told(sender))?,
        receiver,
    ))
}

/// Frames as a list of shard and content.
type Frames = Vec<(u32, Vec<u8>)>;

fn recovered(
    files: &SimulatedFiles,
    synced: Position,
) -> Result<(Frames, Recovered), RecoveryError> {
    let mut frames = Frames::new();
    let recovered = recover(files, directory(), STORE, Position(0), synced, |found| {
        frames.push((found.shard, found.content.to_vec()));
        true
    })?;
    if let Err(error) = recovered.settle(files) {
        // The process has ended meanwhile.
        assert_eq!(error.kind(), io::ErrorKind::Other);
    }
    Ok((frames, recovered))
}

/// A frame of one record: what is in it is no matter of the log's.
fn append((shard, content): &(u32, Vec<u8>)) -> Append {
    Append {
        shard: *shard,
        records: 1,
        content: content.clone(),
    }
}

/// Appends groups of frames, each once the one before was told of. Returns how many were told of, and
/// whether the log failed.
fn write(files: &SimulatedFiles, start: u64, first: Position, groups: &[Frames]) -> (u64, bool) {
    let Ok((log, told)) = begin(files, start, first) else {
        return (first.0, true);
    };
    let mut safe = first;
    for group in groups {
        let mut end = safe;
        for frame in group {
            end = log.append(append(frame));
        }
        while safe < end {
            match told.recv_timeout(Duration::from_secs(30)).unwrap() {
                Ok(position) => safe = position,
                Err(_) => return (safe.0, true),
            }
        }
    }
    (safe.0, false)
}

fn groups() -> impl Strategy<Value = Vec<Frames>> {
    let len = prop_oneof![0_usize..40, 100_usize..300, Just(1500)];
    let frame =
        (0_u32..4, len, any::<u8>()).prop_map(|(shard, len, byte)| (shard, vec![byte; len]));
    prop::collection::vec(prop::collection::vec(frame, 1..4), 1..8)
}

fn losses(seed: u64) -> [Loss; 5] {
    [
        Loss::None,
        Loss::All,
        Loss::Some(seed),
        Loss::Some(seed.rotate_left(21)),
        Loss::Some(seed.rotate_left(42)),
    ]
}

/// Checks what is found after a crash, and returns it.
fn check(files: &SimulatedFiles, all: &[(u32, Vec<u8>)], safe: u64, what: &str) -> Recovered {
    let (found, recovered) =
        recovered(files, Position(0)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        found.len() as u64 >= safe,
        "{what}: {} of {safe}",
        found.len()
    );
    assert_eq!(found, all[..found.len()], "{what}");
    assert_eq!(recovered.end, Position(found.len() as u64), "{what}");
    recovered
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(effort(10, 240)))]
    #[test]
    fn what_was_told_of_is_found_after_a_crash_at_any_operation_and_a_second_one(
        first in groups(), second in groups(), seed: u64,
    ) {
        let whole = SimulatedFiles::default();
        let (end, has_failed) = write(&whole, 1, Position(0), &first);
        let all = first.concat();
        prop_assert!(!has_failed && end == all.len() as u64);
        for crash in 0..=whole.operations() {
            for loss in losses(seed.wrapping_add(crash as u64)) {
                let what = format!("crash at {crash}, {loss:?}");
                let files = SimulatedFiles::default();
                files.crash_at(crash);
                let (safe, _) = write(&files, 1, Position(0), &first);
                // A crash in the recovery finds what the first one found.
                let once = files.after_crash(loss);
                let recovered = check(&once, &all, safe, &what);
                let again = check(&once.after_crash(Loss::All), &all, safe, &what);
                prop_assert_eq!(again.end, recovered.end);
                // And the log goes on, up to a crash somewhere in what follows.
                let next = files.after_crash(loss);
                let recovered = check(&next, &all, safe, &what);
                let mut both = all[..recovered.end.0 as usize].to_vec();
                both.extend(second.concat());
                next.crash_at(next.operations() + (seed as usize).wrapping_add(crash) % 24);
                let (safe, _) = write(&next, recovered.start, recovered.end, &second);
                for loss in [loss, Loss::All] {
                    check(&next.after_crash(loss), &both, safe, &what);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(effort(64, 640)))]
    #[test]
    fn damage_to_what_was_synced_is_said_and_nothing_is_changed(
        first in groups(), second in groups(), at: prop::sample::Index,
    ) {
        let files = SimulatedFiles::default();
        let (end, _) = write(&files, 1, Position(0), &first);
        write(&files, 2, Position(end), &second);
        prop_assert_eq!(recovered(&files, Position(0)).unwrap().1.torn_bytes, 0);
        let names: Vec<String> = files.list(directory()).unwrap().into_iter().filter(|name| name.ends_with(".log")).collect();
        // Of all bytes that frames and heads take.
        let mut bytes = Vec::new();
        for name in &names {
            let path = directory().join(name);
            let content = files.read(&path).unwrap();
            let used = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            bytes.extend((0..used).map(|at| (path.clone(), at)));
        }
        let (path, at) = &bytes[at.index(bytes.len())];
        files.damage(path, *at);
        // The mark of the clean stop proves all that is before it.
        let found = recovered(&files, Position(0));
        match found {
            Err(RecoveryError::Damaged { file, offset, .. }) => {
                prop_assert_eq!(&file, path);
                prop_assert!(offset <= *at as u64);
            }
            // The last mark of a clean stop proves what is before it, and nothing proves it.
            Ok((frames, _)) => prop_assert_eq!(frames, [first.concat(), second.concat()].concat()),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

#[test]
fn a_file_that_is_missing_is_said() {
    let files = SimulatedFiles::default();
    let frames: Vec<Frames> = (0..40).map(|byte| vec![(0, vec![byte; 200])]).collect();
    write(&files, 1, Position(0), &frames);
    let mut names = files.list(directory()).unwrap();
    names.retain(|name| name.ends_with(".log"));
    names.sort();
    assert!(names.len() > 4);
    files.remove(&directory().join(&names[2])).unwrap();
    let missing = recovered(&files, Position(0));
    assert!(
        matches!(missing, Err(RecoveryError::Missing { .. })),
        "{missing:?}"
    );
    files.remove(&directory().join(&names[0])).unwrap();
    let missing = recovered(&files, Position(0));
    assert!(matches!(
        missing,
        Err(RecoveryError::Missing {
            position: Position(0),
            ..
        })
    ));
    // The last, which no later one tells of.
    let files = SimulatedFiles::default();
    write(&files, 1, Position(0), &frames);
    files
        .remove(&directory().join(&names[names.len() - 1]))
        .unwrap();
    let missing = recovered(&files, Position(0));
    assert!(
        matches!(missing, Err(RecoveryError::Missing { .. })),
        "{missing:?}"
    );
}

#[test]
fn a_full_disk_shows_while_there_is_room_for_what_waits_and_the_rest_waits_for_room() {
    let files = SimulatedFiles::default();
    files.bytes_max(Some(4 * FILE_BYTES + 100));
    let (log, told) = begin(&files, 1, Position(0)).unwrap();
    let told = || told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    let mut all = Frames::new();
    let mut rooms = vec![];
    let mut more = |log: &Log| {
        let frame = (0, vec![all.len() as u8; 300]);
        let end = log.append(append(&frame));
        all.push(frame);
        end
    };
    while log.room() != LogRoom::Full {
        let end = more(&log);
        assert_eq!(told(), end);
        rooms.push(log.room());
        assert!(rooms.len() < 100);
    }
    assert!(
        rooms.is_sorted() && rooms.contains(&LogRoom::Reserved),
        "{rooms:?}"
    );
    // What comes all the same is neither lost nor told of before it is on disk.
    let ends: Vec<Position> = (0..9).map(|_| more(&log)).collect();
    assert_eq!(log.counts().waiting, 9, "the disk has no room for them");
    files.bytes_max(None);
    while told() < ends[8] {}
    assert_eq!(log.counts().waiting, 0);
    drop(log);
    assert_eq!(recovered(&files, Position(0)).unwrap().0, all);
}

#[test]
fn a_log_says_that_it_is_busy_once_much_waits() {
    let files = SimulatedFiles::default();
    files.bytes_max(Some(2 * FILE_BYTES + 100));
    let (log, told) = begin(&files, 1, Position(0)).unwrap();
    let told = || told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    // Nothing is written while there is no room for a third file.
    files.bytes_max(Some(0));
    let mut end = Position(0);
    for _ in 0..80 {
        end = log.append(append(&(0, vec![1; 1000])));
    }
    assert!(matches!(log.room(), LogRoom::Busy | LogRoom::Full));
    files.bytes_max(None);
    while told() < end {}
    assert_eq!((log.room(), log.counts().records), (LogRoom::Open, 80));
    assert!(log.counts().bytes > 80_000);
}

#[test]
fn what_fails_to_be_synced_is_never_told_of() {
    let frames: Vec<Frames> = (0..8).map(|byte| vec![(0, vec![byte; 300])]).collect();
    let whole = SimulatedFiles::default();
    write(&whole, 1, Position(0), &frames);
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        for at in 0..whole.operations() {
            let files = SimulatedFiles::default();
            files.fail_at(at, kind);
            let (safe, _) = write(&files, 1, Position(0), &frames);
            let what = format!("operation {at} fails");
            check(&files.after_crash(Loss::All), &frames.concat(), safe, &what);
        }
    }
}

#[test]
fn one_process_has_a_directory_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = Lock::take(directory.path()).unwrap();
    let second = Lock::take(directory.path());
    assert!(matches!(second, Err(LockError::Taken(_))), "{second:?}");
    drop(first);
    Lock::take(directory.path()).unwrap();
}

#[test]
fn the_systems_files_do_what_the_simulated_ones_do() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, told) = channel();
    let options = LogOptions {
        directory: directory.path().join("log"),
        store: STORE,
        start: 1,
        first: Position(0),
        needed: Position(0),
        kept_bytes_max: 0,
        file_bytes: FILE_BYTES,
        waiting_bytes_max: 4096,
        sync: Sync::Within(Duration::from_millis(1)),
    };
    SystemFiles.make_directory(&options.directory).unwrap();
    let path = options.directory.clone();
    let log = Log::begin(Arc::new(SystemFiles), options, Told(sender)).unwrap();
    let frames: Frames = (0..20).map(|byte| (byte.into(), vec![byte; 150])).collect();
    for frame in &frames {
        let end = log.append(append(frame));
        assert_eq!(told.recv().unwrap().unwrap(), end);
    }
    drop(log);
    let mut found = Frames::new();
    let recovered = recover(
        &SystemFiles,
        &path,
        STORE,
        Position(0),
        Position(20),
        |frame| {
            found.push((frame.shard, frame.content.to_vec()));
            true
        },
    );
    let recovered = recovered.unwrap();
    assert_eq!(
        (found, recovered.end, recovered.start),
        (frames, Position(20), 2)
    );
    assert!(SystemFiles.free_bytes(&path).unwrap() > 0);
}
