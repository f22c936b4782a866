//! What a shard does to remove keys by a filter.
//!
//! They are found and removed in one message, each by a change of its own: records, answers that wait for
//! the disk, those who follow the changes and panics know no difference.

use super::share::{Share, caught};
use crate::model::{Changed, Mutation};
use crate::store::StoreError;
use crate::store::batch::MESSAGE_CHANGES_MAX;
use crate::store::erase::key_of;
use crate::store::message::{Erase, Erased};
use std::time::{Duration, Instant};

/// For how long keys are found and removed, which takes 4 µs for each that is in a segment.
const TIME: Duration = Duration::from_micros(150);

/// So many are removed however long it took to find them.
const KEYS_MIN: usize = 16;

impl Share {
    /// Removes the first keys above a cursor that match, as many as take about 200 µs.
    pub(super) fn erase(&mut self, Erase { filter, after }: Erase) -> Erased {
        let began = Instant::now();
        let mut erased = Erased::default();
        let page = caught(|| Ok(self.map.page(&filter, &after, MESSAGE_CHANGES_MAX)));
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                erased.stopped = Some(error);
                return erased;
            }
        };
        erased.resume = page.resume;
        let last = page.keys.len().saturating_sub(1);
        for (at, key) in page.keys.iter().enumerate() {
            match self.remove(key) {
                Ok(Changed::Deleted(_)) => erased.deleted += 1,
                Ok(
                    Changed::Created(_)
                    | Changed::Updated(_)
                    | Changed::Kept(_)
                    | Changed::Absent
                    | Changed::Unmet(_),
                ) => {}
                Err(error) => {
                    erased.stopped = Some(error);
                    break;
                }
            }
            if at < last && at + 1 >= KEYS_MIN && began.elapsed() > TIME {
                erased.resume = Some(key.into());
                break;
            }
        }
        erased
    }

    fn remove(&mut self, key: &[u8]) -> Result<Changed, StoreError> {
        let key = caught(|| Ok(key_of(key)))?;
        self.change(Mutation::delete(key))
    }
}
