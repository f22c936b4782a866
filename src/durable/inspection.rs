//! What a directory holds, looked at without serving it and without changing anything, and what of it can
//! be saved where not all is as it was written.

use super::checkpoint::{self, Survey};
use super::loading::settle_many;
use super::recovery::{self, LogInspection};
use super::{Directory, Position, Records, RecoveryError};
use crate::keymap::KeyMap;
use crate::model::{ContentTypes, Filter, Key, Value};
use std::ops::Range;

/// Keys that are read at a time.
const PAGE_KEYS: usize = 1024;

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// What is in a directory.
#[derive(Debug)]
pub struct Inspection {
    /// The checkpoint of each shard, where there is one that can be read.
    pub checkpoints: Vec<Option<Survey>>,
    /// Files of the log, and their frames' bytes.
    pub log_files: u64,
    /// How long all their frames are, in bytes.
    pub log_bytes: u64,
    /// Records behind the checkpoints.
    pub log_records: u64,
    /// Bytes of a torn end, none of which was acknowledged.
    pub torn_bytes: u64,
    /// What is not as it was written.
    pub damage: Vec<RecoveryError>,
    /// Changes that are missing: whatever they set or removed is as it was before them.
    pub missing: Vec<Range<Position>>,
    /// Keys of checkpoints whose values are missing.
    pub values_missing: u64,
    /// Keys and values of all shards, as far as they are there.
    maps: Vec<KeyMap>,
}

impl Directory {
    /// Reads and verifies all that is there. Takes the memory that serving it would.
    pub fn inspect(&self, content_types: &ContentTypes) -> Inspection {
        let mut damage = Vec::new();
        let mut values_missing = 0;
        let mut checkpoints = Vec::new();
        let mut maps = Vec::new();
        for shard in 0..self.layout().shards {
            let mut map = KeyMap::with_seed(self.layout().seed);
            let place = self.shard_files(shard);
            let survey = checkpoint::salvage(&place, content_types, |key, value| {
                map.set(&key, value);
                settle_many(&mut map);
            });
            let survey = survey.unwrap_or_else(|error| {
                damage.push(error);
                None
            });
            checkpoints.push(survey.map(|mut survey| {
                let found = map.len() as u64 + survey.changed_since;
                let files = survey.files.iter_mut();
                let before = damage.len();
                damage.extend(files.filter_map(|file| file.damage.take()));
                if damage.len() > before {
                    values_missing += survey.keys.saturating_sub(found);
                }
                survey
            }));
            maps.push(map);
        }
        let positions = checkpoints.iter().map(|checkpoint| {
            let moment = checkpoint.as_ref().map(|survey| survey.moment);
            moment.map_or(Position(0), |moment| moment.position)
        });
        let needed: Vec<Position> = positions.collect();
        let from = needed.iter().copied().min().unwrap_or_default();
        let synced = needed.iter().copied().max().unwrap_or_default();
        let store = self.layout().store;
        let mut log_records = 0;
        let log = recovery::inspect(
            &*self.files,
            &self.log_path(),
            store,
            from..synced,
            |found| {
                let shard = found.shard as usize;
                let Some(map) = maps.get_mut(shard) else {
                    return false;
                };
                if found.position < needed[shard] {
                    return true;
                }
                for record in Records::new(found.content, content_types) {
                    let Ok(record) = record else { return false };
                    checkpoint::replay(record, map);
                    log_records += 1;
                }
                settle_many(map);
                true
            },
        );
        let LogInspection {
            files: log_files,
            bytes: log_bytes,
            torn_bytes,
            damage: log_damage,
            missing,
        } = log;
        damage.extend(log_damage);
        Inspection {
            checkpoints,
            log_files,
            log_bytes,
            log_records,
            torn_bytes,
            damage,
            missing,
            values_missing,
            maps,
        }
    }
}

impl Inspection {
    /// How many keys there are, as far as they are there.
    pub fn keys(&self) -> u64 {
        self.maps.iter().map(|map| map.len() as u64).sum()
    }

    /// Gives every key and value that is there, shard by shard.
    ///
    /// # Errors
    /// Those of `each`, which end it.
    pub fn entries<E>(&self, mut each: impl FnMut(Key, Value) -> Result<(), E>) -> Result<(), E> {
        let all = Filter::default();
        for map in &self.maps {
            let mut after: Box<[u8]> = Box::default();
            loop {
                let page = map.page(&all, &after, PAGE_KEYS);
                for at in 0..page.keys.len() {
                    let text = page.keys.get(at).and_then(|key| str::from_utf8(key).ok());
                    let key = text.and_then(|text| Key::parse(text.into(), KEY_BYTES_MAX).ok());
                    if let Some((key, value)) = key.and_then(|key| {
                        let value = map.get(&key)?;
                        Some((key, value))
                    }) {
                        each(key, value)?;
                    }
                }
                match page.resume {
                    Some(resume) => after = resume,
                    None => break,
                }
            }
        }
        Ok(())
    }
}
