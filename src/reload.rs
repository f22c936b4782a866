//! Files that are taken anew when they change, without a restart.
//!
//! They are read every second rather than watched: Kubernetes changes what it mounts by swapping a link two folders
//! above it, of which whoever watches the file hears nothing, and they are some kilobytes. What they hold is compared and
//! not when they were written, which two writes may share.

use crate::digest::{Sha256, sha256};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::Signal;

/// How long it is between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Something that files say.
pub(crate) trait Source: Debug + Send + Sync {
    /// The files.
    fn paths(&self) -> Vec<&Path>;

    /// What was in them when they were taken first.
    fn loaded(&self) -> &Fingerprint;

    /// Takes anew what they say, and returns that in words. Where they say nothing right, what was in force stays so.
    ///
    /// # Errors
    /// What is wrong with them.
    fn reload(&self) -> Result<String, String>;
}

/// What was in some files, as far as telling it from something else takes; `None` of one that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<Option<Sha256>>);

impl Fingerprint {
    /// That of what is in the files now.
    pub(crate) fn of(paths: &[&Path]) -> Self {
        let read = |path: &&Path| std::fs::read(path).ok().map(|bytes| sha256(&bytes));
        Self(paths.iter().map(read).collect())
    }
}

/// Takes each source anew when its files change, and all of them when the process is told to by `SIGHUP`, for ever.
pub(crate) async fn watch(sources: Vec<Arc<dyn Source>>, mut hangups: Signal) {
    let mut seen: Vec<Fingerprint> = sources
        .iter()
        .map(|source| source.loaded().clone())
        .collect();
    loop {
        let is_told = tokio::select! {
            Some(()) = hangups.recv() => true,
            () = tokio::time::sleep(PERIOD) => false,
        };
        for (source, seen) in sources.iter().zip(&mut seen) {
            // Before they are read for what they say: what changes in between is seen the next time.
            let found = Fingerprint::of(&source.paths());
            if is_told || found != *seen {
                *seen = found;
                report(source.reload());
            }
        }
    }
}

fn report(reloaded: Result<String, String>) {
    match reloaded {
        Ok(says) => log::info!("read again: {says}"),
        Err(error) => {
            log::error!("{error}. What was read before stays in force until this is mended")
        }
    }
}
