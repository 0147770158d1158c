//! All processes: the result of the command, and the exit code for it.

use crate::text::choose;
use std::{fmt, str::FromStr, time::Duration};

/// Exit code for a command that did not exit within its time limit, whatever it did when it was stopped. timeout(1)
/// uses the same.
const TIMED_OUT: u8 = 124;

/// Exit code for wrapper's own errors: an invalid option, a hook that cannot be loaded, a process that cannot be
/// created. A helper that fails uses it too. `env`, `timeout` and `nohup` use the same number for theirs.
pub const WRAPPER_FAILED: u8 = 125;

/// The command was found but cannot be executed (POSIX, "Exit Status for Commands").
pub const CANNOT_EXECUTE: u8 = 126;

/// The command was not found (the same).
pub const NOT_FOUND: u8 = 127;

/// Outcome of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Exited(u8),
    Killed {
        signal: u8,
        core_dumped: bool,
    },
    /// The command never ran; `code` is what a shell would report for the reason.
    NotStarted {
        reason: String,
        code: u8,
    },
}

/// Why the command ended, where more is known than its outcome says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The kernel killed it, or a process that it started, because memory was short.
    OutOfMemory,
    /// It still ran at the end of its time limit.
    TimedOut,
}

impl Cause {
    /// Its name in JSON and in the environment of programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutOfMemory => "out-of-memory",
            Self::TimedOut => "timed-out",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfMemory => "out of memory",
            Self::TimedOut => "out of time",
        })
    }
}

/// What the command used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The most memory at one time, in bytes.
    pub peak_memory: Option<u64>,
    pub cpu_time: Option<CpuTime>,
}

/// Processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTime {
    pub user: Duration,
    pub system: Duration,
}

/// How the command ended, and what is known beside its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub outcome: Outcome,
    /// The container's exit code, unless a hook that fails changes it.
    pub exit_code: u8,
    /// Whether the outcome counts as success.
    pub succeeded: bool,
    pub cause: Option<Cause>,
    pub usage: Usage,
    /// Processes that it left behind, if they were counted.
    pub leftovers: Option<u32>,
}

impl Ending {
    /// The ending of a command that ran.
    pub fn new(outcome: Outcome, cause: Option<Cause>, usage: Usage) -> Self {
        let ending = Self { cause, usage, ..outcome.into() };
        match cause {
            Some(Cause::TimedOut) => Self { exit_code: TIMED_OUT, succeeded: false, ..ending },
            _ => ending,
        }
    }
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        let (exit_code, succeeded) = (outcome.exit_code(), outcome == Outcome::Exited(0));
        Self { outcome, exit_code, succeeded, cause: None, usage: Usage::default(), leftovers: None }
    }
}

/// The outcomes of the command after which hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOn {
    Always,
    Success,
    /// A command that never ran has failed.
    Failure,
}

impl FromStr for RunOn {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        choose(text, &[("always", Self::Always), ("success", Self::Success), ("failure", Self::Failure)])
    }
}

impl RunOn {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }

    pub fn applies_to(self, ending: &Ending) -> bool {
        match self {
            Self::Always => true,
            Self::Success => ending.succeeded,
            Self::Failure => !ending.succeeded,
        }
    }
}

impl Outcome {
    pub fn not_started(reason: impl Into<String>, code: u8) -> Self {
        Self::NotStarted { reason: reason.into(), code }
    }

    /// Its name in JSON and in the environment of programs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Exited(_) => "exited",
            Self::Killed { .. } => "killed",
            Self::NotStarted { .. } => "not-started",
        }
    }

    pub fn exit_code(&self) -> u8 {
        match *self {
            Self::Exited(status) => status,
            Self::Killed { signal, .. } => killed_by(signal),
            Self::NotStarted { code, .. } => code,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with {status}"),
            Self::Killed { signal, .. } => write!(f, "was killed by signal {signal}"),
            Self::NotStarted { reason, .. } => write!(f, "was not started: {reason}"),
        }
    }
}

/// Exit code that a shell reports for a process killed by a signal. wrapper never kills itself with the signal: as PID
/// 1 it cannot.
pub fn killed_by(signal: u8) -> u8 {
    signal.saturating_add(128)
}

/// wrapper's exit code. A failed hook changes it only with `--plugin-failure fail`, and only if the command succeeded.
pub fn exit_code(ending: &Ending, hook_failed: bool, hook_failure_counts: bool) -> u8 {
    match ending.exit_code {
        0 if hook_failed && hook_failure_counts => WRAPPER_FAILED,
        code => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_the_exit_code_a_shell_would_report() {
        for status in 0..=255 {
            assert_eq!(Outcome::Exited(status).exit_code(), status);
        }
        for signal in 1..=64 {
            assert_eq!(Outcome::Killed { signal, core_dumped: signal % 2 == 0 }.exit_code(), 128 + signal);
        }
        assert_eq!(Outcome::not_started("No such file or directory", NOT_FOUND).exit_code(), 127);
    }

    #[test]
    fn a_failed_hook_changes_the_exit_code_only_if_configured_and_if_the_command_succeeded() {
        let not_started = Outcome::not_started("", CANNOT_EXECUTE);
        for (outcome, failed, counts, code) in [
            (Outcome::Exited(0), false, true, 0),
            (Outcome::Exited(0), true, false, 0),
            (Outcome::Exited(0), true, true, WRAPPER_FAILED),
            (Outcome::Exited(7), true, true, 7),
            (Outcome::Killed { signal: 9, core_dumped: false }, true, true, 137),
            (not_started, true, true, 126),
        ] {
            let ending = Ending::from(outcome);
            assert_eq!(exit_code(&ending, failed, counts), code, "{ending:?} {failed} {counts}");
        }
    }
}
