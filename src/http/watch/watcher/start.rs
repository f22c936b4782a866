//! What there is, given to one who watches from the start, before what is changed.

use super::super::super::buffers::{Charge, PIECE_BYTES};
use super::super::events::Contents;
use super::super::hub::QUEUED_BYTES_MAX;
use super::super::present::Pause;
use super::long::Takes;
use super::{Broken, Phase, Piece, Watcher, piece};
use crate::model::{Key, Value};
use crate::store::StoreError;
use std::sync::Arc;

/// What a piece is given room for, in bytes: the last event in it may end behind its end.
const ROOM_BYTES: usize = PIECE_BYTES + PIECE_BYTES / 8;

impl Watcher {
    /// Goes on with what there is. Its events have no id: a client that goes on behind one would lack the rest.
    pub(super) async fn go_through_present(&mut self) -> Result<Option<Piece>, Broken> {
        let mut text = Vec::with_capacity(ROOM_BYTES);
        let mut events = 0;
        while self.long.is_none()
            && let Phase::Present(present) = &mut self.phase
        {
            let (written, pause) = present.write(self.form, &mut text);
            events += written;
            match pause {
                Pause::Full => break,
                Pause::Fetched if present.fetch().await.map_err(broken)? => {}
                Pause::Fetched => {
                    let ready_at = Some(self.following.end());
                    self.phase = Phase::Behind { ready_at };
                }
                Pause::Long(key, bytes) => {
                    // It may have gone meanwhile.
                    if let Some((value, copied)) = self.fetch_long(&key, bytes).await? {
                        events += 1;
                        self.give_present(&key, value, copied, &mut text).await?;
                    }
                }
            }
        }
        self.state.watchers.told(events);
        Ok(piece(text, None))
    }

    /// Fetches a value of about so many bytes, and what it takes where it is a copy.
    async fn fetch_long(
        &mut self,
        key: &Key,
        bytes: usize,
    ) -> Result<Option<(Value, Charge)>, Broken> {
        if self.lacks_values {
            return self.read_whole(key, bytes).await;
        }
        let value = self.state.store.get(key.clone()).await.map_err(broken)?;
        Ok(value.map(|value| (value, Charge::default())))
    }

    /// Writes the set of a value that was fetched by itself, or begins it where it is given piece by piece.
    async fn give_present(
        &mut self,
        key: &Key,
        value: Value,
        copied: Charge,
        text: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        if value.body.len() <= QUEUED_BYTES_MAX || self.form.contents == Contents::Tags {
            self.form.write_set(key.as_str(), &value, None, text);
            return Ok(());
        }
        let takes = match self.lacks_values {
            // Nobody else has this copy.
            true => Takes::Copied { _charge: copied },
            false => Takes::Shared {
                _charge: self.share(&value).await?,
            },
        };
        self.begin_value(key, (value, takes), None).await;
        Ok(())
    }

    async fn share(&self, value: &Value) -> Result<Option<Arc<Charge>>, Broken> {
        let shared = self.state.buffers.share(&value.body).await;
        shared.map_err(|problem| Broken(problem.detail().into()))
    }
}

fn broken(error: StoreError) -> Broken {
    Broken(error.to_string())
}
