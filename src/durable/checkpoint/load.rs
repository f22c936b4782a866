//! A map as its checkpoint has it.

use super::contents::{Contents, NamedRange};
use super::values::{KnownType, ValuesReader};
use super::writer::{Previous, RangeFile};
use super::{Moment, ShardFiles, keys};
use crate::durable::{Record, RecoveryError, State};
use crate::keymap::{Decision, Flaw, KeyMap, Loader};
use crate::model::{ContentTypes, Revision};
use std::convert::Infallible;
use std::io;
use std::path::Path;

/// What a checkpoint gives.
#[derive(Debug)]
pub struct Loaded {
    /// The shard's keys and values. All its records from the moment's position on are to be replayed over
    /// them before anything is read.
    pub map: KeyMap,
    /// The moment that it is of.
    pub moment: Moment,
    /// For the next checkpoint.
    pub previous: Previous,
}

/// Loads the checkpoint of a shard; `None` where it has none. Verifies all of it and changes nothing.
///
/// # Errors
/// Where a file cannot be read, is missing, or is not what was written, which is named.
pub fn load(
    place: &ShardFiles,
    content_types: &ContentTypes,
) -> Result<Option<Loaded>, RecoveryError> {
    let path = place.checkpoint();
    let Some(contents) = read_contents(place, &path)? else {
        return Ok(None);
    };
    let damaged = |Flaw(what)| damaged(&path, what);
    let first_revision = oldest(&contents.ranges, contents.moment.revision);
    let mut loader = Loader::new(place.seed, contents.slots, first_revision);
    let mut previous = Previous::default();
    let mut alive = contents.tree_keys.len() as u64;
    for named in &contents.segments {
        let segment = keys::read(place, named)?;
        let dead = named.dead.iter().copied();
        let id = loader.segment(segment, dead).map_err(damaged)?;
        previous.segments.insert(id, named.file);
        alive += u64::from(named.keys) - named.dead.len() as u64;
    }
    for (key, slot) in &contents.tree_keys {
        loader.tree_key(key, *slot).map_err(damaged)?;
    }
    if alive != contents.keys {
        return Err(damaged(Flaw(
            "it says another number of keys than it names",
        )));
    }
    let mut types = KnownType::new(content_types);
    for (range, named) in (0..).zip(&contents.ranges) {
        let mut reader = ValuesReader::open(place, range, named.file)?;
        while reader.next_block()? {
            reader.values(&mut types, |value| loader.value(value))?;
        }
        previous.ranges.push(RangeFile {
            named: *named,
            image: Loader::IMAGE,
        });
    }
    Ok(Some(Loaded {
        map: loader.finish(),
        moment: contents.moment,
        previous,
    }))
}

/// What a shard's checkpoint says; `None` where it has none.
pub(super) fn read_contents(
    place: &ShardFiles,
    path: &Path,
) -> Result<Option<Contents>, RecoveryError> {
    match place.files.read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RecoveryError::Read(path.to_owned(), error)),
        Ok(bytes) => match Contents::read(&bytes, place) {
            Ok(contents) => Ok(Some(contents)),
            Err((offset, what)) => Err(RecoveryError::Damaged {
                file: path.to_owned(),
                offset: offset as u64,
                what,
            }),
        },
    }
}

/// The oldest revision of some ranges, which is the furthest behind the last.
fn oldest(ranges: &[NamedRange], last: Revision) -> Revision {
    let ages = ranges.iter();
    let ages = ages.map(|range| last.0.wrapping_sub(range.oldest.0) as i64);
    let age = ages.max().unwrap_or(0).max(0);
    Revision(last.0.wrapping_sub(age as u64))
}

fn damaged(path: &Path, what: &'static str) -> RecoveryError {
    RecoveryError::Damaged {
        file: path.to_owned(),
        offset: 0,
        what,
    }
}

/// Makes the change of a record in a map. Of all records from a loaded checkpoint's moment on, in their
/// order, it gives the state that they lead to, whichever of them the map holds already.
pub fn replay(record: Record, map: &mut KeyMap) {
    let decision = match record.state {
        State::Set(value) => Decision::Set(value),
        State::Removed(_) | State::Expired(_) => Decision::Remove,
    };
    let Ok(_) = map.change(&record.key, |_| Ok::<_, Infallible>(decision));
}
