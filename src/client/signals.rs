//! Being told to stop: a command says how far it came, and ends as a shell expects.

use std::thread;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// How a shell sees a process that a signal ended: 128 and the signal's number.
const EXIT_SIGINT: i32 = 130;
const EXIT_SIGTERM: i32 = 143;

/// At the first SIGINT or SIGTERM calls `tell`, on a thread of its own, and ends the process with
/// 130 or 143. So the command may be anywhere meanwhile, waiting for its input or for an answer.
pub fn when_interrupted(tell: impl FnOnce() + Send + 'static) {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
        return;
    };
    let entered = runtime.enter();
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    drop(entered);
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return;
    };
    thread::spawn(move || {
        let code = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => EXIT_SIGINT,
                _ = terminate.recv() => EXIT_SIGTERM,
            }
        });
        tell();
        std::process::exit(code);
    });
}
