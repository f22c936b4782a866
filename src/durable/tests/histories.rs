//! A directory of several shards, with its log, checkpoints and clean stops, against the list of all changes,
//! through crashes at every operation.

use super::super::simulated::Skipped;
use super::*;
use crate::durable::checkpoint::{CheckpointWriter, Previous};
use crate::keymap::KeyMap;
use crate::model::{ContentType, ContentTypes, Key, Revision, Value};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

const SHARDS: u32 = 2;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Set {
        shard: u32,
        key: u8,
        len: usize,
    },
    Delete {
        shard: u32,
        key: u8,
    },
    /// Hands what was changed over.
    HandOver,
    /// Waits until all is acknowledged.
    Settle,
    Begin {
        shard: u32,
    },
    Copy,
    Commit,
    /// A clean stop, with or without a last checkpoint, and a start.
    Stop,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let shard = 0..SHARDS;
    let len = prop_oneof![0_usize..30, 100_usize..300, Just(700)];
    let step = prop_oneof![
        8 => (shard.clone(), 0_u8..12, len).prop_map(|(shard, key, len)| Step::Set { shard, key, len }),
        3 => (shard.clone(), 0_u8..12).prop_map(|(shard, key)| Step::Delete { shard, key }),
        4 => Just(Step::HandOver),
        3 => Just(Step::Settle),
        2 => shard.prop_map(|shard| Step::Begin { shard }),
        2 => Just(Step::Copy),
        2 => Just(Step::Commit),
        1 => Just(Step::Stop),
    ];
    prop::collection::vec(step, 10..40)
}

/// What is wrong with a store: each must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// An operation on files is left out.
    Skips(Skipped),
    /// Changes are acknowledged once they are handed over.
    AcknowledgesEarly,
    /// A checkpoint takes its place before the log is on disk past its copy.
    CommitsEarly,
    /// The log is cut behind the last checkpoint of any shard, not before the first of all.
    TrimsEarly,
    /// A removal writes no record.
    RemovesQuietly,
    /// A checkpoint says that it needs the log from a record later on.
    DatesLate,
}

/// A shard of a store that is open.
struct Shard {
    map: KeyMap,
    revision: u64,
    previous: Previous,
    position: Position,
    content: Vec<u8>,
    records: u32,
}

/// A store that is open, and what was changed in it, in the order of the log.
struct Store {
    files: SimulatedFiles,
    directory: Directory,
    log: Log,
    told: Receiver<Result<Position, LogError>>,
    shards: Vec<Shard>,
    writing: Option<(u32, CheckpointWriter, VecDeque<Range<u32>>)>,
    defect: Option<Defect>,
}

/// Of all stores that were there one after the other.
#[derive(Clone, Default)]
struct History {
    /// Changes that have a position.
    changes: Vec<(u32, Record)>,
    /// How many of them are acknowledged.
    safe: u64,
    /// Changes of each shard that have none yet.
    pending: [Vec<Record>; SHARDS as usize],
    /// The highest revision of each shard, those of changes that are lost included.
    revisions: [u64; SHARDS as usize],
}

/// That the process has ended.
#[derive(Debug)]
struct Ended;

fn layout() -> Layout {
    Layout {
        store: STORE,
        shards: SHARDS,
        hash_key: [1, 2],
        seed: 3,
    }
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self
    }
}

fn key(number: u8) -> Key {
    Key::parse(format!("key {number}").into(), 100).unwrap()
}

impl Store {
    /// Opens what is there, and compares it with what was changed.
    fn open(
        files: &SimulatedFiles,
        history: &mut History,
        defect: Option<Defect>,
        what: &str,
    ) -> Result<Self, Ended> {
        let directory = Directory::simulated(files, Path::new("/data"), layout());
        let loaded = match directory.load(&ContentTypes::default(), &Progress::default()) {
            Ok(loaded) => loaded,
            Err(_) if files.has_crashed() => return Err(Ended),
            Err(error) => panic!("{what}: {error}"),
        };
        let end = loaded.end.0 as usize;
        assert!(
            end as u64 >= history.safe,
            "{what}: {end} of {}",
            history.safe
        );
        assert!(end <= history.changes.len(), "{what}: {end} are too many");
        history.changes.truncate(end);
        // What was found is on disk now, acknowledged or not.
        history.safe = end as u64;
        history.check(&loaded, what);
        let (sender, told) = channel();
        let options = LogOptions {
            directory: directory.log_path(),
            store: STORE,
            start: loaded.start,
            first: loaded.end,
            needed: Position(0),
            // Every second start keeps some that are not needed.
            kept_bytes_max: (1 - loaded.start % 2) * 2 * FILE_BYTES,
            file_bytes: FILE_BYTES,
            waiting_bytes_max: 64 * 1024,
            sync: Sync::Always,
        };
        let log = Log::begin(directory.files(), options, Told(sender)).map_err(|_| Ended)?;
        let shards = loaded.shards.into_iter().map(|shard| Shard {
            map: shard.map,
            revision: shard.last_revision.unwrap_or(loaded.start << 40),
            previous: shard.checkpoint.0,
            position: shard.checkpoint.1,
            content: Vec::new(),
            records: 0,
        });
        Ok(Self {
            files: files.clone(),
            directory,
            log,
            told,
            shards: shards.collect(),
            writing: None,
            defect,
        })
    }

    fn run(mut self, steps: &[Step], history: &mut History, what: &str) -> Result<(), Ended> {
        for step in steps {
            match step {
                Step::Set {
                    shard,
                    key: number,
                    len,
                } => {
                    let one = &mut self.shards[*shard as usize];
                    one.revision += 1;
                    let value = Value {
                        content_type: ContentType::JSON,
                        body: vec![one.revision as u8; *len].into(),
                        revision: Revision(one.revision),
                        expires_at: None,
                    };
                    write_set(&key(*number), &value, &mut one.content);
                    one.map.set(&key(*number), value.clone());
                    one.records += 1;
                    let state = State::Set(value);
                    history.note(
                        *shard,
                        Record {
                            key: key(*number),
                            state,
                        },
                    );
                }
                Step::Delete { shard, key: number } => {
                    let one = &mut self.shards[*shard as usize];
                    if one.map.delete(&key(*number)) {
                        one.revision += 1;
                        let revision = Revision(one.revision);
                        if self.defect == Some(Defect::RemovesQuietly) {
                            continue;
                        }
                        write_removed(&key(*number), revision, &mut one.content);
                        one.records += 1;
                        let state = State::Removed(revision);
                        history.note(
                            *shard,
                            Record {
                                key: key(*number),
                                state,
                            },
                        );
                    }
                }
                Step::HandOver => (0..SHARDS).for_each(|shard| self.hand_over(shard, history)),
                Step::Settle => self.settle(history)?,
                Step::Begin { shard } => self.begin(*shard, history)?,
                Step::Copy => drop(self.copy(history)?),
                Step::Commit => self.commit(history)?,
                Step::Stop => {
                    self.settle(history)?;
                    self.log.close();
                    if self.files.has_crashed() {
                        return Err(Ended);
                    }
                    let files = self.files.clone();
                    let defect = self.defect;
                    self = Self::open(&files, history, defect, what)?;
                }
            }
        }
        self.settle(history)
    }

    /// Gives the records of a shard's changes their position. Changes of the model have one from here on.
    fn hand_over(&mut self, shard: u32, history: &mut History) {
        let one = &mut self.shards[shard as usize];
        if one.records > 0 {
            let end = self.log.append(Append {
                shard,
                records: std::mem::take(&mut one.records),
                content: std::mem::take(&mut one.content),
            });
            history.hand_over(shard);
            assert_eq!(end.0, history.changes.len() as u64);
        }
    }

    fn settle(&mut self, history: &mut History) -> Result<(), Ended> {
        (0..SHARDS).for_each(|shard| self.hand_over(shard, history));
        if self.defect == Some(Defect::AcknowledgesEarly) {
            history.safe = self.log.end().0;
        }
        while history.safe < self.log.end().0 {
            match self.told.recv_timeout(Duration::from_secs(30)).unwrap() {
                Ok(position) => history.safe = history.safe.max(position.0),
                Err(_) => return Err(Ended),
            }
        }
        Ok(())
    }

    fn begin(&mut self, shard: u32, history: &mut History) -> Result<(), Ended> {
        if self.writing.is_some() {
            return Ok(());
        }
        self.hand_over(shard, history);
        let one = &mut self.shards[shard as usize];
        one.map.settle();
        let image = one.map.image().expect("no job is to be waited for");
        let moment = Moment {
            position: match self.defect {
                Some(Defect::DatesLate) => Position(self.log.end().0 + 1),
                _ => self.log.end(),
            },
            revision: Revision(one.revision),
        };
        let place = self.directory.shard_files(shard);
        let writer = CheckpointWriter::begin(&place, &one.previous, image, moment)?;
        let wanted = writer.wanted().collect();
        self.writing = Some((shard, writer, wanted));
        Ok(())
    }

    /// Copies some values, and says whether there are more.
    fn copy(&mut self, history: &mut History) -> Result<bool, Ended> {
        let Some((shard, mut writer, mut wanted)) = self.writing.take() else {
            return Ok(false);
        };
        self.hand_over(shard, history);
        if let Some(slots) = wanted.front_mut() {
            // Fewer than a step copies, so that there are more steps.
            let some = slots.start..slots.end.min(slots.start + 3);
            let values = self.shards[shard as usize].map.copy_values(some);
            writer.values(&values)?;
            slots.start = values.slots().end;
            if slots.start == slots.end {
                wanted.pop_front();
            }
        }
        let has_more = !wanted.is_empty();
        self.writing = Some((shard, writer, wanted));
        Ok(has_more)
    }

    fn commit(&mut self, history: &mut History) -> Result<(), Ended> {
        while self.copy(history)? {}
        let Some((shard, writer, _)) = self.writing.take() else {
            return Ok(());
        };
        let prepared = writer.prepare()?;
        if self.defect != Some(Defect::CommitsEarly) {
            self.settle(history)?;
        }
        let committed = prepared.commit()?;
        let one = &mut self.shards[shard as usize];
        one.previous = committed.previous;
        one.position = committed.moment.position;
        let positions = self.shards.iter().map(|shard| shard.position);
        let needed = match self.defect {
            Some(Defect::TrimsEarly) => positions.max(),
            _ => positions.min(),
        };
        self.log.trim(needed.unwrap_or_default())?;
        Ok(())
    }
}

impl History {
    /// Notes a change that has no position yet.
    fn note(&mut self, shard: u32, record: Record) {
        let revision = match &record.state {
            State::Set(value) => value.revision.0,
            State::Removed(revision) | State::Expired(revision) => revision.0,
        };
        let highest = &mut self.revisions[shard as usize];
        assert!(revision > *highest, "a revision comes twice");
        *highest = revision;
        self.pending[shard as usize].push(record);
    }

    fn hand_over(&mut self, shard: u32) {
        let records = self.pending[shard as usize].drain(..);
        self.changes.extend(records.map(|record| (shard, record)));
    }

    /// Compares what was loaded with the changes up to its end.
    fn check(&mut self, loaded: &Loaded, what: &str) {
        self.pending = Default::default();
        for (number, shard) in (0..).zip(&loaded.shards) {
            let mut model: BTreeMap<&str, &Value> = BTreeMap::new();
            let own = self.changes.iter().filter(|(shard, _)| *shard == number);
            for (_, record) in own {
                match &record.state {
                    State::Set(value) => model.insert(record.key.as_str(), value),
                    State::Removed(_) | State::Expired(_) => model.remove(record.key.as_str()),
                };
            }
            assert_eq!(shard.map.len(), model.len(), "{what}, shard {number}");
            for (name, value) in model {
                let key = Key::parse(name.into(), 100).unwrap();
                assert_eq!(shard.map.get(&key).as_ref(), Some(value), "{what}: {name}");
            }
            if let Some(last) = shard.last_revision {
                assert!(
                    last >= self.revisions[number as usize],
                    "{what}: a revision would repeat"
                );
            }
        }
    }
}

/// Has a history end at each of its operations, with each way to lose what was not synced, and another follow
/// that ends somewhere too.
pub(super) fn explore(first: &[Step], second: &[Step], seed: u64, defect: Option<Defect>) {
    let disk = || {
        let files = SimulatedFiles::default();
        if let Some(Defect::Skips(skipped)) = defect {
            files.skip(Some(skipped));
        }
        files
    };
    let open = |files: &SimulatedFiles, history: &mut History, what: &str| {
        Store::open(files, history, defect, what)
    };
    let whole = disk();
    let mut history = History::default();
    let store = open(&whole, &mut history, "at first").unwrap();
    store.run(first, &mut history, "at first").unwrap();
    for crash in 0..whole.operations() {
        let files = disk();
        files.crash_at(crash);
        let mut history = History::default();
        if let Ok(store) = open(&files, &mut history, "before the crash") {
            let _ = store.run(first, &mut history, "before the crash");
        }
        for loss in losses(seed.wrapping_add(crash as u64))
            .into_iter()
            .step_by(2)
        {
            let what = format!("crash at {crash}, {loss:?}");
            let mut history = history.clone();
            let next = files.after_crash(loss);
            // A crash in what follows, the recovery included.
            next.crash_at((seed as usize).wrapping_add(crash) % 60);
            if let Ok(store) = open(&next, &mut history, &what) {
                let _ = store.run(second, &mut history, &what);
            }
            let last = next.after_crash(if crash % 2 == 0 { loss } else { Loss::All });
            let _ = open(&last, &mut history, &format!("{what}, and again")).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(effort(4, 80)))]
    #[test]
    fn all_that_was_acknowledged_is_there_after_a_crash_at_any_operation(
        first in steps(), second in steps(), seed: u64,
    ) {
        explore(&first, &second, seed, None);
    }
}
