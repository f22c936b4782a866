//! Where the engine holds what: the names of its keys, and how a value is written.
//!
//! A key of ours belongs to one of 256 partitions and there to one of 64 buckets, by a fixed hash.
//! All of a partition lies in one slot of a cluster, by its *tag*: the smallest decimal number whose
//! slot is that of the partition, so that partitions are spread evenly over slots.

use super::EngineError;
use crate::model::{ContentType, ContentTypes, Deadline, Revision, Value};
use bytes::Bytes;
use redis::cluster_routing::Slot;
use std::collections::HashMap;
use xxhash_rust::xxh3::xxh3_64;

/// The version of all that is here. Data of another version is refused.
pub const VERSION: u32 = 1;

/// How many partitions there are.
pub const PARTITIONS: usize = 256;

/// How many buckets a partition has.
pub const BUCKETS: usize = 64;

/// The slots of a cluster.
const SLOTS: usize = 16_384;

/// The version of a blob, in its first byte.
const BLOB_VERSION: u8 = 1;

/// The same, of a value that ends: its deadline follows the head.
const BLOB_VERSION_ENDING: u8 = BLOB_VERSION | BLOB_FLAGS;

/// What that takes, in bytes.
const END_BYTES: usize = 8;

/// Blobs of later versions have another number below this one in their first byte, or flags: its highest
/// bit, and what they need of the three after it. No text begins with any of these.
const BLOB_VERSIONS: u8 = 9;
const BLOB_FLAGS: u8 = 0x80;

/// The bytes of a blob before the body, where the content type is one of [`COMMON`].
const HEAD_BYTES: usize = 10;

/// Content types that take one byte, numbered from 1. Numbers are never used for another.
const COMMON: [&str; 8] = [
    "application/json",
    "application/octet-stream",
    "text/plain",
    "text/plain; charset=utf-8",
    "text/plain;charset=utf-8",
    "text/html",
    "application/xml",
    "application/x-www-form-urlencoded",
];

/// Where a key of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which partition.
    pub partition: usize,
    /// Which of its buckets.
    pub bucket: usize,
}

impl Place {
    /// The place of a key: the upper bits of its XXH3 hash.
    pub fn of(key: &[u8]) -> Self {
        let hash = xxh3_64(key);
        Self {
            partition: (hash >> 56) as usize % PARTITIONS,
            bucket: (hash >> 48) as usize % BUCKETS,
        }
    }
}

/// The names of the engine's keys.
#[derive(Debug)]
pub struct Layout {
    namespace: String,
    tags: Vec<String>,
}

impl Layout {
    /// The names under a namespace.
    pub fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.into(),
            tags: tags(),
        }
    }

    /// What all names begin with.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The hash of what the layout is.
    pub fn layout(&self) -> String {
        format!("{}:layout", self.namespace)
    }

    /// A bucket: a hash of keys and blobs.
    pub fn bucket(&self, place: Place) -> String {
        self.name(place.partition, &format!("v{}", place.bucket))
    }

    /// A partition's log: a stream with an entry for each key that was added or removed, and where its head says so for
    /// each that was updated.
    pub fn log(&self, partition: usize) -> String {
        self.name(partition, "l")
    }

    /// A partition's head: the last log id, its operation and the number of keys, as one text, and how updates are logged
    /// where they are.
    pub fn head(&self, partition: usize) -> String {
        self.name(partition, "h")
    }

    /// A partition's deadlines: a sorted set of the keys whose values end, by when.
    pub fn ends(&self, partition: usize) -> String {
        self.name(partition, "x")
    }

    /// Names of a bucket, a log, a head and deadlines that nobody else has, to try on what may be done with
    /// them.
    pub fn scratch(&self, partition: usize, operation: Revision) -> [String; 4] {
        ["v", "l", "h", "x"].map(|part| self.name(partition, &format!("try:{operation}:{part}")))
    }

    fn name(&self, partition: usize, part: &str) -> String {
        format!("{}:{{{}}}:{part}", self.namespace, self.tags[partition])
    }
}

/// The slot of a partition.
pub fn slot(partition: usize) -> u16 {
    u16::try_from(partition * (SLOTS / PARTITIONS)).expect("a slot is below 16,384")
}

/// The partition whose slot is the last before that of a key outside of all, so that both mostly have one
/// master.
pub fn partition_near(key: &str) -> usize {
    let wanted = Some(Slot::for_key(key));
    let number =
        (0..SLOTS).find(|number| u16::try_from(*number).ok().and_then(Slot::new) == wanted);
    number.map_or(0, |number| number / (SLOTS / PARTITIONS))
}

/// For each partition the smallest decimal number in its slot.
fn tags() -> Vec<String> {
    let wanted = |partition| Slot::new(slot(partition)).expect("the slot is one");
    let mut missing: HashMap<Slot, usize> = (0..PARTITIONS)
        .map(|partition| (wanted(partition), partition))
        .collect();
    let mut tags = vec![String::new(); PARTITIONS];
    for number in 0_u32.. {
        let tag = number.to_string();
        if let Some(partition) = missing.remove(&Slot::for_key(&tag)) {
            tags[partition] = tag;
        }
        if missing.is_empty() {
            break;
        }
    }
    tags
}

/// How many bytes the engine holds for a value besides its body, at the most.
pub const BLOB_HEAD_BYTES_MAX: usize = HEAD_BYTES + END_BYTES + 1 + u8::MAX as usize;

/// A value as a bucket holds it: version, content type, revision, deadline if it has one, and the body as it
/// is.
pub fn encode(
    content_type: &ContentType,
    revision: Revision,
    expires_at: Option<Deadline>,
    body: &[u8],
) -> Vec<u8> {
    let text = content_type.as_str();
    let common = COMMON.iter().position(|known| *known == text);
    let mut blob = Vec::with_capacity(HEAD_BYTES + END_BYTES + 1 + text.len() + body.len());
    blob.push(match expires_at {
        None => BLOB_VERSION,
        Some(_) => BLOB_VERSION_ENDING,
    });
    blob.push(common.map_or(0, |at| at as u8 + 1));
    blob.extend_from_slice(&revision.0.to_be_bytes());
    if let Some(deadline) = expires_at {
        blob.extend_from_slice(&deadline.as_millis().to_be_bytes());
    }
    if common.is_none() {
        blob.push(u8::try_from(text.len()).expect("a content type has at most 255 bytes"));
        blob.extend_from_slice(text.as_bytes());
    }
    blob.extend_from_slice(body);
    blob
}

/// The value that a blob holds.
///
/// # Errors
/// Where we did not write it, or only a newer version could have.
pub fn decode(blob: Vec<u8>, content_types: &ContentTypes) -> Result<Value, EngineError> {
    let blob = Bytes::from(blob);
    let (head, rest) = blob
        .split_first_chunk::<HEAD_BYTES>()
        .ok_or(EngineError::Foreign)?;
    let [
        BLOB_VERSION | BLOB_VERSION_ENDING,
        content_type,
        revision @ ..,
    ] = head
    else {
        let version = head[0] & 0x0f;
        let is_known = head[0] == version || head[0] & BLOB_FLAGS != 0;
        return Err(match is_known && (1..BLOB_VERSIONS).contains(&version) {
            true => EngineError::Newer,
            false => EngineError::Foreign,
        });
    };
    let (expires_at, rest, begin) = if head[0] == BLOB_VERSION_ENDING {
        let (deadline, rest) = rest.split_first_chunk().ok_or(EngineError::Foreign)?;
        let deadline = Deadline::from_millis(u64::from_be_bytes(*deadline));
        (Some(deadline), rest, HEAD_BYTES + END_BYTES)
    } else {
        (None, rest, HEAD_BYTES)
    };
    let (text, from) = match usize::from(*content_type).checked_sub(1) {
        Some(number) => (*COMMON.get(number).ok_or(EngineError::Foreign)?, begin),
        None => {
            let (len, rest) = rest.split_first().ok_or(EngineError::Foreign)?;
            let text = rest.get(..usize::from(*len)).ok_or(EngineError::Foreign)?;
            let text = std::str::from_utf8(text).map_err(|_| EngineError::Foreign)?;
            (text, begin + 1 + text.len())
        }
    };
    let content_type = content_types.parse(text);
    Ok(Value {
        content_type: content_type.map_err(|_| EngineError::Foreign)?,
        body: blob.slice(from..),
        revision: Revision(u64::from_be_bytes(*revision)),
        expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_are_in_their_slots_and_fixed() {
        let layout = Layout::new("kv");
        for partition in 0..PARTITIONS {
            let head = Slot::for_key(layout.head(partition));
            assert_eq!(Some(head), Slot::new(slot(partition)));
            assert_eq!(Slot::for_key(layout.log(partition)), head);
            let bucket = Place {
                partition,
                bucket: 63,
            };
            assert_eq!(Slot::for_key(layout.bucket(bucket)), head);
        }
        // Data that is stored has these names for ever.
        assert_eq!(layout.head(0), "kv:{3560}:h");
        assert_eq!(layout.log(255), "kv:{21503}:l");
        let place = Place::of(b"user:1");
        assert_eq!((place.partition, place.bucket), (59, 23));
    }

    proptest! {
        #[test]
        fn a_value_is_decoded_as_it_was(
            text in prop_oneof![Just("application/json"), Just("text/html"), Just("image/png"), Just("a/b; c=d")],
            revision in any::<u64>(),
            expires_at in prop::option::of((0_u64..1 << 47).prop_map(Deadline::from_millis)),
            body in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let types = ContentTypes::default();
            let content_type = types.parse(text).unwrap();
            let blob = encode(&content_type, Revision(revision), expires_at, &body);
            let type_bytes = if COMMON.contains(&text) { 0 } else { 1 + text.len() };
            let end_bytes = expires_at.map_or(0, |_| END_BYTES);
            prop_assert_eq!(blob.len(), HEAD_BYTES + end_bytes + type_bytes + body.len());
            let value = decode(blob, &types).unwrap();
            prop_assert_eq!(value.content_type, content_type);
            prop_assert_eq!(value.revision, Revision(revision));
            prop_assert_eq!(value.expires_at, expires_at);
            prop_assert_eq!(&value.body[..], &body[..]);
        }

        #[test]
        fn what_a_newer_version_wrote_is_told_from_what_nobody_did(
            version in prop_oneof![2_u8..9, Just(0x82_u8), Just(0x93), Just(0xf2)],
            rest in prop::collection::vec(any::<u8>(), HEAD_BYTES..40),
            text in "[a-zA-Z0-9{\\[\"]{10,40}",
        ) {
            let types = ContentTypes::default();
            let newer = [&[version], &rest[..]].concat();
            prop_assert_eq!(decode(newer, &types), Err(EngineError::Newer));
            prop_assert_eq!(decode(text.into_bytes(), &types), Err(EngineError::Foreign));
        }

        #[test]
        fn what_we_did_not_write_is_refused(mut blob in prop::collection::vec(any::<u8>(), 0..40)) {
            let types = ContentTypes::default();
            let is_ours = |version: &u8| [BLOB_VERSION, BLOB_VERSION_ENDING].contains(version);
            if let Some(version) = blob.first_mut().filter(|version| is_ours(version)) {
                *version = 0;
            }
            let refused = decode(blob.clone(), &types).unwrap_err();
            let is_newer = blob.len() >= HEAD_BYTES && (blob[0] >= BLOB_FLAGS || blob[0] < BLOB_VERSIONS);
            prop_assert!(refused == EngineError::Foreign || (is_newer && refused == EngineError::Newer));
            // Nor does a blob of ours that was cut do more than fail.
            if let Some(version) = blob.first_mut() {
                *version = BLOB_VERSION;
            }
            let decoded = decode(blob.clone(), &types);
            prop_assert!(decoded.is_err() || blob.len() >= HEAD_BYTES);
        }
    }
}
