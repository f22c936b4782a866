//! The set of a long value, which is given piece by piece.

use super::super::super::buffers::Charge;
use super::super::super::entries::form_of;
use super::super::events::{Ending, LongEvent};
use super::{Piece, Watcher};
use crate::entry::EntryText;
use crate::model::{Key, Value};
use crate::store::Place;
use std::sync::Arc;

/// One that is being given, and what its value takes until its last piece was handed over.
pub(super) struct Long {
    event: LongEvent,
    place: Option<Place>,
    _takes: Takes,
}

/// What a value takes while it is given: a copy by itself, the stored one together with others who are sent it.
pub(super) enum Takes {
    Copied { _charge: Charge },
    Shared { _charge: Option<Arc<Charge>> },
}

impl Long {
    /// One of which nothing was given, with the place behind it where the client can go on there.
    pub(super) fn new(event: LongEvent, place: Option<Place>, takes: Takes) -> Self {
        Self {
            event,
            place,
            _takes: takes,
        }
    }

    /// Whether some of it was given.
    pub(super) fn is_begun(&self) -> bool {
        self.event.is_begun()
    }
}

impl Watcher {
    /// Begins to give a value, with the place behind it where the client can go on there.
    pub(super) async fn begin_value(
        &mut self,
        key: &Key,
        (value, takes): (Value, Takes),
        place: Option<Place>,
    ) {
        let turn = self.state.watchers.look_through().await;
        let form = form_of(&value).await;
        drop(turn);
        let entry = EntryText {
            key: key.as_str(),
            value: &value,
            form,
        };
        let event = LongEvent::new(entry, place, self.form.wire);
        self.long = Some(Long::new(event, place, takes));
    }

    pub(super) fn next_of_long(&mut self) -> Option<Piece> {
        let long = self.long.as_mut()?;
        let (text, ending) = long.event.next_piece()?;
        let mut place = None;
        if ending == Ending::Yes {
            place = long.place;
            self.long = None;
        }
        Some(Piece { text, place })
    }
}
