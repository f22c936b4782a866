//! The turn of an actor: what clients ask of it, in the order in which they did.
//!
//! A turn is what an actor does in one go: it empties its mailbox, then polls its futures. A message
//! that comes only joins the queue, with whom to answer and its place among the messages in flight; the
//! end of the turn works the queue off. So a run of reads is looked up together, whose waits for memory
//! overlap, and so is a run of changes; and all happens in the order in which it was asked for, since
//! there is only one queue.
//!
//! ```text
//! mailbox → arriving → queue → run of gets, run of changes, many gets, bulk, search, delete by filter → answers
//!                        └→ held: changes without room, until there is some
//! ```
//!
//! This file knows messages, and nothing of what they are asked of.

use super::message::{Admitted, Change, ChangeMany, Erase, Get, GetMany, Group, Search, Taken};
use crate::model::Key;
use crate::trace::Tick;
use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Message};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use tokio::sync::OwnedSemaphorePermit;

/// What clients asked of an actor and have no answer to yet.
#[derive(Default)]
pub(super) struct Turn {
    /// What came since the queue was looked at last.
    arriving: Rc<RefCell<VecDeque<Asked>>>,
    queue: VecDeque<Asked>,
    /// When what is first in the queue is taken up.
    now: Tick,
    /// Changes that wait for room, each kind in its order.
    pub(super) held: VecDeque<Ask<Change>>,
    pub(super) held_bulk: VecDeque<Ask<ChangeMany>>,
    /// Those by a filter, which need no room and wait for the disk alone.
    pub(super) held_erase: VecDeque<Ask<Erase>>,
}

/// A message that waits for its turn.
pub(super) enum Asked {
    Get(Ask<Get>),
    GetMany(Ask<GetMany>),
    Change(Ask<Change>),
    ChangeMany(Ask<ChangeMany>),
    Search(Ask<Search>),
    Erase(Ask<Erase>),
    Group(Ask<Group>),
}

/// What is first in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// So many reads.
    Gets(usize),
    /// So many changes of a key each.
    Changes(usize),
    /// What may take long.
    Long,
}

/// A message and whom to answer.
pub(super) struct Ask<M: Message> {
    pub(super) message: M,
    pub(super) asker: Asker<M::Result>,
}

/// Who waits for an answer.
pub(super) struct Asker<T> {
    /// The place among the messages in flight.
    permit: Option<OwnedSemaphorePermit>,
    sender: Option<OneshotSender<Taken<T>>>,
    /// When the message was taken up.
    taken: Tick,
}

/// What the handler of a message returns: the message joins the queue once it is known whom to answer.
pub(super) struct Joining<M> {
    arriving: Rc<RefCell<VecDeque<Asked>>>,
    message: Admitted<M>,
}

impl Turn {
    /// Has a message join the queue.
    pub(super) fn join<M>(&self, message: Admitted<M>) -> Joining<M> {
        Joining {
            arriving: Rc::clone(&self.arriving),
            message,
        }
    }

    /// How many messages came since the queue was looked at last.
    pub(super) fn arrived(&self) -> usize {
        self.arriving.borrow().len()
    }

    /// What is first in the queue, those counted that came meanwhile; runs of `most` at the most.
    pub(super) fn first(&mut self, most: usize) -> Option<First> {
        if self.queue.is_empty() {
            // The memory of both is used again.
            std::mem::swap(&mut *self.arriving.borrow_mut(), &mut self.queue);
            if !self.queue.is_empty() {
                self.now = Tick::now();
            }
        }
        let run = |is_same: fn(&Asked) -> bool| {
            let front = self.queue.iter().take(most);
            front.take_while(|asked| is_same(asked)).count()
        };
        let first = match self.queue.front()? {
            Asked::Get(_) => First::Gets(run(|asked| matches!(asked, Asked::Get(_)))),
            Asked::Change(_) => First::Changes(run(|asked| matches!(asked, Asked::Change(_)))),
            Asked::GetMany(_)
            | Asked::ChangeMany(_)
            | Asked::Search(_)
            | Asked::Erase(_)
            | Asked::Group(_) => First::Long,
        };
        if first == First::Long {
            // What was before it may have taken long too.
            self.now = Tick::now();
        }
        Some(first)
    }

    /// The keys of the messages at the front that name one.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.queue.iter().map_while(|asked| match asked {
            Asked::Get(ask) => Some(&ask.message.key),
            Asked::Change(ask) => Some(&ask.message.mutation.key),
            Asked::GetMany(_)
            | Asked::ChangeMany(_)
            | Asked::Search(_)
            | Asked::Erase(_)
            | Asked::Group(_) => None,
        })
    }

    /// Takes the first message out of the queue.
    pub(super) fn take(&mut self) -> Option<Asked> {
        let mut asked = self.queue.pop_front()?;
        *asked.taken() = self.now;
        Some(asked)
    }

    /// As [`take`](Self::take), where it is a read.
    pub(super) fn take_get(&mut self) -> Option<Ask<Get>> {
        match self.queue.pop_front()? {
            Asked::Get(mut ask) => {
                ask.asker.taken = self.now;
                Some(ask)
            }
            other @ (Asked::GetMany(_)
            | Asked::Change(_)
            | Asked::ChangeMany(_)
            | Asked::Search(_)
            | Asked::Erase(_)
            | Asked::Group(_)) => {
                self.queue.push_front(other);
                None
            }
        }
    }

    /// Lets those changes go that nobody waits for, and with them their places among the messages in
    /// flight.
    pub(super) fn drop_abandoned(&mut self) {
        self.held.retain(|ask| !ask.asker.is_abandoned());
        self.held_bulk.retain(|ask| !ask.asker.is_abandoned());
        self.held_erase.retain(|ask| !ask.asker.is_abandoned());
    }
}

impl Asked {
    fn taken(&mut self) -> &mut Tick {
        match self {
            Self::Get(ask) => &mut ask.asker.taken,
            Self::GetMany(ask) => &mut ask.asker.taken,
            Self::Change(ask) => &mut ask.asker.taken,
            Self::ChangeMany(ask) => &mut ask.asker.taken,
            Self::Search(ask) => &mut ask.asker.taken,
            Self::Erase(ask) => &mut ask.asker.taken,
            Self::Group(ask) => &mut ask.asker.taken,
        }
    }
}

impl<T> Asker<T> {
    /// Whether nobody waits for the answer any more: who gave up is told nothing, and costs nothing.
    pub(super) fn is_abandoned(&self) -> bool {
        self.sender.as_ref().is_none_or(OneshotSender::is_closed)
    }

    /// Gives the place among the messages in flight back, and then the answer.
    pub(super) fn answer(self, answer: T) {
        drop(self.permit);
        if let Some(sender) = self.sender {
            let at = self.taken;
            // Whoever asked may have gone away.
            let _ = sender.send(Taken { answer, at });
        }
    }
}

impl<A, M> MessageResponse<A, Admitted<M>> for Joining<M>
where
    A: Actor,
    M: Message,
    Asked: From<Ask<M>>,
{
    fn handle(self, _: &mut A::Context, sender: Option<OneshotSender<Taken<M::Result>>>) {
        let Self {
            arriving,
            message: Admitted { message, permit },
        } = self;
        let asker = Asker {
            permit,
            sender,
            taken: Tick::default(),
        };
        let asked = Ask { message, asker }.into();
        arriving.borrow_mut().push_back(asked);
    }
}

impl From<Ask<Get>> for Asked {
    fn from(ask: Ask<Get>) -> Self {
        Self::Get(ask)
    }
}

impl From<Ask<GetMany>> for Asked {
    fn from(ask: Ask<GetMany>) -> Self {
        Self::GetMany(ask)
    }
}

impl From<Ask<Change>> for Asked {
    fn from(ask: Ask<Change>) -> Self {
        Self::Change(ask)
    }
}

impl From<Ask<ChangeMany>> for Asked {
    fn from(ask: Ask<ChangeMany>) -> Self {
        Self::ChangeMany(ask)
    }
}

impl From<Ask<Search>> for Asked {
    fn from(ask: Ask<Search>) -> Self {
        Self::Search(ask)
    }
}

impl From<Ask<Erase>> for Asked {
    fn from(ask: Ask<Erase>) -> Self {
        Self::Erase(ask)
    }
}

impl From<Ask<Group>> for Asked {
    fn from(ask: Ask<Group>) -> Self {
        Self::Group(ask)
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queued = self.arrived() + self.queue.len();
        let held = self.held.len() + self.held_bulk.len() + self.held_erase.len();
        write!(formatter, "Turn({queued} queued, {held} held)")
    }
}
