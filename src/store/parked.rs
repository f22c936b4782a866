//! Writes that are answered later, once there is room for them.

use super::StoreError;
use super::shard::ShardActor;
use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Message};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// A queue of writes that wait.
#[derive(Default)]
pub(super) struct ParkedWrites(VecDeque<Parked>);

/// A write that waits.
struct Parked {
    /// The room that it waits for, in bytes.
    bytes: usize,
    write: Box<dyn ParkedWrite>,
}

/// What is made of it.
trait ParkedWrite {
    /// Whether nobody waits for its answer any more.
    fn is_abandoned(&self) -> bool;

    /// Makes it and answers it.
    fn make(self: Box<Self>, shard: &mut ShardActor);
}

/// What a handler of a write returns.
pub(super) enum Answer<T> {
    Now(Result<T, StoreError>),
    /// The write is parked: here goes whom to answer.
    Later(Asker<T>),
}

/// Whom to answer, once that is known: a handler returns before it is.
pub(super) struct Asker<T>(Rc<RefCell<Option<Sender<T>>>>);

type Sender<T> = OneshotSender<Result<T, StoreError>>;

struct Waiting<T, F> {
    asker: Asker<T>,
    write: F,
}

impl ParkedWrites {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The room that the next write waits for, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.front().map_or(0, |parked| parked.bytes)
    }

    /// Parks a write that needs so many bytes. It is made only if its sender still waits for it then: who gave up knows that
    /// it was not made.
    pub(super) fn park<T: 'static>(
        &mut self,
        bytes: usize,
        write: impl FnOnce(&mut ShardActor) -> Result<T, StoreError> + 'static,
    ) -> Answer<T> {
        let asker = Rc::default();
        let write = Box::new(Waiting {
            asker: Asker(Rc::clone(&asker)),
            write,
        });
        self.0.push_back(Parked { bytes, write });
        Answer::Later(Asker(asker))
    }

    /// Lets those go that nobody waits for, and with them their places among the messages in
    /// flight.
    pub(super) fn drop_abandoned(&mut self) {
        self.0.retain(|parked| !parked.write.is_abandoned());
    }

    /// The next write, to be made now.
    pub(super) fn next(&mut self) -> Option<impl FnOnce(&mut ShardActor) + use<>> {
        let parked = self.0.pop_front()?;
        Some(move |shard: &mut ShardActor| parked.write.make(shard))
    }
}

impl<T, F> ParkedWrite for Waiting<T, F>
where
    F: FnOnce(&mut ShardActor) -> Result<T, StoreError>,
{
    fn is_abandoned(&self) -> bool {
        let asker = self.asker.0.borrow();
        asker.as_ref().is_none_or(OneshotSender::is_closed)
    }

    fn make(self: Box<Self>, shard: &mut ShardActor) {
        if self.is_abandoned() {
            return;
        }
        let result = shard.guard(self.write);
        if let Some(asker) = self.asker.0.take() {
            // Whoever asked may go away while the write is made.
            let _ = asker.send(result);
        }
    }
}

impl<M, T> MessageResponse<ShardActor, M> for Answer<T>
where
    M: Message<Result = Result<T, StoreError>>,
{
    fn handle(
        self,
        _: &mut <ShardActor as Actor>::Context,
        asker: Option<OneshotSender<M::Result>>,
    ) {
        match self {
            Self::Now(result) => {
                if let Some(asker) = asker {
                    // As above.
                    let _ = asker.send(result);
                }
            }
            Self::Later(place) => *place.0.borrow_mut() = asker,
        }
    }
}

impl std::fmt::Debug for ParkedWrites {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ParkedWrites({})", self.0.len())
    }
}
