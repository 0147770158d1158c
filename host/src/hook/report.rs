//! How a hook ended, for the exit code and for the termination message.

use super::Phase;
use std::time::Duration;

/// What became of one hook that was due at its phase.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name in the log.
    pub hook: String,
    pub phase: Phase,
    pub verdict: Verdict,
    pub duration: Duration,
}

impl Report {
    /// Whether it ran and did not succeed.
    pub fn failed(&self) -> bool {
        !matches!(self.verdict, Verdict::Succeeded | Verdict::Skipped)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Succeeded,
    /// It returned an error or trapped; its process has said why.
    Failed,
    TimedOut,
    /// Its process died of a signal that the wrapper did not send.
    Crashed,
    /// The wrapper was told to stop, and could not wait.
    EndedEarly,
    /// It was not its turn: another end of the command, a gate before it that failed, a wrapper in a hurry.
    Skipped,
}

impl Verdict {
    pub fn words(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Crashed => "crashed",
            Self::EndedEarly => "ended early",
            Self::Skipped => "skipped",
        }
    }
}
