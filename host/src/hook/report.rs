//! Supervisor: the result of a hook, for the log, the exit code and the termination message.

use super::settings::Settings;
use crate::{
    job::Phase,
    sandbox::{self, heap},
};
use rustix::process::{Resource, getrlimit};
use std::time::Duration;

/// The runner's exit code for success.
pub const SUCCEEDED: u8 = 0;

/// The runner's exit code when the hook returned `misconfigured`: `EX_CONFIG` of sysexits.h.
pub const MISCONFIGURED: u8 = 78;

/// Result of one hook of a phase.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub hook: String,
    pub phase: Phase,
    pub verdict: Verdict,
    pub duration: Duration,
    pub optional: bool,
}

impl Report {
    /// Whether it ran, did not succeed and is not optional.
    pub fn failed(&self) -> bool {
        !self.optional && !matches!(self.verdict, Verdict::Succeeded | Verdict::Skipped)
    }
}

/// How a hook ended, as named in the log and in the termination message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Succeeded,
    /// It returned an error or trapped; its process has logged the reason.
    Failed,
    /// It returned the error for invalid settings.
    Misconfigured,
    TimedOut,
    /// Its process was killed by a signal that wrapper did not send.
    Crashed,
    /// It was killed because wrapper was asked to stop.
    EndedEarly,
    /// It was not run: `--plugin-on` does not match, a before-hook failed, or wrapper was asked to stop.
    Skipped,
}

impl Verdict {
    /// Verdict for the exit code of a runner.
    pub fn of(code: u8) -> Self {
        match code {
            SUCCEEDED => Self::Succeeded,
            MISCONFIGURED => Self::Misconfigured,
            _ => Self::Failed,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Misconfigured => "misconfigured",
            Self::TimedOut => "timed-out",
            Self::Crashed => "crashed",
            Self::EndedEarly => "ended-early",
            Self::Skipped => "skipped",
        }
    }
}

/// Explains exit codes for memory: the process itself had none left to log the reason.
pub fn out_of_memory(code: u8, settings: &Settings, scarce_address_space: bool) -> Option<String> {
    let (ours, by) = (sandbox::runner_memory(settings.memory.value), &settings.memory.by);
    let given = getrlimit(Resource::Data).current.unwrap_or(u64::MAX);
    Some(match code {
        heap::OUT_OF_MEMORY if scarce_address_space => {
            format!(
                "out of memory: loading it takes more address space than ulimit -v allows; raise that or lower {by}"
            )
        }
        heap::OUT_OF_MEMORY if given < ours => {
            format!("out of memory: loading it takes more than {}; raise ulimit -d", mib(given))
        }
        heap::OUT_OF_MEMORY => {
            format!("out of memory: loading it takes more than {}; raise {by}", mib(ours))
        }
        heap::TOO_MUCH_KEPT => format!(
            "out of memory: its memory and what wrapper holds for it (requests, headers, bodies) exceed {}; raise {by}",
            mib(heap::budget(settings.memory.value) as u64)
        ),
        _ => return None,
    })
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
