//! How much memory there is to use.

use std::fs;

/// What is assumed where the system does not say, in bytes.
const UNKNOWN_BYTES: usize = 1024 * 1024 * 1024;

/// The default of `store_bytes_max`: 60 % of the memory limit in force, which is the control
/// group's or the machine's.
pub(super) fn default_bound() -> usize {
    limit() / 10 * 6
}

/// The default of `buffers_bytes_max`: an eighth of the memory limit in force, and 64 MiB at least.
pub(super) fn default_buffers() -> usize {
    (limit() / 8).max(64 * 1024 * 1024)
}

/// The memory limit in force, in bytes.
fn limit() -> usize {
    let limits = [group_limit(), legacy_group_limit(), machine_memory()];
    limits.into_iter().flatten().min().unwrap_or(UNKNOWN_BYTES)
}

/// The least limit of this process' control group and those around it (version 2).
fn group_limit() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut group = format!("/sys/fs/cgroup{}", path.trim_end_matches('/'));
    let mut least = None;
    while group.starts_with("/sys/fs/cgroup") {
        let limit = number_in(&format!("{group}/memory.max"));
        least = [least, limit].into_iter().flatten().min();
        let parent = group.rfind('/').unwrap_or(0);
        group.truncate(parent);
    }
    least
}

/// The limit of the control group (version 1).
fn legacy_group_limit() -> Option<usize> {
    number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes")
}

fn machine_memory() -> Option<usize> {
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let line = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn number_in(path: &str) -> Option<usize> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
