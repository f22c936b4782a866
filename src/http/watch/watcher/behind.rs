//! One that watches and is behind: it looks at the changes from its own place on, as they are kept or as the log has
//! them.

use super::super::super::buffers::{Charge, PIECE_BYTES, Purpose, SENDING_BYTES};
use super::super::events::{Contents, LongEvent, Mark, Wire};
use super::super::hub::{Admitted, QUEUED_BYTES_MAX};
use super::long::{Long, Takes};
use super::{BOOKMARKS, Phase, Piece, Watcher, piece};
use crate::entry::{EntryText, ValueForm};
use crate::model::ContentTypes;
use crate::store::{Became, ChangeView, Gone, Happened, Place, Seen};
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::Instant;

/// For how long changes are looked at before others of the thread have their turn.
const TURN: Duration = Duration::from_micros(250);

/// What came of looking at the changes of a turn.
enum Looked {
    /// What comes next.
    Seen(Seen),
    /// A long event comes next, for which so many bytes are to be reserved.
    Long(usize),
    /// A long event comes next, for which there is room.
    Reserved,
}

/// What was made of a change apart from those whom a thread serves.
enum Made {
    Long(LongEvent),
    /// It says nothing of a value.
    Short(Happened),
}

impl Watcher {
    /// Looks at the changes that come next, until there is a piece or it is told by the hub.
    pub(super) async fn catch_up(&mut self) -> Option<Piece> {
        let mut text = Vec::new();
        let mut began = Instant::now();
        loop {
            let looked = self.look(&mut text, began);
            if !self.unread.is_empty() {
                return None;
            }
            let is_ready = self.get_ready(&mut text);
            let place = self.following.place();
            if text.len() >= PIECE_BYTES || is_ready {
                return piece(text, self.place_behind(place));
            }
            match looked {
                Looked::Seen(Seen::Some) => {}
                _ if !text.is_empty() => return piece(text, self.place_behind(place)),
                Looked::Long(bytes) => self.reserve(bytes).await,
                Looked::Reserved => {
                    if self.begin_long(&mut text).await == Err(Gone) {
                        return self.cut_off();
                    }
                    if self.long.is_some() {
                        return None;
                    }
                }
                Looked::Seen(Seen::Logged(bytes)) => {
                    if self.read_log(bytes).await == Err(Gone) {
                        return self.cut_off();
                    }
                }
                Looked::Seen(Seen::Gone) => return self.cut_off(),
                Looked::Seen(Seen::Nothing) => {
                    self.log_charge = (Charge::default(), 0);
                    self.reserved = (Charge::default(), 0);
                    if self.is_bookmark_due() {
                        return self.bookmark(place);
                    }
                    if self.hub.admit(&self.seat, &self.following) == Admitted::Yes {
                        self.phase = Phase::Live;
                        return None;
                    }
                }
            }
            if text.is_empty() && self.is_bookmark_due() {
                return self.bookmark(place);
            }
            if began.elapsed() > TURN {
                yield_now().await;
                began = Instant::now();
            }
        }
    }

    /// Looks at the changes of a turn that come next, and writes those that match, up to a piece or a long one. A turn that
    /// a follower of an engine tells may have thousands that do not: they are looked at for as long as others may wait.
    fn look(&mut self, text: &mut Vec<u8>, began: Instant) -> Looked {
        let has_ids = self.has_ids();
        let reads_values = self.reads_values();
        let Self {
            state,
            filter,
            form,
            following,
            unread,
            reserved,
            ..
        } = self;
        let mut long = None;
        let mut events = 0;
        let seen = following.look(|change| {
            if text.len() >= PIECE_BYTES || began.elapsed() > TURN {
                return ControlFlow::Break(());
            }
            if !filter.matches(change.key()) {
                return ControlFlow::Continue(());
            }
            if reads_values {
                if unread.is_full() {
                    return ControlFlow::Break(());
                }
                let place = has_ids.then_some(change.place);
                unread.add(change.read_without_body(&state.content_types), place);
                return ControlFlow::Continue(());
            }
            let happened = match form.contents {
                Contents::Tags => change.read_without_body(&state.content_types),
                Contents::Entries if change.bytes() > QUEUED_BYTES_MAX => {
                    long = Some(change.bytes());
                    return ControlFlow::Break(());
                }
                Contents::Entries => change.read(&state.content_types),
            };
            events += 1;
            form.write(&happened, has_ids.then_some(change.place), text);
            ControlFlow::Continue(())
        });
        state.watchers.told(events);
        match long {
            None => Looked::Seen(seen),
            Some(bytes) if bytes <= reserved.1 => Looked::Reserved,
            Some(bytes) => Looked::Long(bytes),
        }
    }

    /// Makes the long event that comes next, for which there is room, where nobody waits for this thread: to copy its
    /// value and to look through it takes 1 ms a MiB or so.
    async fn begin_long(&mut self, text: &mut Vec<u8>) -> Result<(), Gone> {
        let (has_ids, wire) = (self.has_ids(), self.form.wire);
        let state = self.state.clone();
        let made = self.following.look_apart(move |change| {
            let place = has_ids.then_some(change.place);
            (make(&change, &state.content_types, place, wire), place)
        });
        let Some((made, place)) = made.await? else {
            return Ok(());
        };
        self.state.watchers.told(1);
        let (copied, _) = std::mem::take(&mut self.reserved);
        match made {
            Made::Long(event) => {
                let takes = Takes::Copied { _charge: copied };
                self.long = Some(Long::new(event, place, takes));
            }
            Made::Short(happened) => self.form.write(&happened, place, text),
        }
        Ok(())
    }

    /// Whether events have ids: before it is ready a client could not go on behind any of them.
    fn has_ids(&self) -> bool {
        !matches!(self.phase, Phase::Behind { ready_at: Some(_) })
    }

    /// Writes that the client has all that there was, once that is so.
    fn get_ready(&mut self, text: &mut Vec<u8>) -> bool {
        let place = self.following.place();
        let is_ready = match &self.phase {
            Phase::Behind {
                ready_at: Some(ready_at),
            } => place >= *ready_at && self.long.is_none(),
            Phase::Behind { ready_at: None }
            | Phase::Present(_)
            | Phase::Past { .. }
            | Phase::Live
            | Phase::Over => false,
        };
        if is_ready {
            self.phase = Phase::Behind { ready_at: None };
            self.form.write_mark(Mark::Ready, place, text);
            self.bookmark_at = Instant::now() + BOOKMARKS;
        }
        is_ready
    }

    /// Tells that what comes next is not kept any more, and no more.
    pub(super) fn cut_off(&mut self) -> Option<Piece> {
        self.phase = Phase::Over;
        self.state.watchers.was_cut();
        log::debug!("one who watches is cut off, since what comes next is not kept any more");
        let mut text = Vec::new();
        self.form.write_gone(&mut text);
        piece(text, None)
    }

    /// Reads what comes next from the log, which takes so many bytes.
    async fn read_log(&mut self, bytes: usize) -> Result<(), Gone> {
        // What was read before is given.
        self.log_charge = (Charge::default(), 0);
        self.reserved = (Charge::default(), 0);
        self.log_charge = (self.take(bytes).await, bytes);
        self.following.read_log().await
    }

    /// Reserves so much for a long event and for sending it, by the charge of what was read from the log: two of one
    /// watcher would wait for each other.
    async fn reserve(&mut self, bytes: usize) {
        let (mut charge, mut held) = std::mem::take(&mut self.log_charge);
        let buffers = self.state.buffers.clone();
        while buffers
            .grow(&mut charge, Purpose::Large, held + bytes + SENDING_BYTES)
            .await
            .is_err()
        {
            self.following.forget_log();
            (charge, held) = (Charge::default(), 0);
        }
        self.reserved = (charge, bytes);
    }
}

/// Makes of a change what is told of it with its value.
fn make(change: &ChangeView<'_>, types: &ContentTypes, place: Option<Place>, wire: Wire) -> Made {
    let Happened { key, became } = change.read(types);
    match became {
        Became::Set(value) => {
            let entry = EntryText {
                key: key.as_str(),
                value: &value,
                form: ValueForm::of(&value),
            };
            Made::Long(LongEvent::new(entry, place, wire))
        }
        became @ (Became::Deleted | Became::Expired) => Made::Short(Happened { key, became }),
    }
}
