//! Following the changes of an engine outside of this process, from now on or behind a mark that any server gave.

use super::Remote;
use crate::store::replica::{Past, PastError, Round};
use crate::store::stream::{Attendance, Before, FollowError, Following, Mark, Place};
use crate::valkey::Logging;
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How long to wait before it is looked again whether all shares tell of what is changed, and how long where some could
/// not read theirs.
const PAUSE: Duration = Duration::from_millis(2);
const FAILURE_PAUSE: Duration = Duration::from_millis(50);

/// Where somebody goes on: first with what was changed before, if anything was, and then with what the stream has.
#[derive(Debug)]
pub struct Followed {
    /// What was changed before.
    pub past: Option<Box<Past>>,
    /// What is changed from there on.
    pub following: Following,
}

impl Remote {
    /// Follows what is changed from now on.
    ///
    /// # Errors
    /// `Off` and `Starting`.
    pub(in crate::store) async fn follow(&self) -> Result<Following, FollowError> {
        let (following, _) = self.follow_all().await?;
        Ok(following)
    }

    /// Follows from a place on that this server gave, or another.
    ///
    /// # Errors
    /// Any [`FollowError`].
    pub(in crate::store) async fn follow_after(
        &self,
        place: Place,
    ) -> Result<Followed, FollowError> {
        let stream = &self.shared.stream;
        if let Ok(following) = stream.follow_after(place).await {
            return Ok(Followed {
                past: None,
                following,
            });
        }
        let mark = place.mark().ok_or(FollowError::Gone)?;
        let (following, before) = self.follow_all().await?;
        let past = self.past(mark, before).await?;
        Ok(Followed {
            past: Some(Box::new(past)),
            following,
        })
    }

    /// Follows what is changed from now on, of which all shares tell, and says what is before.
    async fn follow_all(&self) -> Result<(Following, Before), FollowError> {
        let stream = &self.shared.stream;
        // Which has all be told from here on, and so is held until it is.
        let waiting = stream.follow()?;
        self.attended().await?;
        // A share may just have left again. Who followed from there on would miss what comes until it is back, unless it
        // is found out in one step with where that is.
        let followed = stream.follow_told();
        drop(waiting);
        followed.ok_or(FollowError::Starting)
    }

    async fn past(&self, mark: Mark, before: Before) -> Result<Past, FollowError> {
        let past = Past::begin(self.client(), mark, before, self.patience).await;
        past.map_err(|error| match error {
            PastError::Gone => FollowError::Gone,
            PastError::Failed(error) => {
                log::debug!("what was changed before could not be read: {error}");
                FollowError::Starting
            }
        })
    }

    /// Waits until all shares tell of what is changed, where somebody follows.
    async fn attended(&self) -> Result<(), FollowError> {
        let deadline = Instant::now() + self.patience;
        let stream = &self.shared.stream;
        loop {
            if stream.attendance() == Attendance::Whole {
                return Ok(());
            }
            let shards = 0..self.actors.len();
            let rounds = shards.map(|shard| self.actors.ask(shard, Round));
            let rounds = timeout_at(deadline, join_all(rounds)).await;
            let is_over = rounds.is_err() || Instant::now() >= deadline;
            let pause = match rounds.iter().flatten().all(Result::is_ok) {
                true => PAUSE,
                false => FAILURE_PAUSE,
            };
            match stream.attendance() {
                Attendance::Whole => return Ok(()),
                // Nobody switches it on.
                Attendance::Off if !self.logs_updates() => return Err(FollowError::Off),
                Attendance::Off | Attendance::Partial if is_over => {
                    return Err(FollowError::Starting);
                }
                Attendance::Off | Attendance::Partial => sleep(pause).await,
            }
        }
    }

    /// Whether this server has updates logged.
    fn logs_updates(&self) -> bool {
        matches!(self.options.logging, Some(Logging::Updates { .. }))
    }
}
