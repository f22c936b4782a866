//! What an index of keys is made and kept in step by: heads, logs and whole buckets.

use super::Client;
use crate::valkey::call::{Access, Call};
use crate::valkey::layout::{BUCKETS, Place};
use crate::valkey::log::{Entry, Head, array, fixed, is_key, number, text};
use crate::valkey::scripts::{Run, Script};
use crate::valkey::{EngineError, Operation};
use redis::{Value as Reply, cmd};
use std::ops::Range;
use tokio::time::Instant;

/// Entries of a log that are read at a time: so many take the engine about 0.1 ms.
pub const LOG_PAGE: usize = 500;

/// The keys of some buckets, and the head of their partition at the same moment. What somebody put
/// into a bucket that is not its own, or that is no key, is left out: no request for it would find it
/// there.
#[derive(Debug)]
pub struct BucketKeys {
    /// The head.
    pub head: Head,
    /// The keys.
    pub keys: Vec<Vec<u8>>,
    /// How many fields were left out.
    pub left_out: usize,
}

/// One step of reading a large bucket.
#[derive(Debug)]
pub struct Scanned {
    /// Keys, and the head.
    pub found: BucketKeys,
    /// Which server said so; empty where it does not say.
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

impl Client {
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
            let call = Call::new(*partition, command);
            let asked = async { array(self.link.ask(Access::Read, &call, deadline).await?) };
            return match self.observed(Operation::Sync, asked).await {
                Ok(answers) => answers.into_iter().map(Head::read).collect(),
                Err(error) => vec![Err(error); partitions.len()],
            };
        }
        let call = |(partition, name): (&usize, String)| {
            let mut command = cmd("GET");
            command.arg(name);
            Call::new(*partition, command)
        };
        let calls: Vec<Call> = partitions.iter().zip(names).map(call).collect();
        let answers = self.ask_many(Operation::Sync, &calls, deadline).await;
        let read = |answer: Result<Reply, EngineError>| answer.and_then(Head::read);
        answers.into_iter().map(read).collect()
    }

    /// At most so many entries of each log, the first of each span.
    pub async fn logs(
        &self,
        spans: &[Span],
        entries: usize,
        deadline: Instant,
    ) -> Vec<Result<Vec<Entry>, EngineError>> {
        let call = |span: &Span| {
            let mut command = cmd("XRANGE");
            command.arg(self.engine.layout.log(span.partition));
            command.arg(&span.from[..]).arg(&span.to[..]);
            command.arg("COUNT").arg(entries);
            Call::new(span.partition, command)
        };
        let calls: Vec<Call> = spans.iter().map(call).collect();
        let answers = self.ask_many(Operation::Sync, &calls, deadline).await;
        let read = |(span, answer): (&Span, Result<Reply, EngineError>)| {
            Entry::read_all(answer?, span.partition)
        };
        spans.iter().zip(answers).map(read).collect()
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
        buckets: Range<usize>,
        deadline: Instant,
    ) -> Result<BucketKeys, EngineError> {
        let run = self.bucket_run(&self.engine.scripts.keys, partition, buckets.clone());
        let [head, lists] = fixed(array(self.reload(&run, deadline).await?)?)?;
        let mut found = BucketKeys {
            head: Head::read(head)?,
            keys: Vec::new(),
            left_out: 0,
        };
        for (bucket, list) in buckets.zip(array(lists)?) {
            found.add(list, Place { partition, bucket })?;
        }
        Ok(found)
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
        let mut found = BucketKeys {
            head: Head::read(head)?,
            keys: Vec::new(),
            left_out: 0,
        };
        found.add(keys, place)?;
        Ok(Scanned {
            found,
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
        Ok((Head::read(head)?, Entry::read_all(log, partition)?))
    }

    /// The partitions whose master is this one's, as far as is known.
    pub async fn of_same_master(&self, partition: usize, deadline: Instant) -> Vec<usize> {
        self.link.of_same_master(partition, deadline).await
    }

    /// Makes a head true again. `false` where it has moved on.
    ///
    /// # Errors
    /// As [`Client::change`].
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
    /// As [`Client::change`].
    pub async fn mend(&self, partition: usize, deadline: Instant) -> Result<bool, EngineError> {
        let run = Run {
            script: &self.engine.scripts.mend,
            partition,
            keys: vec![
                self.engine.layout.log(partition),
                self.engine.layout.head(partition),
                self.engine.layout.ends(partition),
            ],
            arguments: Vec::new(),
        };
        let answer = self.run(Access::Write, &run, deadline).await?;
        Ok(number(&answer)? > 0)
    }

    fn bucket_run<'a>(
        &self,
        script: &'a Script,
        partition: usize,
        buckets: Range<usize>,
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

    pub(super) async fn ask_many(
        &self,
        operation: Operation,
        calls: &[Call],
        deadline: Instant,
    ) -> Vec<Result<Reply, EngineError>> {
        let begun = Instant::now();
        let answers = self.link.ask_many(Access::Read, calls, deadline).await;
        let error = answers.iter().find_map(|answer| answer.as_ref().err());
        self.engine
            .observed(operation, begun.elapsed(), error.copied());
        answers
    }
}

impl BucketKeys {
    /// Adds the keys of a list that belong to a place.
    fn add(&mut self, list: Reply, place: Place) -> Result<(), EngineError> {
        for key in array(list)? {
            let key = text(key)?;
            if is_key(&key) && Place::of(&key) == place {
                self.keys.push(key);
            } else {
                self.left_out += 1;
            }
        }
        Ok(())
    }
}
