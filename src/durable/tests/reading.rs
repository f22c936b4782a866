//! What is read of a log while it is written, against the list of what was appended.

use super::kept::{firsts, kept};
use super::*;

fn log(files: &SimulatedFiles) -> LogFiles {
    LogFiles::new(Arc::new(files.clone()), directory().to_owned(), STORE)
}

/// Reads on up to a position, in pieces; `None` where something is gone.
fn read_on(reader: &mut LogReader, range: std::ops::Range<u64>, piece: usize) -> Option<Frames> {
    let (mut at, mut bytes) = (range.start, piece);
    let mut found = Frames::new();
    loop {
        let read = reader.read(Position(at), Position(range.end), bytes);
        match read.unwrap() {
            LogRead::Turns(turns) if turns.is_empty() => {
                assert_eq!(at, range.end, "all up to the end is written");
                return Some(found);
            }
            LogRead::Turns(turns) => {
                for (position, append) in turns {
                    at += 1;
                    assert_eq!(position, Position(at));
                    found.push((append.shard, append.content));
                }
                bytes = piece;
            }
            // So it may be where nothing is wanted as well: what comes before that lies in the file.
            LogRead::Longer(longer) => {
                assert!(longer > bytes);
                bytes = longer;
            }
            LogRead::Gone => return None,
        }
    }
}

/// The index by which somebody begins has come of what others have read, or of what was written.
#[derive(Clone, Copy, Debug)]
enum Noted {
    ByReaders,
    ByWriter,
}

proptest! {
    #[test]
    fn who_begins_to_read_begins_near_what_comes_next_and_reads_the_same(
        groups in groups(),
        froms in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
        piece in 40_usize..2000,
    ) {
        let files = SimulatedFiles::default();
        let (written, told) = begin(&files, 1, Position(0)).unwrap();
        let all: Frames = groups.concat();
        let longest = all.iter().map(|(_, content)| content.len()).max().unwrap_or_default();
        for frame in &all {
            let end = written.append(append(frame));
            while told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap() < end {}
        }
        let end = all.len() as u64;
        // Of the files before these the index may know nothing any more.
        let firsts = firsts(&files);
        let known = firsts[firsts.len().saturating_sub(index::FILES_MAX)];
        for noted in [Noted::ByReaders, Noted::ByWriter] {
            let indexed = match noted {
                Noted::ByWriter => written.files().clone(),
                Noted::ByReaders => log(&files),
            };
            let mut whole = indexed.open(Position(0), None).unwrap().unwrap();
            let found = read_on(&mut whole, 0..end, piece).unwrap();
            prop_assert_eq!(&found, &all);
            for from in &froms {
                let from = from.index(all.len()) as u64;
                let open = |log: &LogFiles| log.open(Position(from), None).unwrap().unwrap();
                // Where the frame ends, by one who knows nothing.
                let mut naive = open(&log(&files));
                read_on(&mut naive, from..from + 1, 4096).unwrap();
                let mut reader = open(&indexed);
                let ahead = naive.at.checked_sub(reader.at);
                prop_assert!(ahead.is_some(), "{:?}: it begins behind what comes next", noted);
                if Position(from) >= known {
                    let most = index::STRIDE_BYTES + 2 * (longest + frame::HEAD_BYTES) as u64;
                    prop_assert!(ahead <= Some(most), "{:?}: {:?} bytes are gone through", noted, ahead);
                }
                let found = read_on(&mut reader, from..end, piece).unwrap();
                prop_assert_eq!(&found[..], &all[from as usize..]);
            }
        }
    }

    #[test]
    fn what_was_appended_is_read_from_any_position_on_or_said_to_be_gone(
        first in groups(),
        second in groups(),
        from: prop::sample::Index,
        needed: prop::sample::Index,
        piece in 40_usize..2000,
    ) {
        let files = SimulatedFiles::default();
        let (between, _) = write(&files, 1, Position(0), &first);
        let (end, _) = write(&files, 2, Position(between), &second);
        let appended: Frames = first.iter().chain(&second).flatten().cloned().collect();
        prop_assert_eq!(end as usize, appended.len());
        let log = log(&files);
        let from = from.index(appended.len());
        let open = || log.open(Position(from as u64), None).unwrap();
        let expected = &appended[from..];
        let found = read_on(&mut open().unwrap(), from as u64..end, piece).unwrap();
        prop_assert_eq!(&found[..], expected);
        // Half of it is read before old files go.
        let middle = (from as u64 + end) / 2;
        let mut early = open().unwrap();
        let found = read_on(&mut early, from as u64..middle, piece).unwrap();
        prop_assert_eq!(&found[..], &appended[from..middle as usize]);
        let needed = needed.index(appended.len() + 1) as u64;
        kept(&files, 0).trim(Position(needed)).unwrap();
        if let Some(found) = read_on(&mut early, middle..end, piece) {
            prop_assert_eq!(&found[..], &appended[middle as usize..]);
        }
        match open() {
            None => prop_assert!((from as u64) < needed),
            Some(mut reader) => {
                let found = read_on(&mut reader, from as u64..end, piece).unwrap();
                prop_assert_eq!(&found[..], expected);
            }
        }
    }

    #[test]
    fn what_is_behind_a_start_that_is_known_of_is_not_taken_for_its_own(
        first in groups(),
        second in groups(),
        at: prop::sample::Index,
    ) {
        let files = SimulatedFiles::default();
        let (between, _) = write(&files, 1, Position(0), &first);
        let (end, _) = write(&files, 2, Position(between), &second);
        let at = 1 + at.index(end as usize) as u64;
        let opened = log(&files).open(Position(at), Some(1)).unwrap();
        prop_assert_eq!(opened.is_some(), at <= between);
        let opened = log(&files).open(Position(at), Some(2)).unwrap();
        prop_assert!(opened.is_some());
        let other = LogFiles { store: [1; 16], ..log(&files) };
        prop_assert!(other.open(Position(at), None).unwrap().is_none());
    }
}
