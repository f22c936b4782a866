//! A thread's requests to the engine.

mod partition;

pub use partition::{BucketKeys, LOG_PAGE, Repair, Scanned, Span};

use super::call::{Access, Call};
use super::layout::{self, BUCKETS, PARTITIONS, Place, VERSION};
use super::link::Link;
use super::log::{array, number, text, text_or_nil};
use super::scripts::Run;
use super::{Engine, EngineError, Operation};
use crate::model::{Change, Changed, Condition, Expiry, Key, Mutation, Revision, Value};
use futures_util::FutureExt;
use redis::{Value as Reply, cmd};
use std::sync::Arc;
use tokio::time::Instant;

/// About how many entries a log keeps. A replica that fell behind by more reads the partition anew.
const LOG_ENTRIES: usize = 1000;

/// A thread's access to the engine.
#[derive(Debug)]
pub struct Client {
    engine: Arc<Engine>,
    link: Link,
}

impl Client {
    pub(super) fn new(engine: Arc<Engine>, link: Link) -> Self {
        Self { engine, link }
    }

    /// The value of a key. One command, O(1).
    ///
    /// # Errors
    /// As [`EngineError`] says.
    pub async fn get(&self, key: &Key, deadline: Instant) -> Result<Option<Value>, EngineError> {
        let place = Place::of(key.as_bytes());
        let mut command = cmd("HGET");
        command
            .arg(self.engine.layout.bucket(place))
            .arg(key.as_bytes());
        let call = Call {
            partition: place.partition,
            command,
        };
        let asked = async {
            let answer = self.link.ask(Access::Read, &call, deadline).await?;
            let blob = text_or_nil(answer)?;
            let decode = |blob| layout::decode(blob, &self.engine.content_types);
            blob.map(decode).transpose()
        };
        self.observed(Operation::Get, asked).await
    }

    /// Makes a change. One script, O(1).
    ///
    /// # Errors
    /// As [`EngineError`] says; after [`EngineError::Unanswered`] the change may have been made, after
    /// [`EngineError::Unreplicated`] it was; else it was not.
    pub async fn change(
        &self,
        mutation: &Mutation,
        deadline: Instant,
    ) -> Result<Changed, EngineError> {
        let (run, change) = self.change_run(mutation);
        let asked = async {
            let answer = self.run(Access::ConfirmedWrite, &run, deadline).await?;
            change.changed(&answer)
        };
        self.observed(change.operation, asked).await
    }

    /// Makes many changes at once, each of another key. Their order is not kept.
    pub async fn change_many(
        &self,
        mutations: &[Mutation],
        deadline: Instant,
    ) -> Vec<Result<Changed, EngineError>> {
        let runs: Vec<(Run<'_>, ChangeRun)> = mutations
            .iter()
            .map(|mutation| self.change_run(mutation))
            .collect();
        let calls: Vec<Call> = runs.iter().map(|(run, _)| run.by_hash()).collect();
        let begun = Instant::now();
        let answers = self
            .link
            .ask_many(Access::ConfirmedWrite, &calls, deadline)
            .await;
        let mut changed = Vec::with_capacity(answers.len());
        for ((run, change), answer) in runs.iter().zip(answers) {
            let answer = match answer {
                Err(error) if error.passes() || error == EngineError::Unscripted => {
                    self.run(Access::ConfirmedWrite, run, deadline).await
                }
                answer => answer,
            };
            let answer = answer.and_then(|answer| change.changed(&answer));
            let error = answer.as_ref().err().copied();
            let observer = &self.engine.observer;
            observer.observed(change.operation, begun.elapsed(), error);
            changed.push(answer);
        }
        changed
    }

    /// Writes down what the layout is where that is missing. An engine that takes no writes is only
    /// read.
    ///
    /// # Errors
    /// [`EngineError::Layout`] where it is another, else as [`Client::change`].
    pub async fn check_layout(&self, deadline: Instant) -> Result<(), EngineError> {
        let fields = [
            ("version", VERSION as usize),
            ("partitions", PARTITIONS),
            ("buckets", BUCKETS),
        ];
        let name = self.engine.layout.layout();
        let mut read = cmd("HMGET");
        read.arg(&name).arg(&fields.map(|(field, _)| field)[..]);
        let read_all = async || {
            let held = self.link.ask_keyed(Access::Read, &name, &read, deadline);
            let held = array(held.await?)?.into_iter().map(text_or_nil);
            held.collect::<Result<Vec<_>, _>>()
        };
        let mut held = read_all().await?;
        if held.contains(&None) {
            for (field, ours) in fields {
                let mut write = cmd("HSETNX");
                write.arg(&name).arg(field).arg(ours);
                let written = self.link.ask_keyed(Access::Write, &name, &write, deadline);
                written.await?;
            }
            held = read_all().await?;
        }
        let is_ours = |((_, ours), held): ((&str, usize), Option<Vec<u8>>)| {
            held == Some(ours.to_string().into())
        };
        match fields.into_iter().zip(held).all(is_ours) {
            true => Ok(()),
            false => Err(EngineError::Layout),
        }
    }

    /// Whether a master may drop keys to make room: it would drop whole buckets. `false` where that
    /// is not to be learned.
    ///
    /// # Errors
    /// As [`EngineError`] says.
    pub async fn evicts(&self) -> Result<bool, EngineError> {
        let mut command = cmd("INFO");
        command.arg("memory");
        let answers = match self.link.ask_masters(&command).await {
            Err(EngineError::Denied) => return Ok(false),
            answers => answers?,
        };
        let evicts = |answer: Reply| match text_or_verbatim(answer) {
            Some(info) => info.contains("maxmemory_policy:allkeys-"),
            None => false,
        };
        Ok(answers.into_iter().any(evicts))
    }

    /// The script that makes a change.
    fn change_run(&self, mutation: &Mutation) -> (Run<'_>, ChangeRun) {
        let Mutation {
            key,
            change,
            condition: Condition::Always,
            expires_at: Expiry::Never,
        } = mutation;
        let place = Place::of(key.as_bytes());
        let revision = self.engine.next_operation();
        let number = || revision.to_string().into();
        let log_entries = || LOG_ENTRIES.to_string().into();
        let key = key.as_bytes().into();
        let scripts = &self.engine.scripts;
        let (script, operation, arguments) = match change {
            Change::Set { content_type, body } => {
                let blob = layout::encode(content_type, revision, body);
                let arguments = vec![key, blob, number(), log_entries()];
                (&scripts.set, Operation::Set, arguments)
            }
            Change::Delete => {
                let arguments = vec![key, number(), log_entries()];
                (&scripts.delete, Operation::Delete, arguments)
            }
        };
        let run = Run {
            script,
            partition: place.partition,
            keys: self.names(place),
            arguments,
        };
        let change = ChangeRun {
            operation,
            is_removal: matches!(change, Change::Delete),
            revision,
        };
        (run, change)
    }

    fn names(&self, place: Place) -> Vec<String> {
        let layout = &self.engine.layout;
        vec![
            layout.bucket(place),
            layout.log(place.partition),
            layout.head(place.partition),
        ]
    }

    /// Runs a script by its hash, or whole where the engine does not know it.
    async fn run(
        &self,
        access: Access,
        run: &Run<'_>,
        deadline: Instant,
    ) -> Result<Reply, EngineError> {
        match self.link.ask(access, &run.by_hash(), deadline).await {
            Err(EngineError::Unscripted) => self.link.ask(access, &run.whole(), deadline).await,
            answer => answer,
        }
    }

    /// Counts and times what is asked. No `async fn`, which would hold it twice: as its argument and
    /// while it runs.
    fn observed<T>(
        &self,
        operation: Operation,
        asked: impl Future<Output = Result<T, EngineError>>,
    ) -> impl Future<Output = Result<T, EngineError>> {
        let begun = Instant::now();
        asked.inspect(move |answer| {
            let error = answer.as_ref().err().copied();
            let observer = &self.engine.observer;
            observer.observed(operation, begun.elapsed(), error);
        })
    }
}

/// What tells the answer of a script that makes a change.
#[derive(Clone, Copy, Debug)]
struct ChangeRun {
    operation: Operation,
    is_removal: bool,
    revision: Revision,
}

impl ChangeRun {
    /// What became of the change.
    fn changed(self, answer: &Reply) -> Result<Changed, EngineError> {
        let has_changed_keys = number(answer)? == 1;
        Ok(match (self.is_removal, has_changed_keys) {
            (false, true) => Changed::Created(self.revision),
            (false, false) => Changed::Updated(self.revision),
            (true, true) => Changed::Deleted(self.revision),
            (true, false) => Changed::Absent,
        })
    }
}

fn text_or_verbatim(reply: Reply) -> Option<String> {
    match reply {
        Reply::VerbatimString { text, .. } => Some(text),
        reply => String::from_utf8(text(reply).ok()?).ok(),
    }
}
