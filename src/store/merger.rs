//! The threads that do the key maps' jobs, beside the actors.
//!
//! Four for the whole process, whatever the number of shards: one for jobs that writes may wait
//! for, one for jobs of milliseconds, one for jobs of seconds, one for longer ones, so that none
//! waits behind larger ones. All but the first run at low priority.

use crate::keymap::{Finish, Job, Lane, Outcome};
use actix::{Message, Recipient};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// How far the threads stand back, in steps of `nice`.
const NICENESS: i32 = 10;

/// The threads' queues. They end when this is dropped and the queues are empty.
#[derive(Debug)]
pub(super) struct Merger {
    urgent: Sender<Work>,
    small: Sender<Work>,
    middle: Sender<Work>,
    large: Sender<Work>,
}

/// What became of a job that a shard handed out.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct JobDone(pub(super) Outcome);

/// A job, and the shard that hears of its end.
struct Work(Job, Recipient<JobDone>);

impl Merger {
    /// Starts the threads.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(super) fn start() -> io::Result<Self> {
        Ok(Self {
            urgent: start_lane("kvstore-freeze", 0)?,
            small: start_lane("kvstore-merge", NICENESS)?,
            middle: start_lane("kvstore-merge-m", NICENESS)?,
            large: start_lane("kvstore-merge-l", NICENESS)?,
        })
    }

    /// Does a job; the shard hears of it by [`JobDone`].
    pub(super) fn run(&self, job: Job, shard: Recipient<JobDone>) {
        let sent = self.queue(job.lane()).send(Work(job, shard));
        sent.expect("a merge thread outlives the queues, since it catches the jobs' panics");
    }

    /// Has a shard's map take in what a job came to. Whether the job has ended; else it goes on, and the
    /// shard hears again.
    pub(super) fn end(
        &self,
        outcome: Outcome,
        shard: Recipient<JobDone>,
        finish: impl FnOnce(Outcome) -> Finish,
    ) -> bool {
        if let Some(why) = outcome.failure() {
            log::error!("a job of a shard failed: {why}; its keys stay where they were");
        }
        match finish(outcome) {
            Finish::Done => true,
            Finish::Again(job) => {
                self.run(job, shard);
                false
            }
        }
    }

    fn queue(&self, lane: Lane) -> &Sender<Work> {
        match lane {
            Lane::Urgent => &self.urgent,
            Lane::Small => &self.small,
            Lane::Middle => &self.middle,
            Lane::Large => &self.large,
        }
    }
}

fn start_lane(name: &str, niceness: i32) -> io::Result<Sender<Work>> {
    let (sender, receiver) = channel();
    thread::Builder::new()
        .name(name.into())
        .spawn(move || work_off(&receiver, niceness))?;
    Ok(sender)
}

fn work_off(queue: &Receiver<Work>, niceness: i32) {
    if let Err(error) = rustix::process::nice(niceness) {
        log::warn!("merges run at normal priority: {error}");
    }
    for Work(job, shard) in queue {
        shard.do_send(JobDone(job.run()));
    }
}
