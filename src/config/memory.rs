//! How much memory there is to use.

use std::fs;
use std::path::{Path, PathBuf};

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
    let limits = [group_limit(Path::new("/")), machine_memory()];
    limits.into_iter().flatten().min().unwrap_or(UNKNOWN_BYTES)
}

/// The least limit of this process' control group and those around it, of either version, wherever
/// they are mounted. `root` is where `/proc` and the mounts are.
fn group_limit(root: &Path) -> Option<usize> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        // hierarchy:controllers:path; version 2 has no controllers.
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let is_legacy = controllers.split(',').any(|name| name == "memory");
        if !is_legacy && !controllers.is_empty() {
            return None;
        }
        let (mount, mounted) = mount_of(&mounts, is_legacy)?;
        // The mount may show a part of the tree only, as in a container.
        let within = Path::new(group).strip_prefix(&mounted);
        let within = within.unwrap_or(Path::new(group).strip_prefix("/").ok()?);
        let top = root.join(mount.strip_prefix("/").ok()?);
        let file = if is_legacy {
            "memory.limit_in_bytes"
        } else {
            "memory.max"
        };
        let around = within.ancestors();
        around
            .filter_map(|group| number_in(&top.join(group).join(file)))
            .min()
    });
    limits.min()
}

/// Where a hierarchy of control groups is mounted, and which part of it.
fn mount_of(mounts: &str, is_legacy: bool) -> Option<(PathBuf, PathBuf)> {
    mounts.lines().find_map(|line| {
        // id parent device root point options … - type source options
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (mounted, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let kind = after.next()?;
        let is_it = if is_legacy {
            let options = after.nth(1).unwrap_or_default();
            kind == "cgroup" && options.split(',').any(|option| option == "memory")
        } else {
            kind == "cgroup2"
        };
        is_it.then(|| (point.into(), mounted.into()))
    })
}

fn machine_memory() -> Option<usize> {
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let line = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn number_in(path: &Path) -> Option<usize> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "33 23 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      34 23 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";

    fn limit_with(name: &str, groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<usize> {
        let root =
            std::env::temp_dir().join(format!("kvstore-groups-{}-{name}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/self/cgroup", groups);
        write("proc/self/mountinfo", mounts);
        files.iter().for_each(|(path, text)| write(path, text));
        let limit = group_limit(&root);
        fs::remove_dir_all(&root).unwrap();
        limit
    }

    #[test]
    fn the_least_limit_around_the_process_is_found_in_every_kind_of_group() {
        let nested = [
            ("sys/fs/cgroup/a/memory.max", "2000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/c/memory.max", "3000\n"),
        ];
        assert_eq!(limit_with("v2", "0::/a/b/c\n", V2, &nested), Some(2000));
        assert_eq!(limit_with("v2 root", "0::/\n", V2, &nested), None);
        let container = [("sys/fs/cgroup/memory.max", "5000\n")];
        assert_eq!(
            limit_with("v2 container", "0::/\n", V2, &container),
            Some(5000)
        );
        let groups = "5:memory:/a/b\n4:cpu,cpuacct:/a\n0::/\n";
        let nested = [
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4000\n"),
            (
                "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("sys/fs/cgroup/cpu/a/memory.limit_in_bytes", "1\n"),
        ];
        assert_eq!(limit_with("v1", groups, V1, &nested), Some(4000));
        // In a container without a namespace of its own the mount shows its part of the tree.
        let mounts = V1.replace("0:30 / ", "0:30 /docker/x ");
        let own = [("sys/fs/cgroup/memory/memory.limit_in_bytes", "6000\n")];
        assert_eq!(
            limit_with("v1 docker", "5:memory:/docker/x\n", &mounts, &own),
            Some(6000)
        );
        // Both versions beside each other.
        let mounts = V1.to_owned() + &V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ");
        let groups = "5:memory:/a\n0::/a\n";
        assert_eq!(limit_with("hybrid", groups, &mounts, &nested), Some(4000));
        assert_eq!(limit_with("none", "", "", &[]), None);
    }
}
