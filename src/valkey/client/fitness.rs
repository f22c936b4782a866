//! Whether an engine can be used as it is: what its namespace holds, what it lets us do, whether it
//! drops keys.

use super::Client;
use crate::valkey::EngineError;
use crate::valkey::call::{Access, Call};
use crate::valkey::layout::{BUCKETS, PARTITIONS, VERSION};
use crate::valkey::log::{array, text, text_or_nil};
use crate::valkey::scripts::{Run, Script};
use redis::{Cmd, Value as Reply, cmd};
use std::time::Duration;
use tokio::time::Instant;

/// How long masters may take to say how they are set up.
const PATIENCE: Duration = Duration::from_secs(1);

/// What an engine that can be used is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fitness {
    /// Whether a master may drop keys to make room: it would drop whole buckets. `false` where that is
    /// not to be learned.
    pub evicts: bool,
    /// Why changes will be refused, if they will.
    pub changes: Option<EngineError>,
}

impl Client {
    /// Looks at all that an engine must be, as at a start. Each step may take as long as `patience`.
    ///
    /// # Errors
    /// Why it cannot be used; for ever as it is set up, if [`EngineError::stays`].
    pub async fn fitness(&self, patience: Duration) -> Result<Fitness, EngineError> {
        let deadline = || Instant::now() + patience;
        let layout = self.check_layout(deadline()).await;
        if let Err(error) = layout
            && error.stays()
        {
            return Err(error);
        }
        // The layout's master may be the one that is down; it is looked at again later.
        let partition = self.any_partition(deadline()).await?;
        self.check_reads(partition, deadline()).await?;
        let changes = self.check_changes(partition, deadline()).await;
        Ok(Fitness {
            evicts: self.evicts().await,
            changes: changes.err().filter(|error| error.stays()),
        })
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
                match written.await {
                    Ok(_) => {}
                    Err(error) if error.is_of_changes() => break,
                    Err(error) => return Err(error),
                }
            }
            held = read_all().await?;
        }
        // What is not there is nobody's.
        let is_ours = |((_, ours), held): ((&str, usize), Option<Vec<u8>>)| {
            held.is_none_or(|held| held == ours.to_string().into_bytes())
        };
        match fields.into_iter().zip(held).all(is_ours) {
            true => Ok(()),
            false => Err(EngineError::Layout),
        }
    }

    /// Whether a master may drop keys to make room, of those that say.
    pub async fn evicts(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut command = cmd("INFO");
        command.arg("memory");
        let answers = self
            .link
            .ask_masters(0..PARTITIONS, &command, deadline)
            .await;
        let evicts = |answer: Reply| match text_or_verbatim(answer) {
            Some(info) => info.contains("maxmemory_policy:allkeys-"),
            None => false,
        };
        let mut answers = answers.into_iter().filter_map(|(_, answer)| answer.ok());
        answers.any(evicts)
    }

    /// A partition whose master answers.
    ///
    /// # Errors
    /// Why none does, or none ever will as it is set up.
    async fn any_partition(&self, deadline: Instant) -> Result<usize, EngineError> {
        // As many as any cluster has masters, about, and one master's lie side by side.
        let some = (0..PARTITIONS).step_by(PARTITIONS / 16);
        let calls: Vec<Call> = some
            .map(|partition| {
                let mut command = cmd("GET");
                command.arg(self.engine.layout.head(partition));
                Call::new(partition, command)
            })
            .collect();
        let answers = self.link.ask_many(Access::Read, &calls, deadline).await;
        let mut answering = Err(EngineError::Unreachable);
        for (call, answer) in calls.iter().zip(answers) {
            match answer {
                Err(error) if error.stays() => return Err(error),
                Err(error) if answering.is_err() => answering = Err(error),
                Ok(_) if answering.is_err() => answering = Ok(call.partition),
                Ok(_) | Err(_) => {}
            }
        }
        answering
    }

    fn scratch(&self, partition: usize) -> [String; 4] {
        let operation = self.engine.next_operation();
        self.engine.layout.scratch(partition, operation)
    }

    /// Whether all may be done that every server needs: each command by itself, so that what lacks has a
    /// name, and then the scripts, on keys that nobody has.
    async fn check_reads(&self, partition: usize, deadline: Instant) -> Result<(), EngineError> {
        let [bucket, log, head, ends] = self.scratch(partition);
        let mut commands = vec![
            command(&["HGET", &bucket, "f"]),
            command(&["HMGET", &bucket, "f"]),
            command(&["HKEYS", &bucket]),
            command(&["HLEN", &bucket]),
            command(&["HSCAN", &bucket, "0"]),
            command(&["GET", &head]),
            command(&["MGET", &head]),
            command(&["XRANGE", &log, "-", "+", "COUNT", "1"]),
            command(&["ZRANGE", &ends, "-inf", "0", "BYSCORE"]),
            command(&["TYPE", &head]),
        ];
        if self.engine.settings.confirmation.is_some() {
            commands.push(command(&["WAIT", "0", "1"]));
        }
        let calls = commands
            .into_iter()
            .map(|command| Call::new(partition, command));
        let calls: Vec<Call> = calls.collect();
        for answer in self.link.ask_many(Access::Read, &calls, deadline).await {
            answer?;
        }
        let scripts = &self.engine.scripts;
        let keys = [head, bucket, log];
        let log = [keys[0].clone(), keys[2].clone()];
        for (script, keys, arguments) in [
            (&scripts.sizes, &keys[..2], &[""; 0][..]),
            (&scripts.keys, &keys[..2], &[""; 0][..]),
            (&scripts.scan, &keys[..2], &["0"][..]),
            (&scripts.log, &log[..], &["-"][..]),
            (&scripts.short, &keys[1..2], &["1", "f"][..]),
        ] {
            let arguments = arguments.iter().map(|text| text.as_bytes().to_vec());
            let run = scratch_run(script, partition, keys, arguments.collect());
            self.link.ask(Access::Read, &run.whole(), deadline).await?;
            self.link
                .ask(Access::Read, &run.by_hash(), deadline)
                .await?;
        }
        Ok(())
    }

    /// Whether all may be done that a change needs, as [`Client::check_reads`] does.
    async fn check_changes(&self, partition: usize, deadline: Instant) -> Result<(), EngineError> {
        let [bucket, log, head, ends] = self.scratch(partition);
        let clear = command(&["DEL", &bucket, &log, &head, &ends]);
        for asked in [
            clear.clone(),
            command(&["HSET", &bucket, "f", "v"]),
            command(&["HSETNX", &bucket, "f", "v"]),
            command(&["HEXISTS", &bucket, "f"]),
            command(&["HDEL", &bucket, "f"]),
            command(&["SET", &head, "v"]),
            command(&["XADD", &log, "*", "f", "v"]),
            command(&["XREVRANGE", &log, "+", "-", "COUNT", "1"]),
            command(&["ZADD", &ends, "1", "f"]),
            command(&["ZSCORE", &ends, "f"]),
            command(&["ZREM", &ends, "f"]),
            command(&["TIME"]),
            clear.clone(),
        ] {
            let call = Call::new(partition, asked);
            self.link.ask(Access::Write, &call, deadline).await?;
        }
        let scripts = &self.engine.scripts;
        let keys = [bucket, log, head, ends];
        let bytes = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        // The last key of a set and a delete is for deadlines, which these have none of.
        let of_log = [keys[1].clone(), keys[2].clone()];
        for (script, keys, arguments) in [
            (&scripts.set, &keys[..], bytes(&["f", "v", "0", "1"])),
            (&scripts.switch, &of_log[..], bytes(&["0", "1", "1"])),
            (&scripts.set, &keys[..], bytes(&["f", "v", "0", "1"])),
            (&scripts.promise, &of_log[1..], bytes(&["0"])),
            (&scripts.delete, &keys[..], bytes(&["f", "0", "1"])),
        ] {
            let run = scratch_run(script, partition, keys, arguments);
            self.link.ask(Access::Write, &run.whole(), deadline).await?;
        }
        let call = Call::new(partition, clear);
        self.link.ask(Access::Write, &call, deadline).await?;
        Ok(())
    }
}

fn scratch_run<'a>(
    script: &'a Script,
    partition: usize,
    keys: &[String],
    arguments: Vec<Vec<u8>>,
) -> Run<'a> {
    Run {
        script,
        partition,
        keys: keys.to_vec(),
        arguments,
    }
}

fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(words);
    command
}

pub(super) fn text_or_verbatim(reply: Reply) -> Option<String> {
    match reply {
        Reply::VerbatimString { text, .. } => Some(text),
        reply => String::from_utf8(text(reply).ok()?).ok(),
    }
}
