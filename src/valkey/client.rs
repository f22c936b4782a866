//! A thread's requests to the engine.

mod ends;
mod fitness;
mod many;
mod partition;
mod updates;

pub use ends::{LAPSING_KEYS, Lapsing};
pub use fitness::Fitness;
pub use partition::{BucketKeys, LOG_PAGE, Repair, Scanned, Span};
pub use updates::Logging;

use super::call::{Access, Call, is_large};
use super::layout::{self, Place};
use super::link::Link;
use super::log::{number, text_or_nil};
use super::scripts::Run;
use super::{Engine, EngineError, Operation};
use crate::model::{
    Change, Changed, Condition, Deadline, Key, Mutation, Revision, Revisions, Value,
};
use futures_util::FutureExt;
use redis::{Value as Reply, cmd};
use std::sync::Arc;
use tokio::time::Instant;

/// About how many entries a log keeps. A replica that fell behind by more reads the partition anew.
pub const LOG_ENTRIES: usize = 2000;

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

    /// As [`Engine::outage`].
    pub fn outage(&self) -> Option<EngineError> {
        self.engine.outage()
    }

    /// As [`Engine::refused`].
    pub fn refused(&self, searches: usize, error: EngineError) {
        self.engine.refused(searches, error);
    }

    /// The value of a key. One command, O(1).
    ///
    /// # Errors
    /// As [`EngineError`] says.
    pub async fn get(&self, key: &Key, deadline: Instant) -> Result<Option<Value>, EngineError> {
        let call = self.get_call(key);
        let asked = async {
            let answer = self.link.ask(Access::Read, &call, deadline).await?;
            self.value(answer)
        };
        self.observed(Operation::Get, asked).await
    }

    fn get_call(&self, key: &Key) -> Call {
        let place = Place::of(key.as_bytes());
        let mut command = cmd("HGET");
        command
            .arg(self.engine.layout.bucket(place))
            .arg(key.as_bytes());
        Call::new(place.partition, command)
    }

    /// The value that a key was found to name.
    fn value(&self, found: Reply) -> Result<Option<Value>, EngineError> {
        let decode = |blob| layout::decode(blob, &self.engine.content_types);
        text_or_nil(found)?.map(decode).transpose()
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
            if is_large(run.longest()) {
                Box::pin(self.fits(&run, deadline)).await?;
            }
            let answer = self.run(Access::ConfirmedWrite, &run, deadline).await?;
            change.changed(&answer)
        };
        self.observed(change.kind.operation(), asked).await
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
        let mut fit: Vec<Result<(), EngineError>> = Vec::with_capacity(runs.len());
        for (run, _) in &runs {
            fit.push(self.fits(run, deadline).await);
        }
        let fitting = runs.iter().zip(&fit).filter(|(_, fits)| fits.is_ok());
        let calls: Vec<Call> = fitting.map(|((run, _), _)| run.by_hash()).collect();
        let begun = Instant::now();
        let answers = self
            .link
            .ask_many(Access::ConfirmedWrite, &calls, deadline)
            .await;
        let mut answers = answers.into_iter();
        let mut changed = Vec::with_capacity(runs.len());
        for ((run, change), fits) in runs.iter().zip(fit) {
            let answer = fits.and_then(|()| answers.next().unwrap_or(Err(EngineError::Unanswered)));
            let answer = match answer {
                Err(error) if error.passes() || error == EngineError::Unscripted => {
                    self.run(Access::ConfirmedWrite, run, deadline).await
                }
                answer => answer,
            };
            let answer = answer.and_then(|answer| change.changed(&answer));
            let error = answer.as_ref().err().copied();
            self.engine
                .observed(change.kind.operation(), begun.elapsed(), error);
            changed.push(answer);
        }
        changed
    }

    /// Whether the engine takes arguments as long as a change's. It would end the connection that one comes
    /// on which is too long, so that it is asked before: it bounds the number of a bit (`GETBIT`) as it bounds
    /// an argument (`proto-max-bulk-len`). Where we may not ask, it is tried.
    async fn fits(&self, run: &Run<'_>, deadline: Instant) -> Result<(), EngineError> {
        let longest = run.longest();
        if !is_large(longest) {
            return Ok(());
        }
        let mut command = cmd("GETBIT");
        command.arg(self.engine.layout.head(run.partition));
        command.arg(8 * (longest - 1));
        let call = Call::new(run.partition, command);
        match self.link.ask(Access::Read, &call, deadline).await {
            Err(EngineError::TooLarge) => Err(EngineError::TooLarge),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The script that makes a change.
    fn change_run(&self, mutation: &Mutation) -> (Run<'_>, ChangeRun) {
        let Mutation {
            key,
            change,
            condition,
            expires_at,
        } = mutation;
        let place = Place::of(key.as_bytes());
        let revision = self.engine.next_operation();
        let number = || revision.to_string().into();
        let log_entries = || LOG_ENTRIES.to_string().into();
        let key: Vec<u8> = key.as_bytes().into();
        let scripts = &self.engine.scripts;
        if let Some(end) = *expires_at {
            self.engine.ends[place.partition].is_set(end);
        }
        let mut keys = self.names(place);
        let (script, kind, arguments) = match change {
            Change::Set { content_type, body } => {
                let blob = layout::encode(content_type, revision, *expires_at, body);
                let mut arguments = vec![key, blob, number(), log_entries()];
                if *condition != Condition::Always || expires_at.is_some() {
                    arguments.extend(conditions(condition));
                    arguments.push(score(*expires_at));
                }
                (&scripts.set, Kind::Set, arguments)
            }
            Change::Delete => {
                let mut arguments = vec![key, number(), log_entries()];
                if *condition != Condition::Always {
                    arguments.extend(conditions(condition));
                }
                (&scripts.delete, Kind::Delete, arguments)
            }
            Change::Expire => {
                let moment = expires_at.map_or(Vec::new(), |deadline| {
                    deadline.as_millis().to_be_bytes().into()
                });
                let mut arguments = vec![key, moment, score(*expires_at)];
                arguments.extend(conditions(condition));
                arguments.extend([number(), log_entries()]);
                // It looks at them whether or not there are any.
                keys.truncate(3);
                keys.push(self.engine.layout.ends(place.partition));
                (&scripts.expire, Kind::Expire, arguments)
            }
        };
        let run = Run {
            script,
            partition: place.partition,
            keys,
            arguments,
        };
        (run, ChangeRun { kind, revision })
    }

    /// The names that a change of a key touches. Its partition's deadlines are among them where there are
    /// some: a slot on its way to another node takes no script that names what is not there.
    fn names(&self, place: Place) -> Vec<String> {
        let layout = &self.engine.layout;
        let mut names = vec![
            layout.bucket(place),
            layout.log(place.partition),
            layout.head(place.partition),
        ];
        if self.engine.ends[place.partition].get().is_some() {
            names.push(layout.ends(place.partition));
        }
        names
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
            self.engine.observed(operation, begun.elapsed(), error);
        })
    }
}

/// What tells the answer of a script that makes a change.
#[derive(Clone, Copy, Debug)]
struct ChangeRun {
    kind: Kind,
    revision: Revision,
}

/// What a change does.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Set,
    Delete,
    Expire,
}

impl Kind {
    fn operation(self) -> Operation {
        match self {
            Self::Set | Self::Expire => Operation::Set,
            Self::Delete => Operation::Delete,
        }
    }
}

impl ChangeRun {
    /// What became of the change.
    fn changed(self, answer: &Reply) -> Result<Changed, EngineError> {
        if let Reply::BulkString(present) = answer {
            let present = match &present[..] {
                [] => None,
                present => Some(revision(present)?),
            };
            return Ok(Changed::Unmet(present));
        }
        if let Reply::Array(kept) = answer
            && let [Reply::BulkString(kept)] = &kept[..]
        {
            return Ok(Changed::Kept(revision(kept)?));
        }
        let has_changed_keys = number(answer)? == 1;
        Ok(match (self.kind, has_changed_keys) {
            (Kind::Set, true) => Changed::Created(self.revision),
            (Kind::Set, false) => Changed::Updated(self.revision),
            (Kind::Delete, true) => Changed::Deleted(self.revision),
            (Kind::Delete | Kind::Expire, _) => Changed::Absent,
        })
    }
}

/// A revision as scripts answer it.
fn revision(bytes: &[u8]) -> Result<Revision, EngineError> {
    let bytes = bytes.try_into().map_err(|_| EngineError::Foreign)?;
    Ok(Revision(u64::from_be_bytes(bytes)))
}

/// A condition as the scripts take it.
fn conditions(condition: &Condition) -> [Vec<u8>; 2] {
    match condition {
        Condition::Always => [Vec::new(), Vec::new()],
        Condition::If(preconditions) => [
            revisions(preconditions.if_match.as_ref()),
            revisions(preconditions.if_none_match.as_ref()),
        ],
    }
}

/// A deadline as the scripts take it.
fn score(deadline: Option<Deadline>) -> Vec<u8> {
    deadline.map_or(Vec::new(), |deadline| {
        deadline.as_millis().to_string().into()
    })
}

/// Which values a precondition is about, as the scripts take it. One that names none of ours is about a
/// revision that none has, of fewer bytes.
fn revisions(revisions: Option<&Revisions>) -> Vec<u8> {
    match revisions {
        None => Vec::new(),
        Some(Revisions::Any) => b"*".into(),
        Some(Revisions::Of(revisions)) if revisions.is_empty() => b"-".into(),
        Some(Revisions::Of(revisions)) => {
            let bytes = revisions
                .iter()
                .flat_map(|revision| revision.0.to_be_bytes());
            bytes.collect()
        }
    }
}
