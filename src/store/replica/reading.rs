//! Reads a partition whole: its buckets one after the other, while it goes on changing, and then
//! what its log says has changed since.
//!
//! Each answer comes with the head of that moment. All heads that were seen must be in the log that
//! is read at last: then the log has all changes since the first, and replaying it over the keys
//! makes them what they are at the last head, whatever was read when.

use crate::valkey::{BUCKETS, BucketKeys, Client, EngineError, Entry, Head, Place, Position, Step};
use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// Keys that one script gives, about: so many take the engine 0.5 ms.
const KEYS_MAX: usize = 4096;

/// How often a large bucket is begun again before the partition is.
const SCANS_MAX: usize = 3;

/// A partition as it was read, before its log is replayed.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) keys: HashSet<Box<[u8]>>,
    /// The head at the beginning.
    pub(super) first: Head,
    /// Fields that are no keys of theirs.
    pub(super) left_out: usize,
    /// Where the log ended at each answer.
    seen: Vec<Position>,
}

/// What the log made of a reading.
#[derive(Debug)]
pub(super) enum Replayed {
    /// The keys are those at the head.
    Whole {
        /// Whether the head or the log must be mended.
        mend: Option<Mend>,
    },
    /// The log does not go back as far as the reading: it must be done again.
    Cut,
}

/// What is wrong with a partition's head or log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mend {
    /// Whether the log lacks the head's entry, or goes on after it.
    pub(super) append: bool,
}

impl Reading {
    /// Reads all buckets of a partition.
    pub(super) async fn read(
        client: Rc<Client>,
        partition: usize,
        patience: Duration,
    ) -> Result<Self, EngineError> {
        let read = Self::buckets(&client, partition, patience).await;
        if read.as_ref().err() != Some(&EngineError::Foreign) {
            return read;
        }
        // A log or a head of another type can be made anew; a bucket cannot.
        if !client.mend(partition, Instant::now() + patience).await? {
            return Err(EngineError::Foreign);
        }
        log::warn!("a log or head of partition {partition} was of another type and is made anew");
        Self::buckets(&client, partition, patience).await
    }

    async fn buckets(
        client: &Client,
        partition: usize,
        patience: Duration,
    ) -> Result<Self, EngineError> {
        let (first, sizes) = client.sizes(partition, Instant::now() + patience).await?;
        let mut reading = Self {
            keys: HashSet::with_capacity(sizes.iter().sum()),
            left_out: 0,
            seen: first.position.clone().into_iter().collect(),
            first,
        };
        for buckets in groups(&sizes) {
            if buckets.len() == 1 && sizes[buckets.start] > KEYS_MAX {
                let bucket = buckets.start;
                let place = Place { partition, bucket };
                if reading.scan(client, place, patience).await? {
                    continue;
                }
            }
            let deadline = Instant::now() + patience;
            let found = client.bucket_keys(partition, buckets, deadline).await?;
            reading.left_out += found.left_out;
            reading.take(found);
        }
        Ok(reading)
    }

    /// Reads a large bucket step by step, from the beginning again if another server goes on. `false` where
    /// that is not to be seen (an engine without `INFO`), so that it must be read at once.
    async fn scan(
        &mut self,
        client: &Client,
        place: Place,
        patience: Duration,
    ) -> Result<bool, EngineError> {
        for _ in 0..SCANS_MAX {
            // A key may come twice, so that what is left out is counted of one walk only.
            let mut left_out = 0;
            let mut run = None;
            let mut cursor = b"0".to_vec();
            loop {
                let scanned = client
                    .scan(place, &cursor, Instant::now() + patience)
                    .await?;
                if scanned.run.is_empty() {
                    return Ok(false);
                }
                if run.get_or_insert_with(|| scanned.run.clone()) != &scanned.run {
                    self.saw(scanned.found.head);
                    break;
                }
                left_out += scanned.found.left_out;
                self.take(scanned.found);
                match scanned.cursor {
                    Some(next) => cursor = next,
                    None => {
                        self.left_out += left_out;
                        return Ok(true);
                    }
                }
            }
        }
        Err(EngineError::Moving)
    }

    /// After a repair the log begins anew: what was read is what the head now stands for.
    pub(super) fn forget_heads(&mut self) {
        self.seen.clear();
    }

    fn take(&mut self, found: BucketKeys) {
        self.saw(found.head);
        let keys = found.keys.into_iter().map(Vec::into_boxed_slice);
        self.keys.extend(keys);
    }

    fn saw(&mut self, head: Head) {
        if let Some(position) = head.position
            && self.seen.last() != Some(&position)
        {
            self.seen.push(position);
        }
    }

    /// Replays the log, as it was read together with `head`, from the first head on or earlier.
    pub(super) fn replay(&mut self, head: &Head, entries: &[Entry]) -> Replayed {
        let logged: HashSet<&Position> = entries.iter().map(|entry| &entry.position).collect();
        let is_known =
            |seen: &Position| head.position.as_ref() == Some(seen) || logged.contains(seen);
        if !self.seen.iter().all(is_known) {
            return Replayed::Cut;
        }
        // What the log says beyond the head is not of the engine's writes.
        let until = head.position.as_ref().and_then(Position::number);
        // What it says up to the first head was in the buckets when they were read, unless somebody
        // has taken it out by hand: replayed, it would hide that.
        let since = self.first.position.as_ref().and_then(Position::number);
        let said = |entry: &&Entry| {
            let at = entry.position.number();
            at > since && at <= until
        };
        for entry in entries.iter().filter(said) {
            match &entry.step {
                Some(Step::Add(key)) => {
                    self.keys.insert(key.clone());
                }
                Some(Step::Remove(key)) => {
                    self.keys.remove(key);
                }
                Some(Step::Update(_)) | None => {}
            }
        }
        let last = entries.last().map(|entry| &entry.position);
        let append = match &head.position {
            None => last.is_some() || !self.keys.is_empty(),
            Some(position) => last != Some(position),
        };
        let counts = head.keys == Some(self.keys.len())
            || (head.position.is_none() && head.keys.is_none() && self.keys.is_empty());
        Replayed::Whole {
            mend: (append || !counts).then_some(Mend { append }),
        }
    }
}

/// Neighbouring buckets that are not empty, with few enough keys to be read at once.
fn groups(sizes: &[usize]) -> Vec<Range<usize>> {
    let mut groups: Vec<(Range<usize>, usize)> = Vec::new();
    for (bucket, size) in sizes.iter().enumerate().take(BUCKETS) {
        match groups.last_mut() {
            _ if *size == 0 => {}
            Some((buckets, keys)) if *keys + size <= KEYS_MAX => {
                buckets.end = bucket + 1;
                *keys += size;
            }
            _ => groups.push((bucket..bucket + 1, *size)),
        }
    }
    groups.into_iter().map(|(buckets, _)| buckets).collect()
}
