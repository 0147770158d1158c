//! How a hook ended, for the exit code and for the termination message.

use super::Phase;
use std::time::Duration;

/// What became of one hook that was due at its phase.
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
    /// Whether it ran and did not succeed, and that matters.
    pub fn failed(&self) -> bool {
        !self.optional && !matches!(self.verdict, Verdict::Succeeded | Verdict::Skipped)
    }
}

/// The one vocabulary for how hooks end, in the log and in the termination message.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Succeeded,
    /// It returned an error or trapped; its process has logged why.
    Failed,
    /// It returned the error that says that its settings have to be changed first.
    Misconfigured,
    TimedOut,
    /// Its process died of a signal that the wrapper did not send.
    Crashed,
    /// The wrapper was told to stop, and could not wait.
    EndedEarly,
    /// It was not its turn: another end of the command, a gate before it that failed, a wrapper in a hurry.
    Skipped,
}

impl Verdict {
    pub fn name(self) -> &'static str {
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
