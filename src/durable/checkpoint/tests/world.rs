//! A shard with a log and checkpoints beside a naive model of it.

use super::super::*;
use crate::durable::simulated::SimulatedFiles;
use crate::durable::{Record, State};
use crate::keymap::{Finish, Job, KeyMap, Need, Outcome};
use crate::model::{ContentTypes, Filter, Key, Value};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::Path;

pub type Model = BTreeMap<String, Value>;

pub struct World {
    pub disk: SimulatedFiles,
    pub place: ShardFiles,
    pub map: KeyMap,
    pub model: Model,
    pub log: Vec<Record>,
    pub revision: u64,
    pub jobs: Vec<Job>,
    pub outcomes: Vec<Outcome>,
    pub previous: Previous,
    pub writing: Option<Writing>,
    /// The moment of the last checkpoint that is known to be in place, and of one that may be.
    pub committed: Option<Moment>,
    pub committing: Option<Moment>,
    pub bytes_written: u64,
}

pub struct Writing {
    pub writer: CheckpointWriter,
    pub left: VecDeque<Range<u32>>,
    pub moment: Moment,
}

pub fn place(disk: &SimulatedFiles) -> ShardFiles {
    ShardFiles {
        files: Arc::new(disk.clone()),
        directory: Path::new("/data").to_owned(),
        store: [7; 16],
        seed: 0x5eed,
        shard: 3,
    }
}

pub fn key(name: &str) -> Key {
    Key::parse(name.into(), 2048).unwrap()
}

impl World {
    pub fn new(disk: SimulatedFiles) -> Self {
        Self {
            place: place(&disk),
            disk,
            map: KeyMap::with_seed(0x5eed),
            model: Model::new(),
            log: Vec::new(),
            // They go past the end of all numbers before long.
            revision: u64::MAX - 40,
            jobs: Vec::new(),
            outcomes: Vec::new(),
            previous: Previous::default(),
            writing: None,
            committed: None,
            committing: None,
            bytes_written: 0,
        }
    }

    fn next_revision(&mut self) -> Revision {
        self.revision = self.revision.wrapping_add(1);
        Revision(self.revision)
    }

    pub fn set(&mut self, name: &str, kind: usize) {
        let revision = self.next_revision();
        let body_bytes = [0, 3, 20, 200, 255, 256, 700, 3000][kind % 8];
        let text = ["application/json", "text/plain", "x/y; z=1"][kind / 8 % 3];
        let body: Vec<u8> = (0..body_bytes)
            .map(|at| (at as u64 ^ revision.0) as u8)
            .collect();
        let value = Value {
            content_type: ContentTypes::default().parse(text).unwrap(),
            body: Bytes::from(body),
            revision,
            expires_at: None,
        };
        let state = State::Set(value.clone());
        self.log.push(Record {
            key: key(name),
            state,
        });
        self.map.set(&key(name), value.clone());
        self.model.insert(name.to_owned(), value);
    }

    pub fn delete(&mut self, name: &str) {
        let was_there = self.map.delete(&key(name));
        assert_eq!(was_there, self.model.remove(name).is_some());
        if was_there {
            let state = State::Removed(self.next_revision());
            self.log.push(Record {
                key: key(name),
                state,
            });
        }
    }

    pub fn delete_all(&mut self, is_to_go: impl Fn(usize) -> bool) {
        let names: Vec<String> = self.model.keys().cloned().collect();
        let to_go = names.iter().enumerate().filter(|(at, _)| is_to_go(*at));
        to_go.for_each(|(_, name)| self.delete(name));
    }

    pub fn start_job(&mut self) {
        self.jobs.extend(self.map.next_job());
    }

    pub fn run_job(&mut self, at: usize) {
        if !self.jobs.is_empty() {
            let job = self.jobs.swap_remove(at % self.jobs.len());
            self.outcomes.push(job.run());
        }
    }

    pub fn finish_job(&mut self, at: usize) {
        if !self.outcomes.is_empty() {
            let outcome = self.outcomes.swap_remove(at % self.outcomes.len());
            if let Finish::Again(again) = self.map.finish(outcome) {
                self.jobs.push(again);
            }
        }
    }

    pub fn finish_jobs(&mut self) {
        loop {
            self.start_job();
            if self.jobs.is_empty() && self.outcomes.is_empty() {
                return;
            }
            self.run_job(0);
            self.finish_job(0);
        }
    }

    pub fn compact(&mut self) {
        self.map.compact(Need::Room);
    }

    /// Begins a checkpoint, unless one is under way or the map has to wait for a job.
    pub fn begin(&mut self) -> io::Result<()> {
        if self.writing.is_some() {
            return Ok(());
        }
        let Some(image) = self.map.image() else {
            return Ok(());
        };
        let moment = Moment {
            position: Position(self.log.len() as u64),
            revision: Revision(self.revision),
        };
        let writer = CheckpointWriter::begin(&self.place, &self.previous, image, moment)?;
        let left = writer.wanted().collect();
        self.writing = Some(Writing {
            writer,
            left,
            moment,
        });
        Ok(())
    }

    /// Copies some values, and returns whether there are more.
    pub fn copy(&mut self) -> io::Result<bool> {
        let Some(writing) = &mut self.writing else {
            return Ok(false);
        };
        if let Some(slots) = writing.left.front_mut() {
            let values = self.map.copy_values(slots.clone());
            writing.writer.values(&values)?;
            slots.start = values.slots().end;
            if slots.start == slots.end {
                writing.left.pop_front();
            }
        }
        Ok(!writing.left.is_empty())
    }

    pub fn commit(&mut self) -> io::Result<()> {
        while self.copy()? {}
        let Some(Writing { writer, moment, .. }) = self.writing.take() else {
            return Ok(());
        };
        self.committing = Some(moment);
        let committed = writer.prepare()?.commit()?;
        assert_eq!(committed.moment, moment);
        self.committed = Some(moment);
        self.previous = committed.previous;
        self.bytes_written = committed.bytes_written;
        Ok(())
    }

    /// A checkpoint from begin to end.
    pub fn checkpoint(&mut self) -> io::Result<()> {
        self.finish_jobs();
        self.begin()?;
        assert!(self.writing.is_some(), "no job is to be waited for");
        self.commit()
    }

    /// What the next process has of this disk, once it has replayed the log.
    pub fn recovered(&self, disk: &SimulatedFiles) -> Result<Self, RecoveryError> {
        let mut next = Self::new(disk.clone());
        if let Some(loaded) = load(&next.place, &ContentTypes::default())? {
            next.map = loaded.map;
            next.previous = loaded.previous;
            next.committed = Some(loaded.moment);
        }
        let from = next
            .committed
            .map_or(0, |moment| moment.position.0 as usize);
        for record in &self.log[from..] {
            replay(record.clone(), &mut next.map);
        }
        next.log.clone_from(&self.log);
        next.model.clone_from(&self.model);
        next.revision = self.revision.wrapping_add(1 << 32);
        Ok(next)
    }

    /// Compares the map with the model by all that it answers.
    pub fn check(&self, what: &str) {
        assert_eq!(self.map.len(), self.model.len(), "{what}");
        for (name, value) in &self.model {
            assert_eq!(
                self.map.get(&key(name)).as_ref(),
                Some(value),
                "{what}: {name}"
            );
        }
        for (prefix, suffix) in [("", ""), ("a:", ""), ("", ":x"), ("a:1", ":x"), ("é", "é")] {
            let filter = Filter {
                prefix: prefix.into(),
                suffix: suffix.into(),
            };
            let names = self.model.keys().map(String::as_bytes);
            let names: Vec<&[u8]> = names.filter(|name| filter.matches(name)).collect();
            assert_eq!(self.map.count(&filter), names.len(), "{what}: {filter:?}");
            let mut found: Vec<Vec<u8>> = Vec::new();
            let mut after = Vec::new();
            loop {
                let page = self.map.page(&filter, &after, 30);
                found.extend(page.keys.iter().map(<[u8]>::to_vec));
                match page.resume {
                    Some(resume) => after = resume.into(),
                    None => break,
                }
            }
            assert_eq!(found, names, "{what}: {filter:?}");
        }
    }
}
