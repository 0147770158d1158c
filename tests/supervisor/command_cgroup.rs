//! --memory-reserve where no cgroup can be made for the command. What it does where one can is in tests/kernel.

use crate::harness::{Run, skipped, wrapper};
use std::path::Path;

/// Whether the machine has cgroup v2 alone; some of its processes may then make cgroups.
fn has_version_2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[test]
fn without_cgroup_v2_the_command_runs_and_one_warning_says_so() {
    if has_version_2() {
        return skipped("this machine has cgroup v2");
    }
    let option = wrapper().with(&["--memory-reserve", "16MiB", "sh", "-c", "exit 7"]);
    let mut variable = wrapper().with(&["sh", "-c", "exit 7"]);
    variable.env("WRAPPER_MEMORY_RESERVE", "0");
    for run in [option, variable] {
        let done = run.done();
        assert_eq!(done.code(), 7);
        assert_eq!(done.line(), "wrapper: --memory-reserve has no effect: /sys/fs/cgroup is not cgroup v2");
    }
}

#[test]
fn without_the_option_there_is_no_warning() {
    let done = wrapper().with(&["--log", "debug", "sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 7);
    assert!(!done.stderr.contains("cgroup") && !done.stderr.contains("memory-reserve"), "{done:?}");
}
