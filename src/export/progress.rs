//! How far an export is, for whom it is shown to and for a signal that ends it.

use super::output::{Output, SharedPart};
use crate::client::notice::say;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How far an export is. Clones are of the same one.
#[derive(Clone)]
pub struct Progress(Arc<Mutex<State>>);

struct State {
    path: PathBuf,
    begun: Instant,
    bar: ProgressBar,
    total: Option<u64>,
    place: Place,
    /// Keys that were written.
    written: u64,
}

enum Place {
    /// Nothing was opened.
    None,
    Beside(SharedPart),
    Straight,
    Done,
}

impl Progress {
    /// Nothing is done yet.
    pub fn new(path: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(State {
            path,
            begun: Instant::now(),
            bar: ProgressBar::hidden(),
            total: None,
            place: Place::None,
            written: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file as it was given.
    pub fn path(&self) -> PathBuf {
        self.state().path.clone()
    }

    /// The output is open, and there are so many keys.
    pub fn begin(&self, total: Option<u64>, output: &Output) {
        let mut state = self.state();
        state.total = total;
        state.bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        state.place = match output {
            Output::Beside(part) => Place::Beside(part.clone()),
            Output::Straight(_) => Place::Straight,
        };
    }

    /// Writes whole lines and counts them.
    ///
    /// # Errors
    /// As writing has them.
    pub fn write(&self, output: &mut Output, lines: &[u8], written: u64) -> io::Result<()> {
        let mut state = match output {
            // A signal waits for the line's end.
            Output::Beside(_) => {
                let state = self.state();
                output.write_all(lines)?;
                state
            }
            // Who reads may take for ever, and a signal must not wait for that.
            Output::Straight(_) => {
                output.write_all(lines)?;
                self.state()
            }
        };
        state.written += written;
        state.bar.inc(written);
        Ok(())
    }

    /// Finishes the output. A signal comes before or after it.
    ///
    /// # Errors
    /// As the file system has them, and for which path.
    pub fn finish(&self, output: &mut Output) -> Result<(), (PathBuf, io::Error)> {
        let finished = |state: &mut State| {
            state.place = Place::Done;
            state.bar.finish();
        };
        match output {
            Output::Beside(_) => {
                let mut state = self.state();
                output.finish()?;
                finished(&mut state);
            }
            Output::Straight(_) => {
                output.finish()?;
                finished(&mut self.state());
            }
        }
        Ok(())
    }

    /// What was done, at the end.
    pub fn summary(&self) -> String {
        let state = self.state();
        let took = state.begun.elapsed().as_secs_f64();
        let fewer = match state.total {
            Some(total) if state.written < total => format!(" of the {total} that there were"),
            Some(_) | None => String::new(),
        };
        format!("{} keys{fewer} exported in {took:.1} s", state.written)
    }

    /// The same for programs.
    pub fn as_json(&self) -> Value {
        json!({"keys": self.state().written})
    }

    /// What there is of an export that ended early. A part without a line is removed.
    pub fn left(&self) -> String {
        Self::left_of(&self.state())
    }

    fn left_of(state: &State) -> String {
        state.bar.abandon();
        let path = state.path.display();
        let keys = match state.total {
            Some(total) => format!("{} of {total} keys were written", state.written),
            None => format!("{} keys were written", state.written),
        };
        match &state.place {
            Place::None => "nothing was written".into(),
            Place::Done => format!("{keys}, which is all"),
            Place::Straight => format!("{keys}; what was written is not all"),
            Place::Beside(part) if part.lock().is_in_place => {
                format!("{keys} to {path}, and may not be there any more if the machine fails")
            }
            Place::Beside(part) if state.written == 0 => {
                part.lock().remove();
                format!("{keys}; {path} is as it was")
            }
            Place::Beside(part) => {
                let mut part = part.lock();
                let ended = match part.end() {
                    Ok(()) => String::new(),
                    Err(error) => format!(" and cannot be ended ({error})"),
                };
                format!(
                    "{keys}; they are in {}, which is not all{ended}, and {path} is as it was",
                    part.path.display()
                )
            }
        }
    }

    /// Says how far it came. Nothing is written to a part from there on: the process is about to end.
    pub fn interrupted(&self) {
        let state = self.state();
        let left = Self::left_of(&state);
        say(format_args!("kvstore: interrupted; {left}"));
        std::mem::forget(state);
    }
}
