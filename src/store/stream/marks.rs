//! Where a stream is in the order of an engine outside of this process, whose log the shares of its index follow, each by
//! itself.
//!
//! What a client goes on behind must be known to every server, and where its own process has come to is not. So each share
//! says up to which id all entries of its logs are in the stream, and the lowest of these is a [`Mark`]: nothing that
//! comes later has an id below it.

use super::{Following, Kept, Mark, Origin, Recording, Stream};
use crate::durable::{Append, Position};
use crate::valkey::PARTITIONS;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How far the shares are.
#[derive(Debug)]
pub(super) struct Marks {
    shares: Vec<Share>,
    /// The id of the last entry of each partition's log that is in the stream, or was before its share joined.
    tails: Box<[u64; PARTITIONS]>,
}

/// What a share of an engine's index says of its logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Share {
    /// It does not tell of them yet, or not any more, since it has to find its own way first.
    Away,
    /// They have no updates.
    Off,
    /// Up to there they are told.
    Told(Mark),
}

/// What the shares say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Attendance {
    /// All that is changed is told of.
    Whole,
    /// Some log has no updates.
    Off,
    /// Some share is away.
    Partial,
}

/// What a share tells of its logs.
#[derive(Debug)]
pub(in crate::store) struct News {
    /// The changes.
    pub(in crate::store) append: Append,
    /// Of the partitions that they are of, the id of the last entry.
    pub(in crate::store) tails: Vec<(usize, u64)>,
    /// What the engine went through until then, as of [`Mark`].
    pub(in crate::store) history: u64,
}

/// What came before a place at which somebody follows, by the logs of an engine.
#[derive(Clone, Debug)]
pub(in crate::store) struct Before {
    /// The id of the last entry of each partition's log.
    pub(in crate::store) tails: Box<[u64; PARTITIONS]>,
    /// No entry that comes has an id up to this one.
    pub(in crate::store) until: u64,
}

impl Marks {
    fn new(shares: usize) -> Self {
        Self {
            shares: vec![Share::Away; shares],
            tails: Box::new([0; PARTITIONS]),
        }
    }

    /// Up to where all shares have told; `None` where not all do.
    pub(super) fn mark(&self) -> Option<Mark> {
        let mut all = Mark {
            history: 0,
            at: u64::MAX,
        };
        for share in &self.shares {
            let Share::Told(mark) = share else {
                return None;
            };
            all.history ^= mark.history;
            all.at = all.at.min(mark.at);
        }
        Some(all)
    }

    /// Has all shares join anew.
    pub(super) fn forget(&mut self) {
        self.shares.fill(Share::Away);
    }

    fn note(&mut self, tails: &[(usize, u64)]) {
        for (partition, tail) in tails {
            self.tails[*partition] = *tail;
        }
    }

    fn attendance(&self) -> Attendance {
        if self.shares.contains(&Share::Off) {
            Attendance::Off
        } else if self.shares.contains(&Share::Away) {
            Attendance::Partial
        } else {
            Attendance::Whole
        }
    }
}

impl Kept {
    /// Where a position is in the order of an engine: up to which id all entries are before it.
    pub(super) fn mark(&self, position: Position) -> Option<Mark> {
        let marks = self.marks.as_ref()?;
        if position < self.start {
            return None;
        }
        let next = self.turns.partition_point(|turn| turn.end <= position);
        match self.turns.get(next) {
            Some(turn) => turn.mark,
            None => marks.mark(),
        }
    }
}

impl Stream {
    /// Says that so many shares of an engine's index have the changes. As [`begin`](Self::begin) before there are any.
    pub(in crate::store) fn begin_with_shares(&self, incarnation: u64, shares: usize) {
        self.lock().marks = Some(Marks::new(shares));
        self.has_marks.store(true, Ordering::Release);
        self.begin(Origin {
            incarnation,
            start: 0,
            first: Position(0),
            log: None,
        });
    }

    /// Whether somebody follows now.
    pub(in crate::store) fn is_followed(&self) -> bool {
        self.recording().is_some() && self.lock().followers > 0
    }

    /// What the shares say.
    pub(in crate::store) fn attendance(&self) -> Attendance {
        let kept = self.lock();
        let marks = kept.marks.as_ref();
        marks.map_or(Attendance::Partial, Marks::attendance)
    }

    /// Has a share join a recording: what it has not told of until then has ids above those of the last entries that it
    /// gives. Whether it is still that recording.
    pub(in crate::store) fn attend(
        &self,
        recording: Recording,
        share: usize,
        mark: Mark,
        tails: &[(usize, u64)],
    ) -> bool {
        let mut kept = self.lock();
        if self.recording() != Some(recording) {
            return false;
        }
        if let Some(marks) = &mut kept.marks {
            marks.shares[share] = Share::Told(mark);
            marks.note(tails);
        }
        true
    }

    /// Takes what a share tells that has joined a recording.
    pub(in crate::store) fn tell(&self, recording: Recording, share: usize, news: News) {
        let News {
            append,
            tails,
            history,
        } = news;
        let mut kept = self.lock();
        if self.recording() != Some(recording) {
            return;
        }
        if let Some(marks) = &mut kept.marks {
            // Before they are told: whoever has them may go on only where the engine has them too.
            if let Share::Told(mark) = &mut marks.shares[share] {
                mark.history = history;
            }
            marks.note(&tails);
        }
        let end = Position(kept.end.0 + u64::from(append.records));
        self.keep(&mut kept, end, append);
        self.end_if_left(&mut kept);
    }

    /// A share that has joined a recording has told up to there.
    pub(in crate::store) fn advance(&self, recording: Recording, share: usize, mark: Mark) {
        let mut kept = self.lock();
        if self.recording() == Some(recording)
            && let Some(marks) = &mut kept.marks
            && matches!(marks.shares[share], Share::Told(_))
        {
            marks.shares[share] = Share::Told(mark);
        }
    }

    /// A share cannot tell any more what comes next, or could not from the beginning. Where it did, those who follow
    /// have to begin anew.
    pub(in crate::store) fn leave_out(&self, share: usize, now: Share) {
        let mut kept = self.lock();
        let Some(marks) = &mut kept.marks else {
            return;
        };
        let before = std::mem::replace(&mut marks.shares[share], now);
        if !matches!(before, Share::Told(_)) {
            return;
        }
        kept.turns = VecDeque::new();
        self.count(&mut kept, 0);
        kept.end.0 += 1;
        kept.start = kept.end;
        self.end.send_replace(kept.end);
    }

    /// Follows from here on, and says what is before; `None` where not all shares tell.
    pub(in crate::store) fn follow_told(self: &Arc<Self>) -> Option<(Following, Before)> {
        let mut kept = self.lock();
        let marks = kept.marks.as_ref()?;
        let before = Before {
            tails: marks.tails.clone(),
            until: marks.mark()?.at,
        };
        self.join(&mut kept);
        Some((self.following(kept.end), before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::write_removed;
    use crate::model::{Key, Revision};
    use crate::store::stream::{FollowError, Place, Seen};
    use futures_util::FutureExt;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::ops::ControlFlow;

    const SHARES: usize = 3;

    fn stream() -> Arc<Stream> {
        let stream = Stream::new(1 << 20);
        stream.begin_with_shares(7, SHARES);
        Arc::new(stream)
    }

    fn told(at: u64) -> Mark {
        Mark { history: 5, at }
    }

    /// News of entries of one partition of a share, whose keys are their ids.
    fn news(share: usize, ids: &[u64]) -> News {
        let mut content = Vec::new();
        for id in ids {
            let key = Key::parse(id.to_string().into(), 20).unwrap();
            write_removed(&key, Revision(*id), &mut content);
        }
        News {
            append: Append {
                shard: share as u32,
                records: ids.len() as u32,
                content,
            },
            tails: ids.last().map(|last| (share, *last)).into_iter().collect(),
            history: 5,
        }
    }

    fn attend_all(stream: &Stream, at: u64) -> Recording {
        let recording = stream.recording().unwrap();
        for share in 0..SHARES {
            assert!(stream.attend(recording, share, told(at), &[(share, at)]));
        }
        recording
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// An entry comes to the log of a share.
        Entry(usize),
        /// A share reads what its log has, and tells.
        Tell(usize),
        /// A share says how far it is.
        Advance(usize),
        Look(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..SHARES).prop_map(Step::Entry),
            3 => (0..SHARES).prop_map(Step::Tell),
            3 => (0..SHARES).prop_map(Step::Advance),
            3 => (1_usize..5).prop_map(Step::Look),
        ]
    }

    proptest! {
        #[test]
        fn all_entries_up_to_a_mark_were_given_before_it(steps in prop::collection::vec(step(), 1..120)) {
            let stream = stream();
            let mut following = stream.follow().unwrap();
            let recording = attend_all(&stream, 1);
            let mut last = 1;
            let mut unread: Vec<Vec<u64>> = vec![Vec::new(); SHARES];
            let mut all = BTreeSet::new();
            let mut given = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Entry(share) => {
                        last += 1;
                        all.insert(last);
                        unread[share].push(last);
                    }
                    Step::Tell(share) if !unread[share].is_empty() => {
                        let ids = std::mem::take(&mut unread[share]);
                        stream.tell(recording, share, news(share, &ids));
                    }
                    // As of a promise that was made now.
                    Step::Advance(share) if unread[share].is_empty() => {
                        stream.advance(recording, share, told(last));
                    }
                    Step::Tell(_) | Step::Advance(_) => {}
                    Step::Look(most) => {
                        let mut marks = Vec::new();
                        let mut seen = 0;
                        following.look(|change| {
                            if seen == most {
                                return ControlFlow::Break(());
                            }
                            seen += 1;
                            let id = std::str::from_utf8(change.key()).unwrap().parse::<u64>().unwrap();
                            given.insert(id);
                            marks.push((change.place, given.clone()));
                            ControlFlow::Continue(())
                        });
                        marks.push((following.place(), given.clone()));
                        for (place, given) in marks {
                            let mark = place.mark().unwrap();
                            // That of three which are alike, by exclusive or.
                            prop_assert_eq!(mark.history, 5);
                            let lacking = all.range(..=mark.at).find(|id| !given.contains(id));
                            prop_assert_eq!(lacking, None, "{:?}", mark);
                            let text: Place = place.to_string().parse().unwrap();
                            prop_assert_eq!(text.mark(), Some(mark));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn where_nothing_comes_a_place_is_known_of_later_and_later_times() {
        let stream = stream();
        let following = stream.follow().unwrap();
        let recording = attend_all(&stream, 10);
        let place = following.place();
        assert_eq!(place.mark(), Some(told(10)));
        for share in 0..SHARES {
            stream.advance(recording, share, told(20 + share as u64));
        }
        assert_eq!(following.place(), place);
        assert_eq!(following.renewed(place).mark(), Some(told(20)));
        // Who does not take part any more says nothing.
        stream.advance(Recording::default(), 0, told(99));
        assert_eq!(following.place().mark(), Some(told(20)));
    }

    #[test]
    fn those_who_follow_begin_anew_where_a_share_cannot_go_on() {
        let stream = stream();
        let mut following = stream.follow().unwrap();
        let place = following.place();
        assert_eq!(
            (place.mark(), stream.attendance()),
            (None, Attendance::Partial)
        );
        assert!(stream.follow_told().is_none());
        // What was never told is missed by nobody.
        stream.leave_out(0, Share::Off);
        assert_eq!(stream.attendance(), Attendance::Off);
        assert_eq!(following.look(|_| ControlFlow::Continue(())), Seen::Nothing);
        let recording = attend_all(&stream, 10);
        stream.tell(recording, 1, news(1, &[11, 12]));
        let (_other, before) = stream.follow_told().unwrap();
        assert_eq!(before.tails[..SHARES], [10, 12, 10]);
        // The others may have an entry of 11 yet.
        assert_eq!(before.until, 10);
        stream.leave_out(2, Share::Away);
        assert_eq!(following.look(|_| ControlFlow::Continue(())), Seen::Gone);
        assert_eq!(following.place().mark(), None);
        let resumed = stream.follow_after(place).now_or_never().unwrap();
        assert!(resumed.is_err_and(|error| error == FollowError::Gone));
        assert_eq!(stream.attendance(), Attendance::Partial);
    }
}
