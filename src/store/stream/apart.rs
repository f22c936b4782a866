//! What those who follow the changes have done on other threads than those that serve: to read the log, which may wait
//! for the disk, and to look at what is long.

use super::Gone;
use rustix::io::Errno;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// So many of all who follow at a time, each with one thread and one open file at the most. The others wait in turn.
pub(super) const THREADS_MAX: usize = 8;

/// How long a descriptor is waited for where the process has as many as it may, and how often one is asked for.
const DESCRIPTOR_PATIENCE: Duration = Duration::from_secs(2);
const DESCRIPTOR_POLL: Duration = Duration::from_millis(10);

/// These threads, for all who follow one stream.
#[derive(Debug)]
pub(super) struct Apart(Arc<Semaphore>);

impl Default for Apart {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(THREADS_MAX)))
    }
}

impl Apart {
    /// Does something there.
    ///
    /// # Errors
    /// Where it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let permit = self.0.clone().acquire_owned().await;
        let permit = permit.expect("nobody closes the semaphore");
        let done = spawn_blocking(move || {
            // Until it is done, whether or not somebody still waits for it.
            let _permit = permit;
            run()
        });
        // A panic there was told of by its hook.
        done.await.map_err(|_| Gone)
    }

    /// Reads there by something, and gives that back. A failure of the disk is logged, and what was to be read counts
    /// as gone.
    ///
    /// # Errors
    /// As said.
    pub(super) async fn read<S: Send + 'static, T: Send + 'static>(
        &self,
        mut by: S,
        mut read: impl FnMut(&mut S) -> io::Result<T> + Send + 'static,
    ) -> Result<(S, T), Gone> {
        let done = self.run(move || {
            let found = with_descriptor(|| read(&mut by));
            (by, found)
        });
        let (by, found) = done.await?;
        let found = found.map_err(|error| {
            log::warn!("changes that somebody watches could not be read from the log: {error}");
            Gone
        })?;
        Ok((by, found))
    }
}

/// Reads again for a while where the process has as many descriptors as it may: connections end.
fn with_descriptor<T>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let begun = Instant::now();
    loop {
        let found = read();
        let errno = found.as_ref().err().and_then(Errno::from_io_error);
        let is_lacking = matches!(errno, Some(Errno::MFILE | Errno::NFILE));
        if !is_lacking || begun.elapsed() > DESCRIPTOR_PATIENCE {
            return found;
        }
        thread::sleep(DESCRIPTOR_POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use std::sync::{Condvar, Mutex};

    /// How long anything may take before a test fails.
    const DEADLINE: Duration = Duration::from_secs(30);

    /// How many are in some place, and have been at once.
    #[derive(Debug, Default)]
    struct Inside {
        now: usize,
        most: usize,
    }

    #[test]
    fn so_many_are_on_threads_at_a_time_and_all_get_their_turn() {
        let inside = Arc::new((Mutex::new(Inside::default()), Condvar::new()));
        let apart = Apart::default();
        let turns = (0..10 * THREADS_MAX).map(|number| {
            let inside = inside.clone();
            apart.run(move || {
                let (place, entered) = &*inside;
                let mut inside = place.lock().unwrap();
                inside.now += 1;
                inside.most = inside.most.max(inside.now);
                entered.notify_all();
                // Nobody leaves before as many have come as may.
                let is_waiting = |inside: &mut Inside| inside.most < THREADS_MAX;
                let waited = entered.wait_timeout_while(inside, DEADLINE, is_waiting);
                waited.unwrap().0.now -= 1;
                number
            })
        });
        let done = actix::System::new().block_on(join_all(turns));
        let done: Vec<usize> = done.into_iter().map(Result::unwrap).collect();
        assert_eq!(done, Vec::from_iter(0..10 * THREADS_MAX));
        assert_eq!(inside.0.lock().unwrap().most, THREADS_MAX);
    }

    #[test]
    fn who_has_left_gives_the_place_up_once_the_thread_is_done() {
        actix::System::new().block_on(async {
            let apart = Apart::default();
            let (sender, receiver) = std::sync::mpsc::channel::<()>();
            let mut left = Box::pin(apart.run(move || receiver.recv_timeout(DEADLINE)));
            // It has begun, and is not waited for any more.
            assert!((&mut left).now_or_never().is_none());
            drop(left);
            assert_eq!(apart.0.available_permits(), THREADS_MAX - 1);
            drop(sender);
            let all = apart.0.acquire_many(THREADS_MAX as u32);
            let all = tokio::time::timeout(DEADLINE, all).await;
            assert!(all.is_ok_and(|all| all.is_ok()));
        });
    }

    #[test]
    fn a_panic_and_a_failure_count_as_gone_and_free_the_place() {
        actix::System::new().block_on(async {
            let apart = Apart::default();
            for _ in 0..2 * THREADS_MAX {
                assert_eq!(
                    apart.run(|| panic!("as if by a defect")).await,
                    Err::<(), _>(Gone)
                );
                let failed = apart.read((), |()| Err::<(), _>(io::ErrorKind::Other.into()));
                assert_eq!(failed.await, Err(Gone));
            }
        });
    }

    #[test]
    fn a_descriptor_is_waited_for_and_nothing_else_is() {
        let mut tries = 0;
        let found = with_descriptor(|| {
            tries += 1;
            match tries {
                1 => Err(Errno::MFILE.into()),
                2 => Err(Errno::NFILE.into()),
                tries => Ok(tries),
            }
        });
        assert_eq!(found.unwrap(), 3);
        let mut tries = 0;
        let failed = with_descriptor(|| {
            tries += 1;
            Err::<(), _>(Errno::IO.into())
        });
        assert!(failed.is_err());
        assert_eq!(tries, 1);
    }
}
