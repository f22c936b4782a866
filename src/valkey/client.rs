//! A thread's requests to the engine.

mod partition;

pub use partition::{BucketKeys, LOG_PAGE, Repair, Scanned, Span};

use super::layout::{self, BUCKETS, PARTITIONS, Place, VERSION};
use super::link::{Access, Call, Link};
use super::log::{array, number, text, text_or_nil};
use super::scripts::Run;
use super::{Engine, EngineError, Operation};
use crate::model::{Change, Condition, Expiry, Key, Mutation, Revision, Value, Written};
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

    /// Sets a key. One script, O(1).
    ///
    /// # Errors
    /// As [`EngineError`] says; after [`EngineError::Unanswered`] the change may have been made, after
    /// [`EngineError::Unreplicated`] it was; else it was not.
    pub async fn set(
        &self,
        mutation: &Mutation,
        deadline: Instant,
    ) -> Result<Written, EngineError> {
        let (revision, run) = self.set_run(mutation);
        let asked = async {
            let answer = self.run(Access::ConfirmedWrite, &run, deadline).await?;
            Ok(Written {
                revision,
                created: number(&answer)? == 1,
            })
        };
        self.observed(Operation::Set, asked).await
    }

    /// Sets many keys at once, each another. Their order is not kept.
    pub async fn set_many(
        &self,
        mutations: &[Mutation],
        deadline: Instant,
    ) -> Vec<Result<Written, EngineError>> {
        let runs: Vec<(Revision, Run<'_>)> = mutations
            .iter()
            .map(|mutation| self.set_run(mutation))
            .collect();
        let calls: Vec<Call> = runs.iter().map(|(_, run)| run.by_hash()).collect();
        let begun = Instant::now();
        let answers = self
            .link
            .ask_many(Access::ConfirmedWrite, &calls, deadline)
            .await;
        let mut written = Vec::with_capacity(answers.len());
        for ((revision, run), answer) in runs.iter().zip(answers) {
            let answer = match answer {
                Err(error) if error.passes() || error == EngineError::Unscripted => {
                    self.run(Access::ConfirmedWrite, run, deadline).await
                }
                answer => answer,
            };
            let created = answer.and_then(|answer| number(&answer));
            let answer = created.map(|created| Written {
                revision: *revision,
                created: created == 1,
            });
            let error = answer.as_ref().err().copied();
            let observer = &self.engine.observer;
            observer.observed(Operation::Set, begun.elapsed(), error);
            written.push(answer);
        }
        written
    }

    /// Deletes a key; `None` where there was none. One script, O(1).
    ///
    /// # Errors
    /// As [`Client::set`].
    pub async fn delete(
        &self,
        mutation: &Mutation,
        deadline: Instant,
    ) -> Result<Option<Revision>, EngineError> {
        let Mutation {
            key,
            change: _,
            condition: Condition::Always,
            expires_at: Expiry::Never,
        } = mutation;
        let place = Place::of(key.as_bytes());
        let revision = self.engine.next_operation();
        let run = Run {
            script: &self.engine.scripts.delete,
            partition: place.partition,
            keys: self.names(place),
            arguments: vec![
                key.as_bytes().into(),
                revision.to_string().into(),
                LOG_ENTRIES.to_string().into(),
            ],
        };
        let asked = async {
            let answer = self.run(Access::ConfirmedWrite, &run, deadline).await?;
            Ok((number(&answer)? == 1).then_some(revision))
        };
        self.observed(Operation::Delete, asked).await
    }

    /// Writes down what the layout is where that is missing. An engine that takes no writes is only
    /// read.
    ///
    /// # Errors
    /// [`EngineError::Layout`] where it is another, else as [`Client::set`].
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

    fn set_run<'a>(&'a self, mutation: &Mutation) -> (Revision, Run<'a>) {
        let Mutation {
            key,
            change,
            condition: Condition::Always,
            expires_at: Expiry::Never,
        } = mutation;
        let Change::Set { content_type, body } = change else {
            unreachable!("`set` and `set_many` are given changes that set");
        };
        let place = Place::of(key.as_bytes());
        let revision = self.engine.next_operation();
        let run = Run {
            script: &self.engine.scripts.set,
            partition: place.partition,
            keys: self.names(place),
            arguments: vec![
                key.as_bytes().into(),
                layout::encode(content_type, revision, body),
                revision.to_string().into(),
                LOG_ENTRIES.to_string().into(),
            ],
        };
        (revision, run)
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

fn text_or_verbatim(reply: Reply) -> Option<String> {
    match reply {
        Reply::VerbatimString { text, .. } => Some(text),
        reply => String::from_utf8(text(reply).ok()?).ok(),
    }
}
