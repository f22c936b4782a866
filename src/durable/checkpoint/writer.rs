//! How a checkpoint is written: the values as they come, then the segments that have no file, then, when
//! all that is on disk, the checkpoint in the place of the one before.

use super::contents::{Contents, NamedRange, NamedSegment, ranges};
use super::values::ValuesWriter;
use super::{CHECKPOINT_NEW, Kind, Moment, Named, ShardFiles, keys, number_of};
use crate::keymap::{Image, RANGE_SLOTS, SlotValues};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::ops::Range;

/// What a checkpoint names that the next may name again.
#[derive(Clone, Debug, Default)]
pub struct Previous {
    /// By the segment's id in the map.
    pub(super) segments: BTreeMap<u64, Named>,
    pub(super) ranges: Vec<RangeFile>,
}

/// The values of a range of slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct RangeFile {
    pub(super) named: NamedRange,
    /// The image after whose moment they were copied.
    pub(super) image: u32,
}

/// A checkpoint that is being written. Dropped, it leaves files that no checkpoint names.
#[derive(Debug)]
pub struct CheckpointWriter {
    place: ShardFiles,
    image: Image,
    moment: Moment,
    /// Files of the checkpoint before.
    segments: BTreeMap<u64, Named>,
    /// Files of this checkpoint so far.
    ranges: BTreeMap<u32, RangeFile>,
    wanted: VecDeque<Range<u32>>,
    /// The slot whose value is the next to come.
    next_slot: u32,
    open: Option<ValuesWriter>,
    next_number: u64,
    bytes_written: u64,
}

/// A checkpoint that is on disk but for its name.
#[derive(Debug)]
#[must_use = "it is of no use until it is committed"]
pub struct Prepared {
    place: ShardFiles,
    moment: Moment,
    previous: Previous,
    bytes_written: u64,
}

/// A checkpoint that is in place.
#[derive(Debug)]
pub struct Committed {
    /// Records of the shard before this moment are of no more use.
    pub moment: Moment,
    /// What was written, in bytes.
    pub bytes_written: u64,
    /// For the next.
    pub previous: Previous,
}

impl CheckpointWriter {
    /// Begins a checkpoint of an image, which was made at a moment. `previous` is of the checkpoint that
    /// is in place: of the last that was committed or loaded, whatever became of others since.
    ///
    /// # Errors
    /// As the system has them.
    pub fn begin(
        place: &ShardFiles,
        previous: &Previous,
        image: Image,
        moment: Moment,
    ) -> io::Result<Self> {
        let directory = place.directory();
        place.files.make_directory(&directory)?;
        place.files.sync_directory(&place.directory)?;
        let names = place.files.list(&directory)?;
        let last = names.iter().filter_map(|name| number_of(name)).max();
        let mut kept = BTreeMap::new();
        let mut wanted = VecDeque::new();
        for range in 0..ranges(image.slots()) {
            let file = previous.ranges.get(range as usize);
            match file.filter(|file| image.is_unchanged(range, file.image)) {
                Some(file) => {
                    kept.insert(range, *file);
                }
                None => {
                    let start = range * RANGE_SLOTS;
                    wanted.push_back(start..image.slots().min(start.saturating_add(RANGE_SLOTS)));
                }
            }
        }
        Ok(Self {
            place: place.clone(),
            moment,
            segments: previous.segments.clone(),
            ranges: kept,
            next_slot: wanted.front().map_or(0, |slots| slots.start),
            wanted,
            open: None,
            next_number: last.map_or(1, |last| last + 1),
            bytes_written: 0,
            image,
        })
    }

    /// The slots whose values are to come, range by range: each by
    /// [`KeyMap::copy_values`](crate::keymap::KeyMap::copy_values) until it is at its end.
    pub fn wanted(&self) -> impl Iterator<Item = Range<u32>> {
        self.wanted.iter().cloned()
    }

    /// Takes the next values.
    ///
    /// # Errors
    /// As the system has them. The checkpoint has come to nothing then.
    ///
    /// # Panics
    /// Where they are not of the slots whose turn it is.
    pub fn values(&mut self, values: &SlotValues) -> io::Result<()> {
        let slots = values.slots();
        if slots.is_empty() {
            return Ok(());
        }
        let wanted = self.wanted.front().cloned().unwrap_or_default();
        assert!(
            slots.start == self.next_slot && slots.end <= wanted.end,
            "values come in the order that was asked for"
        );
        let range = wanted.start / RANGE_SLOTS;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let number = self.take_number();
                ValuesWriter::begin(&self.place, number, range, self.moment.revision)?
            }
        };
        for value in values.iter() {
            open.push(&value)?;
        }
        self.next_slot = slots.end;
        if slots.end < wanted.end {
            self.open = Some(open);
            return Ok(());
        }
        let named = open.end()?;
        self.bytes_written += named.file.bytes;
        let image = self.image.number();
        self.ranges.insert(range, RangeFile { named, image });
        self.wanted.pop_front();
        self.next_slot = self.wanted.front().map_or(0, |slots| slots.start);
        Ok(())
    }

    /// Writes all that is left but for the name, and syncs it.
    ///
    /// # Errors
    /// As the system has them. The checkpoint has come to nothing then.
    ///
    /// # Panics
    /// Where values are still to come.
    pub fn prepare(mut self) -> io::Result<Prepared> {
        assert!(self.wanted.is_empty(), "all values come before the end");
        let image = self.image.clone();
        let mut segments = BTreeMap::new();
        let mut named = Vec::new();
        let mut keys = 0;
        for segment in image.segments() {
            let file = match self.segments.get(&segment.id()) {
                Some(file) => *file,
                None => {
                    let number = self.take_number();
                    let file = keys::write(&self.place, number, segment)?;
                    self.bytes_written += file.bytes;
                    file
                }
            };
            segments.insert(segment.id(), file);
            keys += u64::from(segment.keys() - segment.dead_len());
            named.push(NamedSegment {
                file,
                keys: segment.keys(),
                dead: segment.dead().collect(),
            });
        }
        // The files' names, before anything names them.
        let directory = self.place.directory();
        self.place.files.sync_directory(&directory)?;
        let tree_keys = image.tree_keys();
        let tree_keys: Vec<_> = tree_keys.map(|(key, slot)| (key.into(), slot)).collect();
        let contents = Contents {
            moment: self.moment,
            slots: image.slots(),
            keys: keys + tree_keys.len() as u64,
            segments: named,
            ranges: self.ranges.values().map(|file| file.named).collect(),
            tree_keys,
        };
        let bytes = contents.write(&self.place);
        let path = directory.join(CHECKPOINT_NEW);
        match self.place.files.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = self.place.files.create(&path, bytes.len() as u64)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        Ok(Prepared {
            place: self.place,
            moment: self.moment,
            previous: Previous {
                segments,
                ranges: self.ranges.into_values().collect(),
            },
            bytes_written: self.bytes_written + bytes.len() as u64,
        })
    }

    fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }
}

impl Prepared {
    /// Puts the checkpoint in the place of the one before, and removes what that one alone named. To be
    /// called when the log is synced past the end of the copy of the values.
    ///
    /// # Errors
    /// As the system has them. Either checkpoint may be in place then, and all files of both are there.
    pub fn commit(self) -> io::Result<Committed> {
        let place = &self.place;
        let directory = place.directory();
        let new = directory.join(CHECKPOINT_NEW);
        place.files.rename(&new, &place.checkpoint())?;
        place.files.sync_directory(&directory)?;
        // What cannot be removed now is, after the next.
        let _ = self.previous.remove_others(place);
        Ok(Committed {
            moment: self.moment,
            bytes_written: self.bytes_written,
            previous: self.previous,
        })
    }
}

impl Previous {
    /// Removes files that this checkpoint, which is in place and synced, does not name. Of use after a
    /// start, where one may have come to nothing before it.
    ///
    /// # Errors
    /// As the system has them.
    pub fn remove_others(&self, place: &ShardFiles) -> io::Result<()> {
        let segments = self
            .segments
            .values()
            .map(|file| (Kind::Segment, file.number));
        let ranges = self.ranges.iter();
        let ranges = ranges.map(|range| (Kind::Values, range.named.file.number));
        let paths = segments
            .chain(ranges)
            .map(|(kind, number)| place.path(kind, number));
        let named: BTreeSet<_> = paths.collect();
        let directory = place.directory();
        for name in place.files.list(&directory)? {
            let path = directory.join(&name);
            let is_ours = number_of(&name).is_some() || name == CHECKPOINT_NEW;
            if is_ours && !named.contains(&path) {
                place.files.remove(&path)?;
            }
        }
        Ok(())
    }
}
