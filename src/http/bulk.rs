//! `POST /set` with `application/x-ndjson`: many upserts from one streamed body, in constant
//! memory.
//!
//! Lines go to their shards in messages of at most [`SET_MANY_MAX`] changes, and a message is sent
//! only when the one before it was answered, so that lines of one key apply in their order.

use super::State;
use super::body::next_chunk;
use super::lines::{self, Form};
use super::problem::{Code, Problem, Progress};
use crate::model::Mutation;
use crate::store::message::Stopped;
use crate::store::{SET_MANY_MAX, StoreError};
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use bytes::{Buf, BytesMut};
use futures_util::future::join_all;
use memchr::memchr;
use serde_json::json;

pub(super) async fn handle(mut payload: Payload, state: &State) -> Result<HttpResponse, Problem> {
    let mut bulk = Bulk::new(state);
    let mut buffer = BytesMut::new();
    loop {
        let chunk = match next_chunk(&mut payload, state.limits.body_timeout).await {
            Ok(chunk) => chunk,
            Err(problem) => return Err(bulk.fail(problem, bulk.lines + 1)),
        };
        let Some(chunk) = chunk else { break };
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
    }
    bulk.take(&buffer).await?;
    bulk.flush().await?;
    let Progress {
        created, updated, ..
    } = bulk.progress;
    Ok(HttpResponse::Ok().json(json!({"created": created, "updated": updated})))
}

/// A bulk body under way.
struct Bulk<'a> {
    state: &'a State,
    /// Lines seen.
    lines: u64,
    /// Changes to send, by shard, each with its line.
    pending: Vec<Vec<(u64, Mutation)>>,
    progress: Progress,
}

impl<'a> Bulk<'a> {
    fn new(state: &'a State) -> Self {
        let shards = state.store.shards();
        Self {
            state,
            lines: 0,
            pending: (0..shards).map(|_| Vec::new()).collect(),
            progress: Progress::default(),
        }
    }

    /// Takes a line in, without its line feed. Where it is bad, the lines before it are applied
    /// all the same.
    async fn take(&mut self, line: &[u8]) -> Result<(), Problem> {
        self.lines += 1;
        let limits = &self.state.limits;
        let text = line.trim_ascii();
        if text.is_empty() && line.len() <= limits.line_bytes_max {
            return Ok(());
        }
        let parsed = if line.len() > limits.line_bytes_max {
            let detail = format!(
                "the line is over the limit of {} bytes (setting line_bytes_max); \
                 send large values with PUT /set/{{key}}",
                limits.line_bytes_max
            );
            Err(Problem::new(Code::LineTooLarge, detail))
        } else {
            lines::parse(text, Form::Line, limits, &self.state.content_types)
        };
        match parsed {
            Ok(mutation) => {
                let shard = &mut self.pending[self.state.store.owner(&mutation.key)];
                shard.push((self.lines, mutation));
                if shard.len() == SET_MANY_MAX {
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

    /// Sends what is pending to all shards at once and counts what they did.
    async fn flush(&mut self) -> Result<(), Problem> {
        let store = &self.state.store;
        let pending = self.pending.iter_mut().enumerate();
        let sent = pending.filter(|(_, changes)| !changes.is_empty());
        let answers = join_all(sent.map(|(shard, changes)| {
            let (lines, mutations): (Vec<u64>, Vec<Mutation>) = changes.drain(..).unzip();
            async move { (lines, store.set_many(shard, mutations).await) }
        }));
        let mut failure: Option<(u64, StoreError)> = None;
        for (lines, answer) in answers.await {
            let stopped = match answer {
                Ok(written) => {
                    self.progress.created += written.created;
                    self.progress.updated += written.updated;
                    written.stopped
                }
                Err(error) => Some(Stopped { at: 0, error }),
            };
            if let Some(Stopped { at, error }) = stopped {
                let line = lines[at];
                if failure.as_ref().is_none_or(|(first, _)| line < *first) {
                    failure = Some((line, error));
                }
            }
        }
        match failure {
            Some((line, error)) => Err(self.fail(Problem::in_bulk(error), line)),
            None => Ok(()),
        }
    }

    fn fail(&self, problem: Problem, line: u64) -> Problem {
        let progress = Progress {
            line,
            ..self.progress
        };
        problem.with_progress(progress)
    }
}
