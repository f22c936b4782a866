//! What clients' bytes may take that are in flight: bodies on their way to the store, and answers on
//! their way to a client.
//!
//! Each is bounded by itself, but many together would take all memory, and whoever runs out of memory
//! loses every key. So there is one budget for the process, from which whatever holds a client's
//! bytes takes before and gives back after. It is divided, so that nobody can take what others
//! need: an eighth is for small requests, three eighths for bulk bodies, half for everything else.

use super::problem::{Code, Problem};
use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use pin_project_lite::pin_project;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How much of an answer is handed over at a time, in bytes: the framework copies as much again.
pub(super) const PIECE_BYTES: usize = 32 * 1024;

/// What is counted, in bytes.
const UNIT_BYTES: usize = 1024;

/// What takes no more is small.
pub(super) const SMALL_BYTES: usize = 64 * 1024;

/// A stored body up to so many bytes is not counted while it is sent: it is copied at once, and what
/// is being sent is counted anyway.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// How many values of unknown size may be held for a moment without room.
const TURNS: usize = 4;

/// The budget. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Buffers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes_max: usize,
    patience: Duration,
    small: Pool,
    bulk: Pool,
    other: Pool,
    turns: Arc<Semaphore>,
    /// The stored bodies that are being sent, by where they are and how long: one that many clients
    /// read is held once.
    shared: Mutex<HashMap<(usize, usize), Weak<Charge>>>,
}

#[derive(Debug)]
struct Pool {
    free: Arc<Semaphore>,
    units: usize,
}

/// For what bytes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A bulk body.
    Bulk,
    /// A part of something large, however small itself.
    Large,
    /// Anything else: where it is small, it may have what is kept for small requests.
    Other,
}

/// Bytes that were taken; given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Charge(Vec<OwnedSemaphorePermit>);

impl Charge {
    /// How many bytes it holds.
    fn units(&self) -> usize {
        self.0.iter().map(OwnedSemaphorePermit::num_permits).sum()
    }

    /// Gives back what is held over so many bytes.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let mut excess = self.units().saturating_sub(bytes.div_ceil(UNIT_BYTES));
        while excess > 0
            && let Some(last) = self.0.last_mut()
        {
            let some = excess.min(last.num_permits());
            drop(last.split(some));
            excess -= some;
            if last.num_permits() == 0 {
                self.0.pop();
            }
        }
    }
}

impl Pool {
    fn of(bytes: usize) -> Self {
        let units = (bytes / UNIT_BYTES).clamp(1, u32::MAX as usize / 2);
        Self {
            free: Arc::new(Semaphore::new(units)),
            units,
        }
    }

    fn held(&self) -> usize {
        (self.units - self.free.available_permits()) * UNIT_BYTES
    }
}

impl Buffers {
    /// A budget of so many bytes, for which a request waits no longer than `patience`.
    pub fn new(bytes_max: usize, patience: Duration) -> Self {
        let eighth = bytes_max / 8;
        Self(Arc::new(Inner {
            bytes_max,
            patience,
            small: Pool::of(eighth),
            bulk: Pool::of(3 * eighth),
            other: Pool::of(4 * eighth),
            turns: Arc::new(Semaphore::new(TURNS)),
            shared: Mutex::default(),
        }))
    }

    /// How many bytes are held.
    pub fn held(&self) -> usize {
        let Inner {
            small, bulk, other, ..
        } = &*self.0;
        small.held() + bulk.held() + other.held()
    }

    /// The bound on these.
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// Takes so many bytes, once there are so many.
    ///
    /// # Errors
    /// Where there are not within the patience.
    pub(super) async fn take(&self, purpose: Purpose, bytes: usize) -> Result<Charge, Problem> {
        let mut charge = Charge::default();
        self.grow(&mut charge, purpose, bytes).await?;
        Ok(charge)
    }

    /// Makes a charge hold at least so many bytes.
    ///
    /// # Errors
    /// Where there are not so many within the patience.
    pub(super) async fn grow(
        &self,
        charge: &mut Charge,
        purpose: Purpose,
        bytes: usize,
    ) -> Result<(), Problem> {
        let units = bytes.div_ceil(UNIT_BYTES).saturating_sub(charge.units());
        if units == 0 {
            return Ok(());
        }
        let pool = match purpose {
            Purpose::Bulk => &self.0.bulk,
            Purpose::Large | Purpose::Other => &self.0.other,
        };
        // A single request is let in whatever the budget: its own bound holds.
        let number = permits(units.min(pool.units.saturating_sub(charge.units()).max(1)));
        let permit = match pool.free.clone().try_acquire_many_owned(number) {
            Ok(permit) => permit,
            Err(_) => {
                let is_small = bytes <= SMALL_BYTES && purpose == Purpose::Other;
                let pool = if is_small { &self.0.small } else { pool };
                let number = number.min(permits(pool.units));
                let waited = pool.free.clone().acquire_many_owned(number);
                match timeout(self.0.patience, waited).await {
                    Ok(permit) => permit.expect("the semaphore is never closed"),
                    Err(_) => return Err(self.exhausted()),
                }
            }
        };
        match charge
            .0
            .iter_mut()
            .find(|held| Arc::ptr_eq(held.semaphore(), permit.semaphore()))
        {
            Some(held) => held.merge(permit),
            None => charge.0.push(permit),
        }
        Ok(())
    }

    /// A turn to hold something of unknown size for a moment though there is no room: few have one at
    /// once.
    ///
    /// # Errors
    /// Where there is none within the patience.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        match timeout(self.0.patience, self.0.turns.clone().acquire_owned()).await {
            Ok(turn) => Ok(turn.expect("the semaphore is never closed")),
            Err(_) => Err(self.exhausted()),
        }
    }

    /// Takes so many bytes if there are so many now.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Charge> {
        let number = permits(bytes.div_ceil(UNIT_BYTES));
        let permit = self.0.other.free.clone().try_acquire_many_owned(number);
        Some(Charge(vec![permit.ok()?]))
    }

    /// Takes what a stored body takes that is being sent, unless it is sent to somebody already: it
    /// stays in memory until the last of them has it, whatever becomes of its key.
    ///
    /// # Errors
    /// As of [`take`](Self::take).
    pub(super) async fn share(&self, body: &Bytes) -> Result<Option<Arc<Charge>>, Problem> {
        if body.len() < SHARED_BYTES_MIN {
            return Ok(None);
        }
        let place = (body.as_ptr() as usize, body.len());
        let held = || {
            let shared = self.0.shared.lock();
            let shared = shared.unwrap_or_else(PoisonError::into_inner);
            shared.get(&place).and_then(Weak::upgrade)
        };
        if let Some(held) = held() {
            return Ok(Some(held));
        }
        let charge = Arc::new(self.take(Purpose::Other, body.len()).await?);
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        // As many are held as there are readers, so that the list stays as short as theirs.
        if shared.len() == shared.capacity() {
            shared.retain(|_, charge| charge.strong_count() > 0);
        }
        shared.insert(place, Arc::downgrade(&charge));
        Ok(Some(charge))
    }

    fn exhausted(&self) -> Problem {
        let detail = format!(
            "bodies and answers in flight take all of the {} bytes that there are for them (setting \
             buffers_bytes_max), and did for {} ms; nothing was done, try again after a pause, or \
             send and ask for less at once",
            self.0.bytes_max,
            self.0.patience.as_millis()
        );
        Problem::new(Code::Overloaded, detail)
    }
}

pin_project! {
    /// A body of an answer, and what it takes of the budget until it is handed over.
    pub(super) struct Held<B, C> {
        #[pin]
        body: B,
        _charge: C,
    }
}

impl<B, C> Held<B, C> {
    pub(super) fn new(body: B, charge: C) -> Self {
        Self {
            body,
            _charge: charge,
        }
    }
}

impl<B: MessageBody, C> MessageBody for Held<B, C> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.project().body.poll_next(context)
    }
}

fn permits(units: usize) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// What the framework reads ahead of a body that is being read, in bytes: 128 KiB as they come, and
/// 32 KiB taken apart.
pub(super) const READ_AHEAD_BYTES: usize = 160 * 1024;

/// What a connection takes while it sends an answer: a piece that is handed over, and the buffer that it
/// is copied to, in bytes.
pub(super) const SENDING_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn what_is_taken_is_given_back_and_small_requests_get_through() {
        let buffers = Buffers::new(1 << 20, Duration::from_millis(1));
        let half = 1 << 19;
        let mut large = buffers.take(Purpose::Other, half).await.unwrap();
        assert_eq!(buffers.held(), half);
        assert!(buffers.take(Purpose::Other, half / 2).await.is_err());
        assert!(buffers.try_take(1).is_none());
        let small = buffers.take(Purpose::Other, 1000).await.unwrap();
        let bulk = buffers.take(Purpose::Bulk, 200_000).await.unwrap();
        large.shrink_to(half / 2);
        assert_eq!(buffers.held(), half / 2 + 1024 + 196 * 1024);
        buffers
            .grow(&mut large, Purpose::Other, half)
            .await
            .unwrap();
        drop((large, small, bulk));
        assert_eq!(buffers.held(), 0);
    }

    #[actix_web::test]
    async fn a_body_that_many_read_is_held_once() {
        let buffers = Buffers::new(1 << 20, Duration::from_millis(1));
        let body = Bytes::from(vec![0; 100 * 1024]);
        let mut held = Vec::new();
        for _ in 0..50 {
            held.push(buffers.share(&body.clone()).await.unwrap());
        }
        assert_eq!(buffers.held(), 100 * 1024);
        let others: Vec<Bytes> = (0..4).map(|_| vec![0; 100 * 1024].into()).collect();
        for body in &others {
            held.push(buffers.share(body).await.unwrap());
        }
        assert!(buffers.share(&vec![0; 100 * 1024].into()).await.is_err());
        drop(held);
        assert_eq!(buffers.held(), 0);
    }
}
