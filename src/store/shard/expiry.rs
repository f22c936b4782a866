//! Values that end: what has ended is not there, and its keys are taken out a few at a time.

use super::share::{Share, caught};
use crate::clock::Clock;
use crate::keymap::Expired;
use crate::model::{Changed, Deadline, Key, Revision, Value};
use std::time::Duration;

/// So many keys are taken out in a step, which takes some 150 µs.
const STEP_KEYS: usize = 32;

/// What came of a step in which keys were to be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// There is no more to do at this moment.
    Done,
    /// There may be.
    Partial,
    /// There is, and it has to wait for the disk.
    Held,
}

/// A value that was read, if it is still there.
pub(super) fn there_at(value: Option<Value>, clock: &Clock) -> Option<Value> {
    // Most have no deadline, and the clock is not asked.
    value.filter(|value| value.expires_at.is_none() || value.is_there(clock.now()))
}

impl Share {
    /// What time it is.
    pub(super) fn now(&self) -> Deadline {
        self.shared.clock.now()
    }

    /// Takes keys out whose values have ended, for about 150 µs.
    pub(super) fn expire(&mut self) -> Expiry {
        let now = self.now();
        if self.map.next_expiry().is_none_or(|next| !next.is_past(now)) {
            self.expired_until = now;
            return Expiry::Done;
        }
        // Nobody waits for these removals, so that they can wait until the disk has room and has taken what
        // was handed to it.
        if let Some(unsynced) = &self.unsynced
            && (unsynced.journal().check_room(true).is_err() || unsynced.journal().is_busy())
        {
            return Expiry::Held;
        }
        match caught(|| Ok(self.expire_some(now))) {
            Ok(expired) if expired.is_partial => Expiry::Partial,
            Ok(_) => {
                self.expired_until = now;
                Expiry::Done
            }
            // A panic leaves each key there or not. The others have their turn another time.
            Err(_) => Expiry::Held,
        }
    }

    fn expire_some(&mut self, now: Deadline) -> Expired {
        let mut keys = self.unsynced.as_ref().map(|_| Vec::new());
        let Self {
            map,
            unsynced,
            followed,
            last_revision,
            shared,
            ..
        } = self;
        let mut records = match unsynced {
            Some(unsynced) => Some(unsynced.records()),
            None => followed.within(shared.stream.recording()),
        };
        let expired = map.expire(now, STEP_KEYS, |key| {
            *last_revision = last_revision.wrapping_add(1);
            if let Some(records) = &mut records {
                records.write_expired(key, Revision(*last_revision));
            }
            if let Some(keys) = &mut keys {
                keys.push((key.to_vec(), Revision(*last_revision)));
            }
        });
        if let (Some(unsynced), Some(keys)) = (&mut self.unsynced, keys) {
            for (key, revision) in keys {
                let key = String::from_utf8(key).expect("keys are text by construction");
                let key = Key::parse(key.into(), usize::MAX).expect("it was a key before");
                unsynced.note(&key, Changed::Deleted(revision));
            }
        }
        self.expired += expired.keys as u64;
        expired
    }

    /// How many keys were taken out so.
    pub(super) fn expired(&self) -> u64 {
        self.expired
    }

    /// For how long, at the most, the value has ended that did so first of those that are still counted.
    pub(super) fn expiry_lag(&self) -> Duration {
        let now = self.now();
        let next = self.map.next_expiry().filter(|next| next.is_past(now));
        let since = next.map(|next| next.max(self.expired_until));
        since
            .and_then(|since| since.past_at(now))
            .unwrap_or_default()
    }
}
