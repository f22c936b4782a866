//! One that watches, as the body of its answer: what it is told, piece by piece, as fast as it takes them.
//!
//! It holds a place and no more than a piece: while it is behind it looks at the changes itself (`behind`), and once
//! there is nothing more to be looked at it is told by the hub. Where values are elsewhere they are read when they are
//! sent (`unread`). What there is comes first where it watches from the start (`start`); a long value is given piece by
//! piece (`long`).

mod behind;
mod long;
mod start;
mod unread;

use super::super::State;
use super::super::buffers::{Charge, PIECE_BYTES, Purpose, SENDING_BYTES};
use super::super::connection::Connection;
use super::super::door::Caller;
use super::events::{Form, Mark};
use super::hub::{Hub, Seat, Told};
use super::hub_of;
use super::present::Present;
use super::watchers::Watching;
use crate::lifecycle::Stage;
use crate::model::Filter;
use crate::store::{Following, Past, PastError, Place};
use actix_web::HttpRequest;
use actix_web::body::BodyStream;
use actix_web::web::Data;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use long::Long;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use unread::Unread;

pub(super) use unread::READ_VALUES;

/// How often a client hears of a place at which it can go on, whatever is changed. It tells proxies too that the
/// connection lives.
const BOOKMARKS: Duration = Duration::from_secs(10);

/// How often one hears of it that has ended its side. It is gone, or reads on: only what is written to it tells, and its
/// place is another's once it is known to be gone.
const BOOKMARKS_TO_ONE_SIDE: Duration = Duration::from_secs(1);

/// So much of an answer that its client takes fits what a connection takes anyway, in bytes.
const UNCOUNTED_BYTES: usize = 4 * 1024;

/// How one begins.
pub(super) struct Begin {
    pub(super) filter: Arc<Filter>,
    pub(super) form: Form,
    pub(super) following: Following,
    /// What there is, where that comes first.
    pub(super) present: Option<Box<Present>>,
    /// What was changed before, where that comes first, and what it takes while it is read.
    pub(super) past: Option<(Box<Past>, Charge)>,
    pub(super) watching: Watching,
}

/// One that watches.
pub(super) struct Watcher {
    state: Data<State>,
    hub: Rc<Hub>,
    connection: Option<Rc<Connection>>,
    caller: Caller,
    seat: Rc<Seat>,
    filter: Arc<Filter>,
    form: Form,
    following: Following,
    phase: Phase,
    /// Whether values are elsewhere.
    lacks_values: bool,
    /// Changes that are to be given next, of which values may have to be read before.
    unread: Unread,
    /// The event that is being given, where it is long.
    long: Option<Long>,
    /// What the next long one may take, and how much that is, in bytes.
    reserved: (Charge, usize),
    /// What was read from the log takes, and how much that is, in bytes.
    log_charge: (Charge, usize),
    /// Where the client can go on, by all that it was given.
    given: Option<Place>,
    bookmark_at: Instant,
    _watching: Watching,
}

/// How far it is.
enum Phase {
    /// It is given what there is.
    Present(Box<Present>),
    /// It is given what was changed before, as an engine's log has it.
    Past { past: Box<Past>, _charge: Charge },
    /// It looks at the changes by itself. It has all that there was once it has come to a place, if it lacks
    /// something of that.
    Behind { ready_at: Option<Place> },
    /// It is told by the hub.
    Live,
    /// It has been given all that it will be.
    Over,
}

/// A part of the answer.
struct Piece {
    text: Bytes,
    /// The place behind it, where the client can go on there.
    place: Option<Place>,
}

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(String);

impl Watcher {
    pub(super) fn new(begin: Begin, request: &HttpRequest, state: &Data<State>) -> Self {
        let Begin {
            filter,
            form,
            following,
            present,
            past,
            watching,
        } = begin;
        let connection = request.conn_data::<Rc<Connection>>().cloned();
        if let Some(connection) = &connection {
            connection.sends_without_end();
        }
        Self {
            hub: hub_of(request),
            connection,
            caller: Caller::of(request),
            seat: Seat::new(filter.clone(), form, following.place()),
            filter,
            form,
            following,
            phase: match (present, past) {
                (Some(present), _) => Phase::Present(present),
                (None, Some((past, _charge))) => Phase::Past { past, _charge },
                (None, None) => Phase::Behind { ready_at: None },
            },
            lacks_values: !state.store.shares_values(),
            unread: Unread::default(),
            long: None,
            reserved: (Charge::default(), 0),
            log_charge: (Charge::default(), 0),
            given: None,
            // At once: a client whose connection ends before anything was changed can go on as well.
            bookmark_at: Instant::now(),
            _watching: watching,
            state: state.clone(),
        }
    }

    /// A body that ends with a place to go on at when the process is told to stop. Where it cannot be given what
    /// there is, it breaks off without its end.
    pub(super) fn into_body(self) -> BodyStream<impl Stream<Item = Result<Bytes, Broken>>> {
        BodyStream::new(stream::unfold(self, |mut watcher| async move {
            let piece = watcher.next().await.transpose()?;
            if let Err(Broken(why)) = &piece {
                log::warn!("a watch ended before all was given: {why}");
                watcher.end();
            }
            Some((piece, watcher))
        }))
    }

    /// The next piece; at the end of the process the last one, unless an event is given in part.
    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        let lifecycle = self.state.lifecycle.clone();
        let may_end = self.long.is_none() && !matches!(self.phase, Phase::Over);
        let next = tokio::select! {
            biased;
            () = lifecycle.reached(Stage::Draining), if may_end => None,
            next = self.next_piece() => Some(next?),
        };
        let piece = match next {
            Some(piece) => piece,
            None => self.last_words(),
        };
        Ok(piece.map(|piece| {
            self.given = piece.place.or(self.given);
            piece.text
        }))
    }

    async fn next_piece(&mut self) -> Result<Option<Piece>, Broken> {
        loop {
            let is_within_event = self.is_within_event();
            if !is_within_event && !self.caller.may_go_on(&self.state) {
                // Their token was taken out, or is another one now.
                self.end();
            }
            let piece = match self.phase {
                _ if self.long.is_some() => self.next_of_long(),
                _ if !self.unread.is_empty() => self.give_unread().await?,
                Phase::Present(_) => self.go_through_present().await?,
                Phase::Past { .. } => self.go_through_past().await?,
                Phase::Behind { .. } => self.catch_up().await,
                Phase::Live => self.wait().await,
                Phase::Over => return Ok(None),
            };
            if let Some(piece) = piece {
                self.reserve_sending(piece.text.len()).await;
                if !is_within_event && !self.caller.may_go_on(&self.state) {
                    // That was while it waited for what happens.
                    self.end();
                    return Ok(None);
                }
                return Ok(Some(piece));
            }
        }
    }

    /// Whether some of an event was given, and the rest of it was not.
    fn is_within_event(&self) -> bool {
        let long = self.long.as_ref();
        long.is_some_and(Long::is_begun)
    }

    /// Goes on with what was changed before.
    async fn go_through_past(&mut self) -> Result<Option<Piece>, Broken> {
        let Phase::Past { past, .. } = &mut self.phase else {
            return Ok(None);
        };
        let changes = past.next().await;
        let changes = match changes {
            Ok(Some(changes)) => changes,
            Ok(None) => {
                self.phase = Phase::Behind { ready_at: None };
                return Ok(None);
            }
            Err(PastError::Gone) => return Ok(self.cut_off()),
            Err(PastError::Failed(error)) => return Err(Broken(error.to_string())),
        };
        let place = past.place();
        for happened in changes {
            if self.filter.matches(happened.key.as_bytes()) {
                self.unread.add(happened, Some(place));
            }
        }
        let is_quiet = self.unread.is_empty() && self.is_bookmark_due();
        Ok(is_quiet.then(|| self.bookmark(place)).flatten())
    }

    /// Takes what the hub tells, or waits until it tells something and takes nothing: who it is for may have lost their
    /// token meanwhile, which is looked at before it is taken.
    async fn wait(&mut self) -> Option<Piece> {
        let told = self.hub.take(&self.seat, PIECE_BYTES);
        if self.reads_values() && !told.is_empty() {
            for Told {
                happened, place, ..
            } in told
            {
                if let Some(happened) = happened {
                    self.unread.add(*happened, Some(place));
                }
            }
            return None;
        }
        if !told.is_empty() {
            self.state.watchers.told(told.len() as u64);
            return joined(&told);
        }
        if !self.seat.is_live() {
            let place = self.seat.place();
            self.hub.dismiss(&self.seat);
            self.following.go_to(place);
            self.phase = Phase::Behind { ready_at: None };
            return None;
        }
        if self.is_bookmark_due() {
            // The same place, as other servers know it now.
            let place = self.following.renewed(self.hub.told(&self.seat));
            return self.bookmark(place);
        }
        let is_far = self.bookmark_at > Instant::now() + BOOKMARKS_TO_ONE_SIDE;
        tokio::select! {
            () = self.seat.changed.notified() => {}
            () = sleep_until(self.bookmark_at) => {}
            () = poll_fn(|_| self.poll_left()), if is_far => self.bookmark_at = Instant::now(),
        }
        None
    }

    fn is_bookmark_due(&self) -> bool {
        // Before it is ready a client could not go on at any place.
        let is_ready = !matches!(self.phase, Phase::Behind { ready_at: Some(_) });
        is_ready && Instant::now() >= self.bookmark_at
    }

    /// A place at which the client can go on, unless it lacks something of what there was.
    fn place_behind(&self, place: Place) -> Option<Place> {
        let is_ready = !matches!(self.phase, Phase::Behind { ready_at: Some(_) });
        is_ready.then_some(place)
    }

    /// Whether the client has ended its side. The task of the connection is woken when that is read, and polls this.
    fn poll_left(&self) -> Poll<()> {
        let connection = self.connection.as_ref();
        match connection.is_some_and(|connection| connection.has_client_left()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn bookmark(&mut self, place: Place) -> Option<Piece> {
        let pause = match self.poll_left() {
            Poll::Ready(()) => BOOKMARKS_TO_ONE_SIDE,
            Poll::Pending => BOOKMARKS,
        };
        self.bookmark_at = Instant::now() + pause;
        let mut text = Vec::new();
        self.form.write_mark(Mark::Bookmark, place, &mut text);
        piece(text, Some(place))
    }

    /// Gives no more, also of what was found and not given. Some of that may be lost where it was being read: what is
    /// behind it must not be given either.
    fn end(&mut self) {
        self.phase = Phase::Over;
        self.long = None;
        self.unread = Unread::default();
    }

    /// Tells where to go on, and no more. Not where that is nowhere: before all that there is was given.
    fn last_words(&mut self) -> Option<Piece> {
        self.end();
        self.bookmark(self.given?)
    }

    /// Takes from the budget what a connection takes while it sends, where it does for longer than a moment.
    async fn reserve_sending(&mut self, bytes: usize) {
        let Some(connection) = self.connection.clone() else {
            return;
        };
        let is_little = bytes <= UNCOUNTED_BYTES && !connection.is_blocked();
        if is_little || connection.is_charged() || self.has_room_to_send() {
            return;
        }
        let charge = self.take(SENDING_BYTES).await;
        connection.sends(charge);
    }

    /// Whether what is held for what is being sent has room for a connection that sends too: nobody holds some of the
    /// budget and waits for more, as long as it takes.
    fn has_room_to_send(&self) -> bool {
        match self.phase {
            Phase::Present(_) | Phase::Past { .. } => true,
            Phase::Behind { .. } | Phase::Live | Phase::Over => {
                self.long.is_some() || self.unread.holds_values()
            }
        }
    }

    /// Takes so many bytes from the budget, however long that takes. What was read ahead is given back meanwhile, so
    /// that those who wait do not wait for each other.
    async fn take(&mut self, bytes: usize) -> Charge {
        loop {
            match self.state.buffers.take(Purpose::Large, bytes).await {
                Ok(charge) => return charge,
                Err(_) => {
                    self.following.forget_log();
                    self.log_charge = (Charge::default(), 0);
                    self.reserved = (Charge::default(), 0);
                }
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hub.dismiss(&self.seat);
    }
}

fn piece(text: Vec<u8>, place: Option<Place>) -> Option<Piece> {
    let text = Bytes::from(text);
    (!text.is_empty()).then_some(Piece { text, place })
}

/// What was told as one piece: each event by itself would be a chunk of its own.
fn joined(told: &[Told]) -> Option<Piece> {
    let place = Some(told.last()?.place);
    if let [Told { text, .. }] = told {
        let text = text.clone();
        return Some(Piece { text, place });
    }
    let mut text = Vec::with_capacity(told.iter().map(|told| told.text.len()).sum());
    for told in told {
        text.extend_from_slice(&told.text);
    }
    piece(text, place)
}
