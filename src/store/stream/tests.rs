//! The stream against a naive list of all changes: through its bound, those who leave and come back, and other
//! starts of the process.

use super::*;
use crate::durable::{
    Listener, Log, LogError, LogOptions, LogRoom, Sync, SystemFiles, write_removed,
};
use crate::model::{Key, Revision};
use futures_util::FutureExt;
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};

const STORE: [u8; 16] = [4; 16];

fn origin(start: u64, first: u64, log: Option<LogFiles>) -> Origin {
    Origin {
        incarnation: 7,
        start,
        first: Position(first),
        log,
    }
}

fn stream(bytes_max: usize) -> Arc<Stream> {
    let stream = Stream::new(bytes_max);
    stream.begin(origin(0, 0, None));
    Arc::new(stream)
}

/// A turn behind so many changes: of each the key is the position behind it.
fn turn(begin: u64, records: u32) -> Append {
    let mut content = Vec::new();
    for position in begin + 1..=begin + u64::from(records) {
        let key = Key::parse(position.to_string().into(), 20).unwrap();
        write_removed(&key, Revision(position), &mut content);
    }
    Append {
        shard: 0,
        records,
        content,
    }
}

/// The positions of the changes that come next, up to so many of a turn.
fn look(following: &mut Following, most: usize) -> (Seen, Vec<u64>) {
    let mut seen = Vec::new();
    let looked = following.look(|change| {
        let position = change.place.position.0;
        assert_eq!(change.key(), position.to_string().as_bytes());
        if seen.len() == most {
            return ControlFlow::Break(());
        }
        seen.push(position);
        ControlFlow::Continue(())
    });
    (looked, seen)
}

/// All that comes next and is there, read from the log where it is there: one on another thread, and then some here.
async fn rest(following: &mut Following) -> Result<Vec<u64>, Gone> {
    let mut all = Vec::new();
    loop {
        let apart = following.look_apart(|change| change.place.position.0);
        all.extend(apart.await?);
        let (looked, seen) = look(following, 3);
        all.extend(seen);
        match looked {
            Seen::Some => {}
            Seen::Nothing => return Ok(all),
            Seen::Logged(bytes) => {
                assert!(bytes > 0);
                following.read_log().await?;
            }
            Seen::Gone => return Err(Gone),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Turn(u32),
    Follow,
    /// From a place on that somebody was at.
    Resume(prop::sample::Index),
    /// At so many changes.
    Look(prop::sample::Index, usize),
    Leave(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (1_u32..6).prop_map(Step::Turn),
        1 => Just(Step::Follow),
        2 => index().prop_map(Step::Resume),
        6 => (index(), 1_usize..8).prop_map(|(who, most)| Step::Look(who, most)),
        1 => index().prop_map(Step::Leave),
    ]
}

/// The position before the first of those turns that are kept: as many of the last as the bound takes, and one.
fn kept_from(turns: &[(u64, usize)], bytes_max: usize) -> u64 {
    let mut total = 0;
    for (at, (end, bytes)) in turns.iter().enumerate().rev() {
        total += bytes;
        if total > bytes_max && at + 1 < turns.len() {
            return *end;
        }
    }
    0
}

proptest! {
    #[test]
    fn who_follows_gets_all_that_comes_in_order_or_hears_that_it_is_gone(
        steps in prop::collection::vec(step(), 1..150),
        bytes_max in 100_usize..2000,
    ) {
        let stream = stream(bytes_max);
        let mut turns: Vec<(u64, usize)> = Vec::new();
        let mut end = 0;
        let mut followers: Vec<(Following, u64)> = Vec::new();
        let mut places: Vec<Place> = Vec::new();
        for step in steps {
            let kept = kept_from(&turns, bytes_max);
            match step {
                Step::Turn(records) => {
                    let Some(recording) = stream.recording() else {
                        prop_assert!(places.is_empty() && followers.is_empty());
                        continue;
                    };
                    let append = turn(end, records);
                    end += u64::from(records);
                    turns.push((end, turn_bytes(&append)));
                    stream.append(append, recording);
                    let last = turns.last().map_or(0, |(_, bytes)| *bytes);
                    prop_assert!(stream.bytes() <= bytes_max.max(last));
                }
                Step::Follow => followers.push((stream.follow().unwrap(), end)),
                Step::Resume(which) if !places.is_empty() => {
                    let place = *which.get(&places);
                    let text: Place = place.to_string().parse().unwrap();
                    prop_assert_eq!(text, place);
                    let is_kept = place.position.0 >= kept;
                    match stream.follow_after(place).now_or_never().unwrap() {
                        Ok(following) => {
                            prop_assert!(is_kept);
                            followers.push((following, place.position.0));
                        }
                        Err(error) => prop_assert!(!is_kept && error == FollowError::Gone),
                    }
                }
                Step::Look(which, most) if !followers.is_empty() => {
                    let which = which.index(followers.len());
                    let (following, at) = &mut followers[which];
                    let (looked, seen) = look(following, most);
                    match looked {
                        Seen::Some => {
                            let expected: Vec<u64> = (*at + 1..).take(seen.len()).collect();
                            prop_assert!(!seen.is_empty() && seen == expected);
                            *at += seen.len() as u64;
                            places.push(following.place());
                        }
                        Seen::Nothing => prop_assert_eq!(*at, end),
                        Seen::Gone => {
                            prop_assert!(*at < kept);
                            followers.swap_remove(which);
                        }
                        Seen::Logged(_) => unreachable!("there is no log"),
                    }
                }
                Step::Leave(which) if !followers.is_empty() => {
                    followers.swap_remove(which.index(followers.len()));
                }
                Step::Resume(_) | Step::Look(..) | Step::Leave(_) => {}
            }
        }
    }

    #[test]
    fn only_what_was_written_as_a_place_is_read_as_one(text in "[0-9a-fA-F+ x]{0,17}(-[0-9a-f+]{0,3}){0,4}") {
        if let Ok(place) = text.parse::<Place>() {
            prop_assert_eq!(place.to_string(), text);
        }
    }
}

#[test]
fn nothing_is_recorded_while_nobody_follows() {
    let stream = stream(1 << 20);
    assert_eq!(stream.recording(), None);
    assert!(stream.follow().is_ok());
    // Whoever was there may come back.
    assert!(stream.recording().is_some());
}

#[test]
fn what_was_kept_for_those_who_left_goes_after_a_while_and_nobody_goes_on_behind_it() {
    let stream = Stream {
        grace: Duration::ZERO,
        ..Stream::new(1 << 20)
    };
    stream.begin(origin(0, 0, None));
    let stream = Arc::new(stream);
    let mut first = stream.follow().unwrap();
    let recording = stream.recording().unwrap();
    stream.append(turn(0, 2), recording);
    assert_eq!(look(&mut first, 9), (Seen::Some, vec![1, 2]));
    let place = first.place();
    drop(first);
    stream.append(turn(2, 1), recording);
    assert_eq!((stream.recording(), stream.bytes()), (None, 0));
    let last = Place {
        position: Position(3),
        ..place
    };
    for place in [place, last] {
        let resumed = stream.follow_after(place).now_or_never().unwrap();
        assert!(resumed.is_err_and(|error| error == FollowError::Gone));
    }
    // What was recorded before comes to nobody.
    let mut second = stream.follow().unwrap();
    stream.append(turn(3, 1), recording);
    assert_eq!(look(&mut second, 9), (Seen::Nothing, vec![]));
    let begin = second.place().position.0;
    stream.append(turn(begin, 1), stream.recording().unwrap());
    assert_eq!(look(&mut second, 9), (Seen::Some, vec![begin + 1]));
}

/// Has what a log has told of come to a stream.
struct Passing(Arc<Stream>, Sender<Position>);

impl Listener for Passing {
    fn reached(&mut self, _: Position, _: &[u32]) {}

    fn passed(&mut self, end: Position, appended: Vec<Append>) {
        self.0.pass(end, appended);
        let _ = self.1.send(end);
    }

    fn synced(&mut self, _: Duration) {}

    fn room(&mut self, _: LogRoom) {}

    fn failed(&mut self, error: LogError) {
        panic!("{error}");
    }
}

/// A stream behind a log in a directory, at a start of a process.
fn logged(log: &LogFiles, start: u64, first: u64) -> (Arc<Stream>, Log, Receiver<Position>) {
    let stream = Arc::new(Stream::new(1000));
    let options = LogOptions {
        directory: log.directory.clone(),
        store: STORE,
        start,
        first: Position(first),
        needed: Position(0),
        kept_bytes_max: 0,
        file_bytes: 4096,
        waiting_bytes_max: 1 << 20,
        sync: Sync::Always,
    };
    let (sender, receiver) = channel();
    let passing = Passing(stream.clone(), sender);
    let written = Log::begin(log.files.clone(), options, passing).unwrap();
    stream.begin(origin(start, first, Some(written.files().clone())));
    (stream, written, receiver)
}

/// Appends turns up to a position, and waits until the stream has them.
fn append(log: &Log, told: &Receiver<Position>, range: std::ops::Range<u64>) {
    for begin in range.clone().step_by(5) {
        log.append(turn(begin, 5));
    }
    while told.recv_timeout(Duration::from_secs(30)).unwrap() < Position(range.end) {}
}

#[test]
fn what_is_not_kept_is_read_from_the_log_over_restarts_as_far_as_it_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let log = LogFiles::new(Arc::new(SystemFiles), directory.path().join("log"), STORE);
    std::fs::create_dir(&log.directory).unwrap();
    let (first, written, told) = logged(&log, 1, 0);
    let begin = first.follow().unwrap().place();
    append(&written, &told, 0..990);
    let place = |start, position| Place {
        start,
        position: Position(position),
        ..begin
    };
    actix::System::new().block_on(async {
        for from in [0, 3, 500, 989, 990] {
            let mut following = first.follow_after(place(1, from)).await.unwrap();
            let expected: Vec<u64> = (from + 1..=990).collect();
            assert_eq!(rest(&mut following).await, Ok(expected));
        }
        let later = first.follow_after(place(1, 991)).await;
        assert!(later.is_err_and(|error| error == FollowError::Gone));
        drop(written);
        // The next start may have lost what was told of behind that.
        let (second, written, told) = logged(&log, 2, 990);
        for (start, position, is_known) in [
            (1, 985, true),
            (1, 990, true),
            (1, 991, false),
            (2, 990, true),
            (2, 991, false),
            (3, 990, false),
            (0, 0, true),
            (0, 1, false),
        ] {
            let resumed = second.follow_after(place(start, position)).await;
            assert_eq!(resumed.is_ok(), is_known, "{start} {position}");
        }
        let other = Place {
            incarnation: 8,
            ..place(2, 990)
        };
        assert!(second.follow_after(other).await.is_err());
        append(&written, &told, 990..1200);
        let mut following = second.follow_after(place(2, 995)).await.unwrap();
        let expected: Vec<u64> = (996..=1200).collect();
        assert_eq!(rest(&mut following).await, Ok(expected));
        drop(written);
        // Of the start before the last it is known what it wrote, not what it may have told of besides.
        let (third, _written, _told) = logged(&log, 3, 1200);
        for (start, position, is_known) in [
            (2, 1200, true),
            (2, 991, true),
            (1, 985, true),
            (1, 990, true),
            (1, 995, false),
            (1, 1200, false),
        ] {
            let resumed = third.follow_after(place(start, position)).await;
            assert_eq!(resumed.is_ok(), is_known, "{start} {position}");
        }
    });
}
