//! The engine outside of this process: Valkey or Redis, which holds the values and a log of the
//! keys that came and went.
//!
//! It knows the engine's protocol and where what lies in it; it knows no actors, no HTTP and no key
//! index.
//!
//! # Layout
//! - `address`: the URL of a node, of Sentinels, of a cluster
//! - `link`: connections, time-outs, and what may be sent again
//! - `layout`: the names of the engine's keys, and how a value is written
//! - `log`: heads and logs as they are read
//! - `scripts`: what changes the engine's data, each in one step
//! - `error`: what can go wrong, and what that means for a change

mod address;
mod error;
mod layout;
mod link;
mod log;

pub use address::{Address, AddressError, Topology, password_from};
pub use error::EngineError;
pub use layout::{BUCKETS, PARTITIONS, Place, VERSION};
pub use link::{LinkCounts, LinkSettings};
pub use log::{Entry, Head, Position, Step};

use crate::model::{
    Change, Condition, ContentTypes, Expiry, Key, Mutation, Revision, Value, Written,
};
use layout::Layout;
use link::{Access, Call, Link};
use log::{array, fixed, number, text, text_or_nil};
use redis::{Cmd, RedisError, Value as Reply, cmd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// About how many entries a log keeps. A replica that fell behind by more reads the partition anew.
const LOG_ENTRIES: usize = 1000;

/// Entries of a log that are read at a time: so many take the engine about 0.1 ms.
pub const LOG_PAGE: usize = 500;

/// What is counted of the engine.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// A request was answered, or not.
    fn observed(&self, operation: Operation, took: Duration, error: Option<EngineError>);
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A value.
    Get,
    /// A change that sets keys.
    Set,
    /// A change that removes a key.
    Delete,
    /// Heads and logs.
    Sync,
    /// The keys of a partition.
    Reload,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Get, Self::Set, Self::Delete, Self::Sync, Self::Reload];

    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Sync => "sync",
            Self::Reload => "reload",
        }
    }
}

/// What all threads' connections to an engine share.
#[derive(Debug)]
pub struct Engine {
    settings: LinkSettings,
    layout: Layout,
    content_types: ContentTypes,
    scripts: Scripts,
    /// The last operation's number. It starts at random and never repeats.
    operations: AtomicU64,
    counts: Arc<LinkCounts>,
    observer: Arc<dyn Observer>,
}

/// A thread's access to the engine.
#[derive(Debug)]
pub struct Client {
    engine: Arc<Engine>,
    link: Link,
}

/// The keys of some buckets, and the head of their partition at the same moment.
#[derive(Debug)]
pub struct BucketKeys {
    /// The head.
    pub head: Head,
    /// The keys.
    pub keys: Vec<Vec<u8>>,
}

/// One step of reading a large bucket.
#[derive(Debug)]
pub struct Scanned {
    /// Keys, and the head.
    pub found: BucketKeys,
    /// Which server said so.
    pub run: Vec<u8>,
    /// Where to go on; `None` at the end.
    pub cursor: Option<Vec<u8>>,
}

/// A piece of a log: from one id (`-` for the first) to another, both included.
#[derive(Clone, Debug)]
pub struct Span {
    /// Whose log.
    pub partition: usize,
    /// The first id.
    pub from: Box<[u8]>,
    /// The last id.
    pub to: Box<[u8]>,
}

/// What to make a head true by.
#[derive(Clone, Debug)]
pub struct Repair {
    /// The head, as it was read; it must not have moved on.
    pub head: Head,
    /// How many keys there are.
    pub keys: usize,
    /// Whether the log lacks the head's entry.
    pub append: bool,
}

#[derive(Debug)]
struct Scripts {
    set: Script,
    delete: Script,
    sizes: Script,
    keys: Script,
    scan: Script,
    log: Script,
    repair: Script,
    mend: Script,
}

#[derive(Debug)]
struct Script {
    source: &'static str,
    hash: String,
}

impl Engine {
    /// An engine at an address, in a namespace.
    ///
    /// # Errors
    /// Where the system gives no random number.
    pub fn new(
        settings: LinkSettings,
        namespace: &str,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, getrandom::Error> {
        if settings.address.is_tls() {
            // The client's TLS takes its cryptography from the process. One that is there is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        Ok(Self {
            settings,
            layout: Layout::new(namespace),
            content_types: ContentTypes::default(),
            scripts: Scripts::new(),
            operations: AtomicU64::new(getrandom::u64()?),
            counts: Arc::default(),
            observer,
        })
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.settings.address
    }

    /// How often a lost connection was made again.
    pub fn reconnects(&self) -> u64 {
        self.counts.reconnects.load(Ordering::Relaxed)
    }

    /// Access for this thread.
    ///
    /// # Errors
    /// Where the client takes the address for none.
    pub fn client(self: &Arc<Self>) -> Result<Client, RedisError> {
        Ok(Client {
            link: Link::new(&self.settings, &self.counts)?,
            engine: self.clone(),
        })
    }

    fn next_operation(&self) -> Revision {
        Revision(
            self.operations
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_add(1),
        )
    }
}

impl Client {
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
    /// As [`EngineError`] says; only after [`EngineError::Unanswered`] the change may have been made.
    pub async fn set(
        &self,
        mutation: &Mutation,
        deadline: Instant,
    ) -> Result<Written, EngineError> {
        let (revision, run) = self.set_run(mutation);
        let asked = async {
            let answer = self.run(Access::Write, &run, deadline).await?;
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
        let answers = self.link.ask_many(Access::Write, &calls, deadline).await;
        let mut written = Vec::with_capacity(answers.len());
        for ((revision, run), answer) in runs.iter().zip(answers) {
            let answer = match answer {
                Err(error) if error.passes() || error == EngineError::Unscripted => {
                    self.run(Access::Write, run, deadline).await
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
            let answer = self.run(Access::Write, &run, deadline).await?;
            Ok((number(&answer)? == 1).then_some(revision))
        };
        self.observed(Operation::Delete, asked).await
    }

    /// The heads of some partitions. One node gives them all by one command.
    pub async fn heads(
        &self,
        partitions: &[usize],
        deadline: Instant,
    ) -> Vec<Result<Head, EngineError>> {
        let names = partitions
            .iter()
            .map(|partition| self.engine.layout.head(*partition));
        if self.link.is_single()
            && let Some(partition) = partitions.first()
        {
            let mut command = cmd("MGET");
            names.for_each(|name| {
                command.arg(name);
            });
            let call = Call {
                partition: *partition,
                command,
            };
            let asked = async { array(self.link.ask(Access::Read, &call, deadline).await?) };
            return match self.observed(Operation::Sync, asked).await {
                Ok(answers) => answers.into_iter().map(Head::read).collect(),
                Err(error) => vec![Err(error); partitions.len()],
            };
        }
        let call = |(partition, name): (&usize, String)| {
            let mut command = cmd("GET");
            command.arg(name);
            Call {
                partition: *partition,
                command,
            }
        };
        let calls: Vec<Call> = partitions.iter().zip(names).map(call).collect();
        let answers = self.ask_many(Operation::Sync, &calls, deadline).await;
        let read = |answer: Result<Reply, EngineError>| answer.and_then(Head::read);
        answers.into_iter().map(read).collect()
    }

    /// At most [`LOG_PAGE`] entries of each log, the first of each span.
    pub async fn logs(
        &self,
        spans: &[Span],
        deadline: Instant,
    ) -> Vec<Result<Vec<Entry>, EngineError>> {
        let call = |span: &Span| {
            let mut command = cmd("XRANGE");
            command.arg(self.engine.layout.log(span.partition));
            command.arg(&span.from[..]).arg(&span.to[..]);
            command.arg("COUNT").arg(LOG_PAGE);
            Call {
                partition: span.partition,
                command,
            }
        };
        let calls: Vec<Call> = spans.iter().map(call).collect();
        let answers = self.ask_many(Operation::Sync, &calls, deadline).await;
        let read = |answer: Result<Reply, EngineError>| answer.and_then(Entry::read_all);
        answers.into_iter().map(read).collect()
    }

    /// A partition's head, and how many keys each of its buckets has.
    ///
    /// # Errors
    /// As [`EngineError`] says.
    pub async fn sizes(
        &self,
        partition: usize,
        deadline: Instant,
    ) -> Result<(Head, Vec<usize>), EngineError> {
        let run = self.bucket_run(&self.engine.scripts.sizes, partition, 0..BUCKETS);
        let [head, sizes] = fixed(array(self.reload(&run, deadline).await?)?)?;
        let sizes = array(sizes)?.iter().map(number).collect::<Result<_, _>>()?;
        Ok((Head::read(head)?, sizes))
    }

    /// The keys of some buckets, all of them.
    ///
    /// # Errors
    /// As [`EngineError`] says.
    pub async fn bucket_keys(
        &self,
        partition: usize,
        buckets: std::ops::Range<usize>,
        deadline: Instant,
    ) -> Result<BucketKeys, EngineError> {
        let run = self.bucket_run(&self.engine.scripts.keys, partition, buckets);
        let [head, lists] = fixed(array(self.reload(&run, deadline).await?)?)?;
        let mut keys = Vec::new();
        for list in array(lists)? {
            for key in array(list)? {
                keys.push(text(key)?);
            }
        }
        Ok(BucketKeys {
            head: Head::read(head)?,
            keys,
        })
    }

    /// Some keys of a large bucket, from a cursor on that an earlier call gave, or `0`.
    ///
    /// # Errors
    /// As [`EngineError`] says.
    pub async fn scan(
        &self,
        place: Place,
        cursor: &[u8],
        deadline: Instant,
    ) -> Result<Scanned, EngineError> {
        let buckets = place.bucket..place.bucket + 1;
        let mut run = self.bucket_run(&self.engine.scripts.scan, place.partition, buckets);
        run.arguments.push(cursor.into());
        let [head, server, cursor, keys] = fixed(array(self.reload(&run, deadline).await?)?)?;
        let cursor = text(cursor)?;
        Ok(Scanned {
            found: BucketKeys {
                head: Head::read(head)?,
                keys: array(keys)?
                    .into_iter()
                    .map(text)
                    .collect::<Result<_, _>>()?,
            },
            run: text(server)?,
            cursor: Some(cursor).filter(|cursor| cursor != b"0"),
        })
    }

    /// A partition's head, and its log from an id on (`-` for the first) to the end, at the same
    /// moment.
    ///
    /// # Errors
    /// As [`EngineError`] says.
    pub async fn log_to_end(
        &self,
        partition: usize,
        from: &[u8],
        deadline: Instant,
    ) -> Result<(Head, Vec<Entry>), EngineError> {
        let run = Run {
            script: &self.engine.scripts.log,
            partition,
            keys: vec![
                self.engine.layout.head(partition),
                self.engine.layout.log(partition),
            ],
            arguments: vec![from.into()],
        };
        let [head, log] = fixed(array(self.reload(&run, deadline).await?)?)?;
        Ok((Head::read(head)?, Entry::read_all(log)?))
    }

    /// Makes a head true again. `false` where it has moved on.
    ///
    /// # Errors
    /// As [`Client::set`].
    pub async fn repair(
        &self,
        partition: usize,
        repair: &Repair,
        deadline: Instant,
    ) -> Result<bool, EngineError> {
        let run = Run {
            script: &self.engine.scripts.repair,
            partition,
            keys: vec![
                self.engine.layout.log(partition),
                self.engine.layout.head(partition),
            ],
            arguments: vec![
                repair.head.text.to_vec(),
                repair.keys.to_string().into(),
                self.engine.next_operation().to_string().into(),
                if repair.append { "1" } else { "0" }.into(),
            ],
        };
        let answer = self.run(Access::Write, &run, deadline).await?;
        Ok(number(&answer)? == 1)
    }

    /// Takes a log and a head away that are of another type, so that they can be made anew.
    /// Whether there was one.
    ///
    /// # Errors
    /// As [`Client::set`].
    pub async fn mend(&self, partition: usize, deadline: Instant) -> Result<bool, EngineError> {
        let run = Run {
            script: &self.engine.scripts.mend,
            partition,
            keys: vec![
                self.engine.layout.log(partition),
                self.engine.layout.head(partition),
            ],
            arguments: Vec::new(),
        };
        let answer = self.run(Access::Write, &run, deadline).await?;
        Ok(number(&answer)? > 0)
    }

    /// Writes down what the layout is where that is missing.
    ///
    /// # Errors
    /// [`EngineError::Layout`] where it is another, else as [`Client::set`].
    pub async fn check_layout(&self, deadline: Instant) -> Result<(), EngineError> {
        let fields = [
            ("version", VERSION as usize),
            ("partitions", PARTITIONS),
            ("buckets", BUCKETS),
        ];
        for (field, ours) in fields {
            let mut command = cmd("HSETNX");
            let name = self.engine.layout.layout();
            command.arg(&name).arg(field).arg(ours);
            let is_new = self
                .link
                .ask_keyed(Access::Write, &name, &command, deadline);
            is_new.await?;
            let mut command = cmd("HGET");
            command.arg(&name).arg(field);
            let held = self.link.ask_keyed(Access::Read, &name, &command, deadline);
            if text_or_nil(held.await?)? != Some(ours.to_string().into()) {
                return Err(EngineError::Layout);
            }
        }
        Ok(())
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

    fn bucket_run<'a>(
        &self,
        script: &'a Script,
        partition: usize,
        buckets: std::ops::Range<usize>,
    ) -> Run<'a> {
        let layout = &self.engine.layout;
        let names = buckets.map(|bucket| layout.bucket(Place { partition, bucket }));
        Run {
            script,
            partition,
            keys: std::iter::once(layout.head(partition))
                .chain(names)
                .collect(),
            arguments: Vec::new(),
        }
    }

    async fn reload(&self, run: &Run<'_>, deadline: Instant) -> Result<Reply, EngineError> {
        let asked = self.run(Access::Read, run, deadline);
        self.observed(Operation::Reload, asked).await
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

    async fn ask_many(
        &self,
        operation: Operation,
        calls: &[Call],
        deadline: Instant,
    ) -> Vec<Result<Reply, EngineError>> {
        let begun = Instant::now();
        let answers = self.link.ask_many(Access::Read, calls, deadline).await;
        let error = answers.iter().find_map(|answer| answer.as_ref().err());
        let observer = &self.engine.observer;
        observer.observed(operation, begun.elapsed(), error.copied());
        answers
    }

    async fn observed<T>(
        &self,
        operation: Operation,
        asked: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let begun = Instant::now();
        let answer = asked.await;
        let error = answer.as_ref().err().copied();
        let observer = &self.engine.observer;
        observer.observed(operation, begun.elapsed(), error);
        answer
    }
}

/// A script with what it is run on.
#[derive(Debug)]
struct Run<'a> {
    script: &'a Script,
    partition: usize,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Run<'_> {
    fn by_hash(&self) -> Call {
        let mut command = cmd("EVALSHA");
        command.arg(&self.script.hash);
        self.completed(command)
    }

    fn whole(&self) -> Call {
        let mut command = cmd("EVAL");
        command.arg(self.script.source);
        self.completed(command)
    }

    fn completed(&self, mut command: Cmd) -> Call {
        command.arg(self.keys.len()).arg(&self.keys);
        for argument in &self.arguments {
            command.arg(&argument[..]);
        }
        Call {
            partition: self.partition,
            command,
        }
    }
}

impl Scripts {
    fn new() -> Self {
        let script = |source| Script {
            source,
            hash: redis::Script::new(source).get_hash().to_owned(),
        };
        Self {
            set: script(include_str!("scripts/set.lua")),
            delete: script(include_str!("scripts/delete.lua")),
            sizes: script(include_str!("scripts/sizes.lua")),
            keys: script(include_str!("scripts/keys.lua")),
            scan: script(include_str!("scripts/scan.lua")),
            log: script(include_str!("scripts/log.lua")),
            repair: script(include_str!("scripts/repair.lua")),
            mend: script(include_str!("scripts/mend.lua")),
        }
    }
}

fn text_or_verbatim(reply: Reply) -> Option<String> {
    match reply {
        Reply::VerbatimString { text, .. } => Some(text),
        reply => String::from_utf8(text(reply).ok()?).ok(),
    }
}
