//! Supervisor: waits for children, in one place: the command, our own helpers, and every orphan that comes to us as PID
//! 1 or as subreaper.

use crate::outcome::{CpuTime, Outcome, Usage};
use rustix::process::Pid;
use std::{os::unix::process::ExitStatusExt, process, time::Duration};

/// Exit status of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Exited(u8),
    Killed { signal: u8, core_dumped: bool },
}

/// Change of a child's state.
pub enum ChildEvent {
    Ended(ExitStatus, Usage),
    /// It was stopped, not ended, by this signal: SIGSTOP, or what a terminal sends.
    Stopped(i32),
}

/// The next child whose state has changed, if there is one by now.
pub fn next() -> Option<(Pid, ChildEvent)> {
    loop {
        let (pid, status, usage) = wait()?;
        if let Some(change) = read(status, usage) {
            return Some((pid, change));
        }
    }
}

/// Status of a child that has changed, and what it has used (wait4(2), for which rustix has no function).
#[allow(unsafe_code, reason = "a system call, which gets two valid places to write to")]
fn wait() -> Option<(Pid, process::ExitStatus, Usage)> {
    let mut status = 0;
    // SAFETY: it has numbers only, and zero is one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places are valid for writes.
    let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED, &raw mut usage) };
    // 0: nothing has changed; -1: there are no children.
    let pid = Pid::from_raw(pid.max(0))?;
    Some((pid, process::ExitStatus::from_raw(status), usage_of(&usage)))
}

/// getrusage(2): memory is in KiB.
fn usage_of(usage: &libc::rusage) -> Usage {
    let time = |time: libc::timeval| {
        let (seconds, microseconds) = (u64::try_from(time.tv_sec).ok()?, u64::try_from(time.tv_usec).ok()?);
        Some(Duration::from_secs(seconds) + Duration::from_micros(microseconds))
    };
    let cpu_time = time(usage.ru_utime).zip(time(usage.ru_stime)).map(|(user, system)| CpuTime { user, system });
    Usage { peak_memory: u64::try_from(usage.ru_maxrss).ok().and_then(|kib| kib.checked_mul(1024)), cpu_time }
}

fn read(status: process::ExitStatus, usage: Usage) -> Option<ChildEvent> {
    if let Some(signal) = status.stopped_signal() {
        return Some(ChildEvent::Stopped(signal));
    }
    let ended = match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Exited(u8::try_from(code).ok()?),
        (_, Some(signal)) => {
            ExitStatus::Killed { signal: u8::try_from(signal).ok()?, core_dumped: status.core_dumped() }
        }
        _ => return None,
    };
    Some(ChildEvent::Ended(ended, usage))
}

impl From<ExitStatus> for Outcome {
    fn from(ended: ExitStatus) -> Self {
        match ended {
            ExitStatus::Exited(status) => Self::Exited(status),
            ExitStatus::Killed { signal, core_dumped } => Self::Killed { signal, core_dumped },
        }
    }
}
