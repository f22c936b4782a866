//! `POST /set` with `application/x-ndjson`: many upserts from one streamed body, in constant
//! memory.
//!
//! Lines are made in batches, and a batch begins only when the one before it was answered, so that
//! lines of one key apply in their order.

use super::State;
use super::body::{self, begin_bulk, next_chunk};
use super::buffers::{Charge, Purpose, READ_AHEAD_BYTES};
use super::door::Caller;
use super::problem::{Code, Problem, Progress};
use crate::entry::{self, Form};
use crate::model::Condition;
use crate::store::{Batch, BatchChanged};
use crate::trace;
use actix_web::dev::Payload;
use actix_web::{HttpRequest, HttpResponse};
use bytes::{Buf, BytesMut};
use memchr::memchr;
use serde_json::json;

/// So many lines whose condition did not hold are named.
const UNMET_LINES_MAX: usize = 100;

/// Changes are sent once their values take so many bytes.
const PENDING_BYTES_MAX: usize = 64 * 1024;

pub(super) async fn handle(
    request: &HttpRequest,
    payload: Payload,
    state: &State,
) -> Result<HttpResponse, Problem> {
    trace::is_lasting();
    let charge = begin_bulk(request, state).await?;
    let mut bulk = Bulk::new(state, Caller::of(request), charge);
    let taken = take_all(&mut bulk, payload, state).await;
    // The counts in either answer are of changes that were waited for once, here. Where that takes too long, of no
    // line is known that it is on disk.
    let settled = state.store.settled().await;
    settled.map_err(|error| bulk.fail(Problem::in_bulk(error), 1))?;
    taken?;
    let Progress {
        created,
        updated,
        unmet,
        ..
    } = bulk.progress;
    let mut answer = json!({"created": created, "updated": updated});
    if let Some(unmet) = unmet {
        answer["unmet"] = unmet.into();
        answer["unmet_lines"] = bulk.unmet_lines.into();
    }
    Ok(HttpResponse::Ok().json(answer))
}

/// Takes all lines of a body in.
async fn take_all(bulk: &mut Bulk<'_>, mut payload: Payload, state: &State) -> Result<(), Problem> {
    let mut buffer = BytesMut::new();
    loop {
        let chunk = match next_chunk(&mut payload, state.limits.body_timeout).await {
            Ok(chunk) => chunk,
            Err(problem) => return Err(bulk.fail(problem, bulk.lines + 1)),
        };
        let Some(chunk) = chunk else { break };
        bulk.reserve(buffer.len() + chunk.len()).await?;
        buffer.extend_from_slice(&chunk);
        let mut searched = buffer.len() - chunk.len();
        while let Some(at) = memchr(b'\n', &buffer[searched..]) {
            bulk.take(&buffer[..searched + at]).await?;
            buffer.advance(searched + at + 1);
            searched = 0;
        }
        if buffer.len() > state.limits.line_bytes_max {
            bulk.take(&buffer).await?;
        }
        // What came is applied before more is waited for.
        bulk.flush().await?;
        if buffer.is_empty() {
            buffer = BytesMut::new();
            bulk.charge.shrink_to(READ_AHEAD_BYTES);
        }
    }
    bulk.take(&buffer).await?;
    bulk.flush().await
}

/// A bulk body under way.
struct Bulk<'a> {
    state: &'a State,
    caller: Caller,
    /// Lines seen.
    lines: u64,
    /// Changes to make, each with its line.
    pending: Batch,
    progress: Progress,
    /// The first lines whose condition did not hold.
    unmet_lines: Vec<u64>,
    /// What the body takes of the budget.
    charge: Charge,
}

impl<'a> Bulk<'a> {
    fn new(state: &'a State, caller: Caller, charge: Charge) -> Self {
        Self {
            state,
            caller,
            lines: 0,
            pending: state.store.batch(),
            progress: Progress::default(),
            unmet_lines: Vec::new(),
            charge,
        }
    }

    /// Makes room for so much of a line that is not whole yet, which may be in memory three times: as it
    /// came, with room to grow, and as a value.
    async fn reserve(&mut self, line_bytes: usize) -> Result<(), Problem> {
        if line_bytes <= PENDING_BYTES_MAX / 4 {
            return Ok(());
        }
        let bytes = READ_AHEAD_BYTES + PENDING_BYTES_MAX + 4 * line_bytes;
        let grown = self
            .state
            .buffers
            .grow(&mut self.charge, Purpose::Bulk, bytes);
        grown
            .await
            .map_err(|problem| self.fail(problem, self.lines + 1))
    }

    /// Takes a line in, without its line feed. Where it is bad, the lines before it are applied
    /// all the same.
    async fn take(&mut self, line: &[u8]) -> Result<(), Problem> {
        self.lines += 1;
        let limits = &self.state.limits;
        let text = line.trim_ascii();
        if entry::unmarked(text).is_empty() && line.len() <= limits.line_bytes_max {
            return Ok(());
        }
        let parsed = if line.len() > limits.line_bytes_max {
            let detail = format!(
                "the line is over the limit of {} bytes (setting line_bytes_max); \
                 send large values with PUT /set/{{key}}, which takes up to {} (setting value_bytes_max)",
                limits.line_bytes_max, limits.value_bytes_max
            );
            Err(Problem::new(Code::LineTooLarge, detail))
        } else {
            body::entry(text, Form::Line, self.state).and_then(|mutation| {
                self.caller.hold_to(&mutation.key, self.state)?;
                Ok(mutation)
            })
        };
        match parsed {
            Ok(mutation) => {
                if mutation.condition != Condition::Always {
                    self.progress.unmet.get_or_insert(0);
                }
                self.pending.push(self.lines, mutation);
                if self.pending.is_full(PENDING_BYTES_MAX) {
                    self.flush().await?;
                }
                Ok(())
            }
            Err(problem) => {
                let line = self.lines;
                self.flush().await?;
                Err(self.fail(problem.in_line(), line))
            }
        }
    }

    /// Makes what is pending and counts what was done.
    async fn flush(&mut self) -> Result<(), Problem> {
        let Some(first) = self.pending.first() else {
            return Ok(());
        };
        if !self.caller.may_go_on(self.state) {
            let detail = "the token was taken out of auth_file or changed while the body came; what was \
                          before is applied";
            return Err(self.fail(Problem::new(Code::Forbidden, detail), first));
        }
        let BatchChanged {
            counts,
            unmet,
            failure,
        } = self.pending.make().await;
        self.progress.created += counts.created;
        self.progress.updated += counts.updated;
        if counts.unmet > 0 {
            *self.progress.unmet.get_or_insert(0) += counts.unmet;
            self.state.metrics.unmet(counts.unmet);
            let room = UNMET_LINES_MAX.saturating_sub(self.unmet_lines.len());
            self.unmet_lines.extend(unmet.iter().take(room));
        }
        match failure {
            Some((line, error)) => Err(self.fail(Problem::in_bulk(error), line)),
            None => Ok(()),
        }
    }

    fn fail(&self, problem: Problem, line: u64) -> Problem {
        let progress = Progress {
            line,
            unmet_lines: self.progress.unmet.map(|_| self.unmet_lines.clone()),
            ..self.progress
        };
        problem.with_progress(progress)
    }
}
