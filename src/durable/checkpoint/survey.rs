//! What a checkpoint holds, and what of it is whole, for whoever looks into a directory without serving
//! it.

use super::contents::{Contents, NamedSegment};
use super::load::read_contents;
use super::values::{KnownType, ValuesReader};
use super::{Kind, Moment, Named, ShardFiles, keys};
use crate::durable::RecoveryError;
use crate::keymap::{Flaw, SlotValue, StoredSegment};
use crate::model::{ContentTypes, Key, Value};
use bytes::Bytes;
use std::path::PathBuf;

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// What a checkpoint holds.
#[derive(Debug)]
pub struct Survey {
    /// The moment that it is of.
    pub moment: Moment,
    /// How many keys there were.
    pub keys: u64,
    /// The files that it names.
    pub files: Vec<SurveyedFile>,
    /// How many keys were changed, or removed, while their values were copied: these were not taken, since
    /// the log alone says what became of them.
    pub changed_since: u64,
}

/// A file that a checkpoint names.
#[derive(Debug)]
pub struct SurveyedFile {
    /// Where it is.
    pub path: PathBuf,
    /// How long it should be, in bytes.
    pub bytes: u64,
    /// What is wrong with it, first of all.
    pub damage: Option<RecoveryError>,
}

/// Where a slot's key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    /// In the segment of this number, at this rank.
    Segment(u32, u32),
    /// Of the keys in no segment the one of this number.
    Tree(u32),
}

/// Reads all of a shard's checkpoint; `None` where there is none.
///
/// # Errors
/// Where the checkpoint itself cannot be read. What is wrong with other files is part of the survey.
pub fn survey(
    place: &ShardFiles,
    content_types: &ContentTypes,
) -> Result<Option<Survey>, RecoveryError> {
    salvage(place, content_types, |_, _| ())
}

/// As [`survey`], and gives every key of the checkpoint's moment whose value is whole and still of that
/// moment.
///
/// # Errors
/// As [`survey`].
pub fn salvage(
    place: &ShardFiles,
    content_types: &ContentTypes,
    mut found: impl FnMut(Key, Value),
) -> Result<Option<Survey>, RecoveryError> {
    let Some(contents) = read_contents(place, &place.checkpoint())? else {
        return Ok(None);
    };
    let mut survey = Survey {
        moment: contents.moment,
        keys: contents.keys,
        files: Vec::new(),
        changed_since: 0,
    };
    let mut owners = vec![Owner::Nobody; contents.slots as usize];
    let mut segments = Vec::new();
    for (number, named) in (0..).zip(&contents.segments) {
        let segment = keys::read(place, named);
        let segment = survey.note(place, Kind::Segment, named.file, segment);
        if let Some(segment) = &segment {
            take_slots(number, named, segment, &mut owners);
        }
        segments.push(segment);
    }
    for (number, (_, slot)) in (0..).zip(&contents.tree_keys) {
        take_slot(*slot, Owner::Tree(number), &mut owners);
    }
    let mut types = KnownType::new(content_types);
    for (range, named) in (0..).zip(&contents.ranges) {
        let mut changed = 0;
        let damage = read_range(place, range, named.file, &mut types, |value| {
            let owner = owners.get_mut(value.slot as usize);
            let owner = owner.map_or(Owner::Nobody, |owner| {
                std::mem::replace(owner, Owner::Nobody)
            });
            let Some(key) = key_of(owner, &segments, &contents) else {
                return;
            };
            let age = contents.moment.revision.0.wrapping_sub(value.revision.0) as i64;
            if age < 0 {
                changed += 1;
                return;
            }
            found(
                key,
                Value {
                    content_type: value.content_type.clone(),
                    body: Bytes::copy_from_slice(value.body),
                    revision: value.revision,
                    expires_at: value.end.map(|end| end.deadline),
                },
            );
        });
        survey.changed_since += changed;
        survey.note(place, Kind::Values, named.file, damage);
    }
    Ok(Some(survey))
}

impl Survey {
    /// Notes a file, and returns what was read of it.
    fn note<T>(
        &mut self,
        place: &ShardFiles,
        kind: Kind,
        named: Named,
        read: Result<T, RecoveryError>,
    ) -> Option<T> {
        let (read, damage) = match read {
            Ok(read) => (Some(read), None),
            Err(error) => (None, Some(error)),
        };
        self.files.push(SurveyedFile {
            path: place.path(kind, named.number),
            bytes: named.bytes,
            damage,
        });
        read
    }
}

fn take_slots(number: u32, named: &NamedSegment, segment: &StoredSegment, owners: &mut [Owner]) {
    let mut dead = named.dead.iter().peekable();
    for (rank, slot) in (0..).zip(segment.slots()) {
        if dead.next_if(|dead| **dead == rank).is_none() {
            take_slot(slot, Owner::Segment(number, rank), owners);
        }
    }
}

fn take_slot(slot: u32, owner: Owner, owners: &mut [Owner]) {
    if let Some(place) = owners.get_mut(slot as usize) {
        *place = owner;
    }
}

fn key_of(owner: Owner, segments: &[Option<StoredSegment>], contents: &Contents) -> Option<Key> {
    let key = match owner {
        Owner::Nobody => return None,
        Owner::Segment(number, rank) => segments[number as usize].as_ref()?.key(rank),
        Owner::Tree(number) => contents.tree_keys[number as usize].0.to_vec(),
    };
    Key::parse(String::from_utf8(key).ok()?.into(), KEY_BYTES_MAX).ok()
}

/// Gives the values of all blocks of a file that are whole, and says what is wrong first of all.
fn read_range(
    place: &ShardFiles,
    range: u32,
    named: Named,
    types: &mut KnownType<'_>,
    mut each: impl FnMut(&SlotValue<'_>),
) -> Result<(), RecoveryError> {
    let mut reader = ValuesReader::open(place, range, named)?;
    let mut first = Ok(());
    loop {
        let begun = reader.at();
        let read = match reader.next_block() {
            Ok(false) => return first,
            Ok(true) => reader.values(types, |value| {
                each(value);
                Ok::<_, Flaw>(())
            }),
            Err(error) => Err(error),
        };
        let is_over = read.is_err() && reader.at() == begun;
        first = first.and(read);
        if is_over {
            return first;
        }
    }
}
