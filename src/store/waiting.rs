//! Reads of one turn of an actor, which are answered together at its end: what a read of a large
//! map takes is mostly waiting for memory, and the waits of several reads overlap.
//!
//! A turn is what the actor does in one go: it empties its mailbox, then polls its futures, of which
//! one answers the reads, unless there were enough of them before. Whatever changes the map, and every
//! search, answers those that wait first, so that all happens in the order in which it was asked for.

use super::StoreError;
use super::message::{Admitted, Get};
use super::shard::ShardActor;
use crate::model::{Key, Value};
use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, ActorFuture, Context};
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

/// The reads that wait for the end of the turn.
#[derive(Debug, Default)]
pub(super) struct WaitingGets(Rc<RefCell<Vec<WaitingGet>>>);

/// A read that waits.
#[derive(Debug)]
pub(super) struct WaitingGet {
    message: Admitted<Get>,
    asker: Option<Asker>,
}

/// What the handler of a read returns: the read joins the queue once it is known whom to answer.
#[derive(Debug)]
pub(super) struct Queued {
    queue: Rc<RefCell<Vec<WaitingGet>>>,
    message: Admitted<Get>,
}

/// The future that answers the reads at the end of each turn. It never ends.
#[derive(Debug)]
pub(super) struct AnswerGets;

type Answer = Result<Option<Value>, StoreError>;
type Asker = OneshotSender<Answer>;

impl WaitingGets {
    /// Has a read wait.
    pub(super) fn queue(&self, message: Admitted<Get>) -> Queued {
        Queued {
            queue: Rc::clone(&self.0),
            message,
        }
    }

    /// Puts the reads that wait in the place of `taken`, which is empty and whose memory is used
    /// again.
    pub(super) fn take(&self, taken: &mut Vec<WaitingGet>) {
        std::mem::swap(&mut *self.0.borrow_mut(), taken);
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

impl WaitingGet {
    pub(super) fn key(&self) -> &Key {
        &self.message.message.key
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.asker.as_ref().is_none_or(OneshotSender::is_closed)
    }

    /// Gives the read's place among the messages in flight back, and then the answer.
    pub(super) fn answer(self, answer: Answer) {
        let Self { message, asker } = self;
        drop(message);
        if let Some(asker) = asker {
            // Whoever asked may have gone away.
            let _ = asker.send(answer);
        }
    }
}

impl MessageResponse<ShardActor, Admitted<Get>> for Queued {
    fn handle(self, _: &mut <ShardActor as Actor>::Context, asker: Option<Asker>) {
        let Self { queue, message } = self;
        queue.borrow_mut().push(WaitingGet { message, asker });
    }
}

impl ActorFuture<ShardActor> for AnswerGets {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        shard: &mut ShardActor,
        _: &mut Context<ShardActor>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        shard.end_turn();
        Poll::Pending
    }
}
