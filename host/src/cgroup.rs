//! Supervisor and compiler: what the container's cgroup leaves for compiling, and whether the OOM killer was there.
//!
//! In a container its own cgroup is usually the root of what is mounted, so limits of the pod around it are not seen;
//! elsewhere /proc says which it is (cgroups(7)).

use std::{fs, path::Path};

/// Where cgroups are mounted.
pub const MOUNTED: &str = "/sys/fs/cgroup";

/// Bytes between the container's memory in use and its limit; nothing without one.
pub fn memory_left() -> Option<u64> {
    let left = |limit: String, used: String| {
        let bytes = |text: String| text.trim().parse::<u64>().ok();
        Some(bytes(limit)?.saturating_sub(bytes(used)?))
    };
    let version_2 = read_both("", "memory.max", "memory.current");
    let version_1 = read_both("memory", "memory.limit_in_bytes", "memory.usage_in_bytes");
    version_2.into_iter().chain(version_1).filter_map(|(limit, used)| left(limit, used)).min()
}

/// CPUs that the container may use, on average of some 100 ms; nothing without a limit.
pub fn cpus() -> Option<f64> {
    // "max" and "-1" are no limit.
    let cpus = |quota: &str, period: &str| {
        let [quota, period] = [quota, period].map(|time| time.trim().parse::<u32>().ok());
        // The kernel gives no less.
        Some((f64::from(quota?) / f64::from(period?)).max(0.001))
    };
    let version_2 = read_both("", "cpu.max", "cpu.max").into_iter().filter_map(|(limit, _)| {
        let (quota, period) = limit.split_once(' ')?;
        cpus(quota, period)
    });
    let version_1 = read_both("cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us");
    let version_1 = version_1.iter().filter_map(|(quota, period)| cpus(quota, period));
    version_2.chain(version_1).min_by(f64::total_cmp)
}

/// Processes in the container's cgroup that the OOM killer has ended since the cgroup was made. Version 2 only: in
/// version 1 the cgroup that is found may be the whole machine's.
pub fn oom_kills() -> u64 {
    folders("").iter().find_map(|folder| oom_kills_in(folder.as_ref())).unwrap_or(0)
}

/// The same, of one cgroup.
pub fn oom_kills_in(folder: &Path) -> Option<u64> {
    number(folder, "memory.events", "oom_kill ")
}

/// The number behind this key in a file of a cgroup.
pub fn number(folder: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(folder.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.parse().ok())
}

/// Two files of each cgroup that this process is in.
fn read_both(controller: &str, one: &str, other: &str) -> Vec<(String, String)> {
    let read = |folder: &str, file: &str| fs::read_to_string(format!("{folder}/{file}")).ok();
    folders(controller).iter().filter_map(|folder| Some((read(folder, one)?, read(folder, other)?))).collect()
}

/// Where the cgroups may be mounted that this process is in, the innermost first: of the one hierarchy of version 2, or
/// of a controller of version 1.
fn folders(controller: &str) -> Vec<String> {
    let listed = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = listed.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|listed| listed == controller).then_some(path)
    });
    // The last one is the root, which is the container's own where the path is not one of those that are mounted.
    let cgroups = Path::new(path.unwrap_or("/")).ancestors();
    cgroups.map(|cgroup| format!("{MOUNTED}/{controller}{}", cgroup.display())).collect()
}
