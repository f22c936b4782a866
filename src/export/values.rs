//! The values of a page of keys: fetched by a few threads, given out in the order of the keys, in
//! bounded memory however slowly they are taken.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// How many requests are under way at a time.
pub const THREADS: usize = 8;

/// How many lines, and how many bytes of them, may wait for those before them or for the output.
/// Over it come only those being fetched, a line for each thread.
const AHEAD_LINES: usize = 256;
const AHEAD_BYTES: usize = 8 * 1024 * 1024;

/// The line of a key; `None` where the key is gone.
pub type Line = Option<Vec<u8>>;

/// How far the lines of a page are.
struct Window<E> {
    /// Keys that threads have taken.
    taken: usize,
    /// Keys whose lines were given out.
    given: usize,
    /// Bytes of the lines that wait.
    bytes: usize,
    lines: Vec<Option<Result<Line, E>>>,
    is_over: bool,
}

/// Fetches the lines of all keys and gives each out, in their order.
///
/// # Errors
/// The first error in that order, of fetching or of giving out.
pub fn in_order<K: Sync, E: Send>(
    keys: &[K],
    fetch: impl Fn(&K) -> Result<Line, E> + Sync,
    mut give: impl FnMut(Line) -> Result<(), E>,
) -> Result<(), E> {
    let window = Mutex::new(Window {
        taken: 0,
        given: 0,
        bytes: 0,
        lines: keys.iter().map(|_| None).collect(),
        is_over: false,
    });
    // For the thread that gives lines out, and for those that fetch.
    let (arrived, room) = (Condvar::new(), Condvar::new());
    let lock = || window.lock().unwrap_or_else(PoisonError::into_inner);
    let take = || {
        let waits = |window: &mut Window<E>| {
            let ahead = window.taken - window.given;
            let is_full = ahead >= AHEAD_LINES || window.bytes >= AHEAD_BYTES;
            // The line that is to be given out next is always fetched.
            !window.is_over && window.taken < keys.len() && ahead > 0 && is_full
        };
        let mut window = room
            .wait_while(lock(), waits)
            .unwrap_or_else(PoisonError::into_inner);
        let at = window.taken;
        window.taken += 1;
        (!window.is_over && at < keys.len()).then_some(at)
    };
    thread::scope(|scope| {
        for _ in 0..THREADS.min(keys.len()) {
            scope.spawn(|| {
                while let Some(at) = take() {
                    let line = fetch(&keys[at]);
                    let mut window = lock();
                    if let Ok(Some(line)) = &line {
                        window.bytes += line.len();
                    }
                    window.lines[at] = Some(line);
                    if at == window.given {
                        arrived.notify_one();
                    }
                }
            });
        }
        let mut all = Ok(());
        for at in 0..keys.len() {
            let is_missing = |window: &mut Window<E>| window.lines[at].is_none();
            let line = arrived
                .wait_while(lock(), is_missing)
                .unwrap_or_else(PoisonError::into_inner)
                .lines[at]
                .take();
            let line = line.expect("it was waited for");
            let bytes = match &line {
                Ok(Some(line)) => line.len(),
                Ok(None) | Err(_) => 0,
            };
            all = line.and_then(&mut give);
            let mut window = lock();
            window.given += 1;
            window.bytes -= bytes;
            window.is_over = all.is_err();
            drop(window);
            room.notify_all();
            if all.is_err() {
                break;
            }
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn lines_come_in_order_and_few_wait() {
        let keys: Vec<usize> = (0..2000).collect();
        let (fetched, given) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut lines = Vec::new();
        let all: Result<(), ()> = in_order(
            &keys,
            |key| {
                let ahead = fetched.fetch_add(1, Ordering::SeqCst);
                let ahead = ahead.saturating_sub(given.load(Ordering::SeqCst));
                assert!(ahead <= AHEAD_LINES + THREADS, "{ahead}");
                Ok(Some(vec![u8::try_from(key % 251).unwrap()]))
            },
            |line| {
                lines.extend(line);
                given.fetch_add(1, Ordering::SeqCst);
                Ok(())
            },
        );
        all.unwrap();
        let expected = keys
            .iter()
            .map(|key| vec![u8::try_from(key % 251).unwrap()]);
        assert!(lines.into_iter().eq(expected));
    }

    #[test]
    fn lines_over_the_bound_of_bytes_come_all_the_same() {
        let keys = [AHEAD_BYTES + 1; 20];
        let mut count = 0;
        let all: Result<(), ()> = in_order(
            &keys,
            |&bytes| Ok(Some(vec![0; bytes])),
            |_| {
                count += 1;
                Ok(())
            },
        );
        all.unwrap();
        assert_eq!(count, 20);
    }

    #[test]
    fn the_first_error_in_order_ends_it() {
        let keys: Vec<usize> = (0..1000).collect();
        let mut count = 0;
        let all = in_order(
            &keys,
            |&key| if key < 100 { Ok(None) } else { Err(key) },
            |_| {
                count += 1;
                Ok(())
            },
        );
        assert_eq!((all, count), (Err(100), 100));
    }
}
