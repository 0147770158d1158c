//! What compiling beside the command may take of the container's memory. The command is what that memory is for.

use std::fs;

/// Of what the container has left when compiling begins, this part. The command has hardly begun by then: what it will
/// need is not known, and a quarter leaves it most.
const PART: u64 = 4;

/// With less the smallest of hooks is not compiled: the engine itself needs a few MiB.
pub const LEAST: u64 = 8 << 20;

/// The limit and the use of a memory cgroup, in version 2 and in version 1.
const FILES: [(&str, &str); 2] =
    [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")];

const CGROUPS: &str = "/sys/fs/cgroup";

/// How many bytes a process that compiles may use, by the container's limit; the most there is without one.
pub fn of_memory() -> u64 {
    left().map_or(u64::MAX, |left| left / PART)
}

/// The bytes between the container's use and its limit. In a container its own cgroup is the root of what is mounted;
/// elsewhere /proc says which it is (cgroups(7)).
fn left() -> Option<u64> {
    let listed = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = listed.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        ["", "memory"].contains(&controllers).then_some(path)
    });
    own.chain([""]).flat_map(|path| FILES.map(|files| left_in(path, files))).flatten().min()
}

fn left_in(cgroup: &str, (limit, used): (&str, &str)) -> Option<u64> {
    let number = |file: &str| {
        let (controller, file) = file.split_once('/').unwrap_or(("", file));
        let text = fs::read_to_string(format!("{CGROUPS}/{controller}{cgroup}/{file}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    Some(number(limit)?.saturating_sub(number(used)?))
}
