//! Supervisor: waits for children, in one place: the command, our own helpers, and every orphan that comes to us as PID
//! 1 or as subreaper.

use crate::outcome::Outcome;
use rustix::{
    io::Errno,
    process::{Pid, WaitOptions, WaitStatus, wait},
};

/// Exit status of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Exited(u8),
    Killed { signal: u8, core_dumped: bool },
}

/// Change of a child's state.
pub enum ChildEvent {
    Ended(ExitStatus),
    /// It was stopped, not ended, by this signal: SIGSTOP, or what a terminal sends.
    Stopped(i32),
}

/// The next child whose state has changed, if there is one by now.
pub fn next() -> Option<(Pid, ChildEvent)> {
    loop {
        match wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(Some((pid, status))) => {
                if let Some(change) = read(status) {
                    return Some((pid, change));
                }
            }
            Err(Errno::INTR) => {}
            // Nothing has changed, or there are no children.
            Ok(None) | Err(_) => return None,
        }
    }
}

fn read(status: WaitStatus) -> Option<ChildEvent> {
    /// The bit of a wait status for a core dump (wait(2), WCOREDUMP).
    const CORE: i32 = 0x80;
    if let Some(signal) = status.stopping_signal() {
        return Some(ChildEvent::Stopped(signal));
    }
    let ended = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Exited(u8::try_from(code).ok()?),
        (_, Some(signal)) => {
            ExitStatus::Killed { signal: u8::try_from(signal).ok()?, core_dumped: status.as_raw() & CORE != 0 }
        }
        _ => return None,
    };
    Some(ChildEvent::Ended(ended))
}

impl From<ExitStatus> for Outcome {
    fn from(ended: ExitStatus) -> Self {
        match ended {
            ExitStatus::Exited(status) => Self::Exited(status),
            ExitStatus::Killed { signal, core_dumped } => Self::Killed { signal, core_dumped },
        }
    }
}
