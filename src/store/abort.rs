//! The end of a process whose store is no longer whole.

/// What a shell reports of an aborted process.
const ABORTED: i32 = 128 + 6;

/// Why a process ends whose background work fails for good: it would hold sets up for ever.
pub(super) const BROKEN: &str =
    "new keys can no longer be made part of the index, by a defect or damaged memory";

/// Ends the process at once, so that an orchestrator restarts it.
pub(super) fn abort(why: &str) -> ! {
    log::error!("{why}; aborting, since the store is no longer whole");
    log::logger().flush();
    // The system keeps the abort's signal from the first process of a container, and a trap follows,
    // which is another exit code.
    if std::process::id() == 1 {
        std::process::exit(ABORTED);
    }
    std::process::abort()
}
