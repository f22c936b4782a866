//! The threads that do the key maps' jobs, beside the actors.
//!
//! Four for the whole process, whatever the number of shards: one for jobs that writes may wait
//! for, one for jobs of milliseconds, one for jobs of seconds, one for longer ones, so that none
//! waits behind larger ones. All but the first run at low priority.

use crate::keymap::{Finish, Job, Lane, Outcome, Retired};
use actix::{Message, Recipient};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

enum Work {
    Run(Job, Recipient<JobDone>),
    Drop(Retired),
}

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
        send(self.queue(job.lane()), Work::Run(job, shard));
    }

    /// Has a shard's map take in what a job came to. What it no longer needs is dropped in the queue
    /// that the job was in: behind larger jobs it would pile up. Whether the job has ended; else it
    /// goes on, and the shard hears again.
    pub(super) fn end(
        &self,
        outcome: Outcome,
        shard: Recipient<JobDone>,
        finish: impl FnOnce(Outcome) -> Finish,
    ) -> bool {
        if let Some(why) = outcome.failure() {
            log::error!("a job of a shard failed: {why}; its keys stay where they were");
        }
        let lane = outcome.lane();
        match finish(outcome) {
            Finish::Done(retired) => {
                send(self.queue(lane), Work::Drop(retired));
                true
            }
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

fn send(lane: &Sender<Work>, work: Work) {
    let sent = lane.send(work);
    sent.expect("a merge thread outlives the queues, since it catches the jobs' panics");
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
    for work in queue {
        match work {
            Work::Run(job, shard) => shard.do_send(JobDone(job.run())),
            // A panic here would end the thread, and with it every shard.
            Work::Drop(retired) => {
                let dropped = catch_unwind(AssertUnwindSafe(|| drop(retired)));
                if dropped.is_err() {
                    log::error!("what a merge replaced could not be dropped; its memory is lost");
                }
            }
        }
    }
}
