//! How far an import is, for whom it is shown to and for a signal that ends it.

use crate::client::Problem;
use crate::client::notice::say;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// So many lines whose condition did not hold are named to programs.
const UNMET_LINES_MAX: usize = 100;

/// So many of them are named to people.
const UNMET_LINES_SHOWN: usize = 10;

/// How far an import is. Clones are of the same one.
#[derive(Clone)]
pub struct Progress(Arc<Mutex<State>>);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A line of text, blank ones too.
    Line,
    /// A record of a CSV behind its header.
    Record,
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Line => "line",
            Self::Record => "record",
        })
    }
}

struct State {
    unit: Unit,
    begun: Instant,
    bar: ProgressBar,
    /// How many bytes of the input were read.
    read: Arc<AtomicU64>,
    /// What was passed over.
    skipped: u64,
    /// Lines that were passed over and those of the requests that were answered, and of the one that was not.
    lines: u64,
    sent: u64,
    created: u64,
    updated: u64,
    unmet: u64,
    /// The first lines whose condition did not hold, by their numbers in the input.
    unmet_lines: Vec<u64>,
    /// Whether it was said that the server asks to wait.
    has_waited: bool,
}

impl Progress {
    /// Nothing is done yet, and so many are passed over.
    pub fn new(unit: Unit, skipped: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            unit,
            begun: Instant::now(),
            bar: ProgressBar::hidden(),
            read: Arc::default(),
            skipped,
            lines: skipped,
            sent: 0,
            created: 0,
            updated: 0,
            unmet: 0,
            unmet_lines: Vec::new(),
            has_waited: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The input is open, and has so many bytes where that is known; how many of them were read is counted.
    pub fn begin(&self, bytes: Option<u64>, read: Arc<AtomicU64>) {
        let mut state = self.state();
        state.bar = bar(bytes);
        state.read = read;
    }

    /// So many lines are sent. Returns the number of the first.
    pub fn sends(&self, lines: u64) -> u64 {
        let mut state = self.state();
        state.sent = lines;
        state.next()
    }

    /// What was sent was applied.
    pub fn answered(&self, answer: &Problem) {
        let mut state = self.state();
        state.count(answer);
        state.lines += state.sent;
        state.sent = 0;
        state.bar.set_position(state.read.load(Ordering::Relaxed));
        let message = format!("{} keys", state.created + state.updated);
        state.bar.set_message(message);
    }

    /// Nothing of what was sent was taken.
    pub fn untaken(&self) {
        self.state().sent = 0;
    }

    /// It is sent again after a pause, as the server asks. That is said once.
    pub fn waits(&self, status: u16, detail: &str) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.has_waited, true) {
            state.bar.suspend(|| {
                say(format_args!(
                    "kvstore: the server asks to wait ({status}: {detail}); the import goes on by itself"
                ));
            });
        }
    }

    /// What was sent was refused, where it says how far it came.
    pub fn refused(&self, problem: &Problem) {
        self.state().count(problem);
    }

    /// All is done.
    pub fn finish(&self) {
        self.state().bar.finish();
    }

    /// What was done, at the end.
    pub fn summary(&self) -> String {
        let state = self.state();
        let passed_over = match state.skipped {
            0 => String::new(),
            skipped => format!(" behind {skipped} that were passed over"),
        };
        format!(
            "{} {}s{passed_over}: {} keys created, {} updated{}, in {:.1} s",
            state.lines - state.skipped,
            state.unit,
            state.created,
            state.updated,
            state.unmet(),
            state.begun.elapsed().as_secs_f64()
        )
    }

    /// The same for programs.
    pub fn as_json(&self) -> Value {
        let state = self.state();
        state.as_json(state.lines)
    }

    /// The same of an import that failed, with how many lines to pass over: all before the one that was refused, where one
    /// was, else all of which is known that they were applied.
    pub fn left_as_json(&self, refused: Option<u64>) -> Value {
        let state = self.state();
        let passed = refused.map_or(state.lines, |line| line.saturating_sub(1));
        let mut left = state.as_json(passed);
        left["skip_lines"] = passed.into();
        left
    }

    /// What there is of an import whose last request did not reach the server.
    pub fn left_unsent(&self) -> String {
        let state = self.state();
        state.applied() + &state.go_on(state.next())
    }

    /// What there is of one that ended before a line that is none.
    pub fn left_at_a_bad_line(&self) -> String {
        let state = self.state();
        let next = match state.lines {
            0 => String::new(),
            lines => format!("; mend it and go on from it (--skip-lines {lines})"),
        };
        state.applied() + &next
    }

    /// What there is of one whose line was refused.
    pub fn left_refused(&self, line: u64, status: u16) -> String {
        let state = self.state();
        // A line of a wrong shape is found before any after it is looked at. Otherwise each shard
        // of a server stops at a line of its own.
        let unit = state.unit;
        let later = match status {
            400 | 403 | 413 | 422 => String::new(),
            _ => format!(", and {unit}s after it may be applied too"),
        };
        let before = match (line, later.as_str()) {
            (1, "") => return state.applied(),
            (1, _) => format!("; {unit}s after it may be"),
            (line, later) => format!("; all before {unit} {line} was applied and stays{later}"),
        };
        let repeating = format!(
            "; repeating from {unit} {line} on is right{}",
            skip_lines(line)
        );
        state.applied() + &before + &repeating
    }

    /// What there is of one that ended for another reason.
    pub fn left(&self) -> String {
        let state = self.state();
        let unknown = match state.sent {
            0 => String::new(),
            sent => format!(
                "; whether {}s {} to {} were is unknown",
                state.unit,
                state.next(),
                state.lines + sent
            ),
        };
        state.applied() + &unknown + &state.go_on(state.next())
    }

    /// Says how far it came.
    pub fn interrupted(&self) {
        say(format_args!("kvstore: interrupted; {}", self.left()));
    }
}

impl State {
    /// Counts what an answer says of the request that was sent last.
    fn count(&mut self, answer: &Problem) {
        self.created += answer.created;
        self.updated += answer.updated;
        self.unmet += answer.unmet;
        let room = UNMET_LINES_MAX.saturating_sub(self.unmet_lines.len());
        let numbers = answer.unmet_lines.iter();
        let numbers = numbers.map(|line| self.lines.saturating_add(*line));
        self.unmet_lines.extend(numbers.take(room));
    }

    /// The number of the first line of which is not known that it was applied. As many may be passed over as there are
    /// numbers.
    fn next(&self) -> u64 {
        self.lines.saturating_add(1)
    }

    /// What was done, up to a line.
    fn as_json(&self, passed: u64) -> Value {
        json!({
            "lines": passed.saturating_sub(self.skipped),
            "created": self.created,
            "updated": self.updated,
            "unmet": self.unmet,
            "unmet_lines": self.unmet_lines,
        })
    }

    fn applied(&self) -> String {
        self.bar.abandon();
        format!(
            "{} {}s were applied ({} keys created, {} updated{})",
            self.created + self.updated + self.unmet,
            self.unit,
            self.created,
            self.updated,
            self.unmet()
        )
    }

    /// How many lines had a condition that did not hold, where one had, and the first of them.
    fn unmet(&self) -> String {
        if self.unmet == 0 {
            return String::new();
        }
        let shown = self.unmet_lines.iter().take(UNMET_LINES_SHOWN);
        let shown: Vec<String> = shown.map(u64::to_string).collect();
        let plural = if shown.len() == 1 { "" } else { "s" };
        let named = match (shown.len(), self.unmet.saturating_sub(shown.len() as u64)) {
            // By another server.
            (0, _) => String::new(),
            (_, 0) => format!(" ({}{plural} {})", self.unit, shown.join(", ")),
            (_, more) => format!(
                " ({}{plural} {} and {more} more)",
                self.unit,
                shown.join(", ")
            ),
        };
        format!(", {} whose condition did not hold{named}", self.unmet)
    }

    /// How to go on from a line, where that is not the first.
    fn go_on(&self, line: u64) -> String {
        if line == 1 {
            return String::new();
        }
        format!("; go on from {} {line}{}", self.unit, skip_lines(line))
    }
}

/// The option that begins an import with a line, where that is not the first.
fn skip_lines(line: u64) -> String {
    match line {
        1 => String::new(),
        line => format!(" (--skip-lines {})", line - 1),
    }
}

/// A bar where the size is known, else a counter.
fn bar(bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{wide_bar} {bytes}/{total_bytes} {msg} {eta}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {msg}"),
    };
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.expect("the templates are valid"))
}
