//! Memory of wrapper's own processes: the supervisor, and those that it forks to validate, compile and run hooks.

use super::{Done, LOOK, Run, processes};
use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// Runs the command to its end and says how many MiB were resident at most in one of its processes.
///
/// The kernel keeps the peak (VmHWM) of each, so looking now and then is enough for all but the last moment.
pub fn peak(command: Command) -> (Done, u64) {
    let running = command.running();
    let (pid, ended) = (running.pid(), AtomicBool::new(false));
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !ended.load(Ordering::Relaxed) {
                for process in children(pid).into_iter().chain([pid]) {
                    // A process that has just been forked still has wrapper's name, and so has one of the same program.
                    if processes::status(process, "Name").is_some_and(|name| name == "wrapper") {
                        peak = peak.max(high_water(process));
                    }
                }
                thread::sleep(LOOK / 5);
            }
            peak
        });
        let done = running.done();
        ended.store(true, Ordering::Relaxed);
        (done, watch.join().unwrap() / 1024)
    })
}

fn children(pid: i32) -> Vec<i32> {
    match std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        Ok(children) => children.split_whitespace().filter_map(|child| child.parse().ok()).collect(),
        Err(_) => processes::Process::children(pid).into_iter().map(|process| process.pid).collect(),
    }
}

/// In KiB.
fn high_water(pid: i32) -> u64 {
    processes::status(pid, "VmHWM").and_then(|size| size.strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
