//! wrapper's own value for the OOM killer, and the command's. What the OOM killer makes of them is in tests/kernel.

use crate::harness::{Run, processes::status, wrapper};
use std::fs;

const LINE: &str = "wrapper: the OOM killer can kill wrapper together with the command: no CAP_SYS_RESOURCE\n";

/// Whether this process, and so a wrapper that it starts, has the capability.
fn is_capable() -> bool {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let effective = status(std::process::id() as i32, "CapEff").unwrap();
    u64::from_str_radix(&effective, 16).unwrap() & CAP_SYS_RESOURCE != 0
}

#[test]
fn the_command_has_the_value_that_wrapper_was_given_and_wrapper_the_lowest_it_may_have() {
    for given in ["0", "500", "1000"] {
        let command = "cat /proc/self/oom_score_adj; exec sleep 30";
        let start = wrapper().with(&["--log", "debug", "sh", "-c", command]);
        let mut run = start.first(move || fs::write("/proc/self/oom_score_adj", given)).running();
        run.until_stdout_has("\n");
        assert_eq!(run.stdout_so_far(), format!("{given}\n"));
        let own = fs::read_to_string(format!("/proc/{}/oom_score_adj", run.pid())).unwrap();
        assert_eq!(own.trim(), if is_capable() { "-1000" } else { given });
    }
}

#[test]
fn without_the_capability_one_debug_line_says_that_wrapper_can_be_killed_with_the_command() {
    let log = |level: &str| wrapper().with(&["--log", level, "true"]).done().stderr;
    assert_eq!(log("debug").matches(LINE).count(), usize::from(!is_capable()));
    assert_eq!(log("info"), "");
}
