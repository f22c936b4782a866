//! Changes that wait for room, and when they go on.

use super::share::{Share, Wanted};
use super::{ShardActor, TURN};
use actix::Context;
use std::time::Instant;

impl ShardActor {
    /// Whether a change may go on: there is room for it, and not too much waits for the disk.
    pub(super) fn may_write(&self, wanted: Wanted) -> bool {
        let unsynced = self.share.unsynced.as_ref();
        let is_busy = unsynced.is_some_and(|unsynced| unsynced.journal().is_busy());
        !is_busy && self.share.has_room(wanted)
    }

    /// Makes the changes that waited for room and have it; single ones before bulk, which needs more, and
    /// after those by a filter, which need none.
    pub(super) fn go_on_with_held(&mut self, context: &mut Context<Self>) {
        let mut began = None;
        while let Some(wanted) = self.wanted_by_held() {
            if !self.may_write(wanted) {
                if self.share.waits_for_compaction(wanted) {
                    self.shared.want_room();
                }
                break;
            }
            self.carry_out_held();
            self.follow_up(context);
            if began.get_or_insert_with(Instant::now).elapsed() > TURN {
                return self.pause(context);
            }
        }
    }

    /// Makes the next of the changes that wait.
    fn carry_out_held(&mut self) {
        if let Some(ask) = self.turn.held_erase.pop_front() {
            self.erase(ask);
        } else if let Some(ask) = self.turn.held.pop_front() {
            self.change(ask);
        } else if let Some(ask) = self.turn.held_bulk.pop_front() {
            self.change_many(ask);
        }
    }

    /// What the next of the changes waits for that wait.
    fn wanted_by_held(&self) -> Option<Wanted> {
        if !self.turn.held_erase.is_empty() {
            return Some(Wanted::NOTHING);
        }
        let single = self.turn.held.front();
        let single = single.map(|ask| self.share.wanted(&ask.message.mutation));
        let bulk = || self.turn.held_bulk.front();
        single.or_else(|| bulk().map(|ask| Share::wanted_in_bulk(&ask.message.mutations)))
    }
}
