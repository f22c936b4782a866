//! Tells those of a thread who watch and are not behind: each change is looked at once for all of them, and its
//! text is written once for all who are told in one form.
//!
//! One that does not take what it is told is not told more, and reads on from there by itself.

#[cfg(test)]
mod tests;

use super::super::State;
use super::events::{Contents, Form};
use super::prefixes::{Emptied, PrefixMap};
use crate::model::{ContentTypes, Filter};
use crate::store::{ChangeView, Following, Gone, Happened, Place, Seen};
use actix_web::rt;
use bytes::Bytes;
use std::cell::{Cell, LazyCell, RefCell};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::sleep;

/// What one may have been told and not taken yet, in bytes.
pub(super) const QUEUED_BYTES_MAX: usize = 32 * 1024;

/// The same of all of a thread.
const HUB_BYTES_MAX: usize = match cfg!(test) {
    true => 100 * 1024,
    false => 8 * 1024 * 1024,
};

/// For how long changes are looked at before others of the thread have their turn.
const TURN: Duration = Duration::from_micros(250);

/// For how long more changes are waited for after some: under load those who make them need not wake a thread for
/// each.
const GATHERING: Duration = Duration::from_millis(1);

/// Those of a thread that are told as changes happen.
pub(in crate::http) struct Hub {
    state: Arc<State>,
    /// By prefix, and by suffix from its end on.
    seats: RefCell<PrefixMap<PrefixMap<Vec<Rc<Seat>>>>>,
    /// Up to where all of them were told; `None` while nobody tells them.
    told: Cell<Option<Place>>,
    /// The last of them has left.
    emptied: Notify,
    /// What all have been told and not taken, in bytes.
    queued_bytes: Cell<usize>,
    /// Whether values are elsewhere.
    lacks_values: bool,
}

/// The place of one that watches among those that are told.
pub(super) struct Seat {
    filter: Arc<Filter>,
    form: Form,
    /// Whether it is told.
    is_live: Cell<bool>,
    /// Up to where it was told, or behind which it reads on by itself.
    place: Cell<Place>,
    queue: RefCell<VecDeque<Told>>,
    queued_bytes: Cell<usize>,
    /// There is something to take, or it is told no more.
    pub(super) changed: Notify,
}

/// An event that one was told.
pub(super) struct Told {
    pub(super) text: Bytes,
    /// The change itself, without text, where its value has to be read yet.
    pub(super) happened: Option<Box<Happened>>,
    /// What it takes, in bytes.
    bytes: usize,
    /// The place behind it.
    pub(super) place: Place,
}

impl Hub {
    /// One that tells nobody yet.
    pub(in crate::http) fn new(state: Arc<State>) -> Rc<Self> {
        Rc::new(Self {
            lacks_values: !state.store.shares_values(),
            state,
            seats: RefCell::default(),
            told: Cell::new(None),
            emptied: Notify::new(),
            queued_bytes: Cell::new(0),
        })
    }

    /// Tells one from the place on that it has come to; not where others are ahead of it.
    pub(super) fn admit(self: &Rc<Self>, seat: &Rc<Seat>, following: &Following) -> Admitted {
        let place = following.place();
        match self.told.get() {
            Some(told) if told > place => return Admitted::No,
            Some(_) => {}
            None => {
                self.told.set(Some(place));
                rt::spawn(self.clone().run(following.fork()));
            }
        }
        seat.place.set(place);
        seat.is_live.set(true);
        let Filter { prefix, suffix } = &*seat.filter;
        let mut seats = self.seats.borrow_mut();
        let by_suffix = seats.entry(prefix);
        by_suffix.entry(&reversed(suffix)).push(seat.clone());
        Admitted::Yes
    }

    /// Tells one no more, and forgets what it has not taken.
    pub(super) fn dismiss(&self, seat: &Rc<Seat>) {
        seat.is_live.set(false);
        seat.queue.take();
        let bytes = seat.queued_bytes.take();
        self.queued_bytes.set(self.queued_bytes.get() - bytes);
        let Filter { prefix, suffix } = &*seat.filter;
        let mut seats = self.seats.borrow_mut();
        seats.change(prefix, |by_suffix| {
            by_suffix.change(&reversed(suffix), |seats| {
                seats.retain(|other| !Rc::ptr_eq(other, seat));
                Emptied::when(seats.is_empty())
            });
            Emptied::when(by_suffix.is_empty())
        });
        if seats.is_empty() {
            self.emptied.notify_one();
        }
    }

    /// What one was told that it has not taken, as much as fits some bytes, but one event at least.
    pub(super) fn take(&self, seat: &Seat, bytes_max: usize) -> Vec<Told> {
        let mut queue = seat.queue.borrow_mut();
        let mut bytes = 0;
        let mut taken = Vec::new();
        while let Some(told) = queue.front()
            && (taken.is_empty() || bytes + told.bytes <= bytes_max)
        {
            bytes += told.bytes;
            taken.extend(queue.pop_front());
        }
        seat.queued_bytes.set(seat.queued_bytes.get() - bytes);
        self.queued_bytes.set(self.queued_bytes.get() - bytes);
        taken
    }

    /// Up to where one was told that is live: what comes behind, it has not been told of.
    pub(super) fn told(&self, seat: &Seat) -> Place {
        let place = seat.place.get();
        self.told.get().map_or(place, |told| told.max(place))
    }

    /// Tells all until there is nobody, or it is behind itself.
    async fn run(self: Rc<Self>, mut following: Following) {
        while !self.seats.borrow().is_empty() {
            if self.tell_all(&mut following).await == Err(Gone) {
                break;
            }
            sleep(GATHERING).await;
            tokio::select! {
                () = following.arrived() => {}
                () = self.emptied.notified() => {}
            }
        }
        let seats = self.seats.take();
        for seat in seats.values().flat_map(PrefixMap::values).flatten() {
            seat.fall_behind(self.told(seat));
        }
        self.told.set(None);
    }

    /// Tells of all changes that there are.
    async fn tell_all(&self, following: &mut Following) -> Result<(), Gone> {
        let mut began = Instant::now();
        loop {
            let seen = following.look(|change| {
                // The rest comes again the next time.
                if began.elapsed() > TURN {
                    return ControlFlow::Break(());
                }
                self.tell(&change);
                ControlFlow::Continue(())
            });
            match seen {
                Seen::Some => self.told.set(Some(following.place())),
                Seen::Nothing => return Ok(()),
                Seen::Logged(_) | Seen::Gone => return Err(Gone),
            }
            if began.elapsed() > TURN {
                yield_now().await;
                began = Instant::now();
            }
        }
    }

    fn tell(&self, change: &ChangeView<'_>) {
        let seats = self.seats.borrow();
        let reversed_key = LazyCell::new(|| reversed(change.key()));
        let mut texts = Texts::default();
        for by_suffix in seats.matching(change.key()) {
            for seat in by_suffix.matching(&reversed_key).flatten() {
                self.tell_one(seat, change, &mut texts);
            }
        }
    }

    fn tell_one(&self, seat: &Seat, change: &ChangeView<'_>, texts: &mut Texts) {
        if !seat.is_live.get() || change.place <= seat.place.get() {
            return;
        }
        if seat.form.contents == Contents::Entries && is_long(change) {
            return seat.fall_behind(change.place.before());
        }
        let types = &self.state.content_types;
        let (text, happened) = match (self.lacks_values, seat.form.contents) {
            (true, Contents::Entries) => (Bytes::new(), Some(Box::new(change.read(types)))),
            (true, Contents::Tags) | (false, _) => (texts.get(seat.form, change, types), None),
        };
        let bytes = match &happened {
            None => text.len(),
            Some(_) => change.bytes() + size_of::<Happened>(),
        };
        let seat_bytes = seat.queued_bytes.get() + bytes;
        let hub_bytes = self.queued_bytes.get() + bytes;
        if seat_bytes > QUEUED_BYTES_MAX || hub_bytes > HUB_BYTES_MAX {
            return seat.fall_behind(change.place.before());
        }
        seat.queued_bytes.set(seat_bytes);
        self.queued_bytes.set(hub_bytes);
        seat.place.set(change.place);
        seat.queue.borrow_mut().push_back(Told {
            text,
            happened,
            bytes,
            place: change.place,
        });
        seat.changed.notify_one();
    }
}

/// Whether one is told from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    Yes,
    No,
}

impl Seat {
    /// One that is told nothing yet.
    pub(super) fn new(filter: Arc<Filter>, form: Form, place: Place) -> Rc<Self> {
        Rc::new(Self {
            filter,
            form,
            is_live: Cell::new(false),
            place: Cell::new(place),
            queue: RefCell::default(),
            queued_bytes: Cell::new(0),
            changed: Notify::new(),
        })
    }

    /// Whether it is told.
    pub(super) fn is_live(&self) -> bool {
        self.is_live.get()
    }

    /// Behind which place it reads on by itself, once it has taken what it was told.
    pub(super) fn place(&self) -> Place {
        self.place.get()
    }

    /// Is told no more of what is behind a place.
    fn fall_behind(&self, place: Place) {
        if self.is_live.replace(false) {
            self.place.set(place);
            self.changed.notify_one();
        }
    }
}

/// The texts of a change, each written once.
#[derive(Default)]
struct Texts {
    happened: Option<Happened>,
    texts: [Option<Bytes>; Form::COUNT],
}

impl Texts {
    fn get(&mut self, form: Form, change: &ChangeView<'_>, types: &ContentTypes) -> Bytes {
        let Self { happened, texts } = self;
        let text = texts[form.number()].get_or_insert_with(|| {
            let happened = happened.get_or_insert_with(|| match is_long(change) {
                // Nobody is told its value here.
                true => change.read_without_body(types),
                false => change.read(types),
            });
            let mut text = Vec::new();
            form.write(happened, Some(change.place), &mut text);
            text.into()
        });
        text.clone()
    }
}

/// Whether a change is more than is told with its value.
fn is_long(change: &ChangeView<'_>) -> bool {
    change.bytes() > QUEUED_BYTES_MAX
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}
