//! Whether an engine outside of this process can be used.

use super::Remote;
use crate::store::readiness::{OpenError, Readiness, Troubles};
use std::time::Duration;
use tokio::time::sleep;

/// How long to wait before an engine that could not be reached is tried again at the start.
const START_PAUSE: Duration = Duration::from_millis(200);

/// So many steps of a follower may each take as long as a request while a master hangs.
const STEPS_PATIENT: u32 = 4;

impl Remote {
    pub(in crate::store) fn readiness(&self) -> Readiness {
        let cause = self.options.engine.outage();
        if self.status.is_foreign() {
            Readiness::EngineForeign
        } else if self.status.silence() > self.options.unready_after {
            Readiness::EngineSilent(cause)
        } else if self
            .status
            .is_stuck(self.options.unready_after + self.patience * STEPS_PATIENT)
        {
            Readiness::IndexStuck
        } else if !self.status.is_loaded(self.options.unready_after) {
            Readiness::Loading(cause)
        } else {
            Readiness::Ready(Troubles {
                engine: cause,
                evicts: self.status.evicts(),
                partitions_behind: self.status.behind(),
            })
        }
    }

    /// Waits until the engine can be used, and then has its keys read.
    ///
    /// # Errors
    /// Where it never will without a change of the configuration: it refuses our credentials, holds
    /// data of another layout, or drops keys when it is full.
    pub(in crate::store) async fn open(&self) -> Result<(), OpenError> {
        let client = self.options.engine.client();
        let client = client.map_err(|error| OpenError::Address(error.to_string()))?;
        let fitness = loop {
            match client.fitness(self.patience).await {
                Ok(fitness) => break fitness,
                Err(error) if error.stays() => return Err(OpenError::Refused(error)),
                Err(error) => self.options.engine.failed(error),
            }
            sleep(START_PAUSE).await;
        };
        if fitness.evicts {
            return Err(OpenError::Evicts);
        }
        if let Some(error) = fitness.changes {
            self.options.engine.failed(error);
        }
        self.status.open();
        Ok(())
    }
}
