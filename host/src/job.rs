//! All processes: the Job, the state of the command: for the context of hooks and for the termination message.

use crate::{
    outcome::{Ending, Outcome},
    trace::Trace,
};
use std::{
    ffi::OsString,
    os::unix::ffi::OsStrExt,
    time::{Duration, Instant, SystemTime},
};

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Before,
    After,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// What is known of the Job so far.
#[derive(Clone, Debug)]
pub struct Job {
    /// The command and its arguments, each with a zero at its end as in `/proc/PID/cmdline`. They are read where a hook
    /// asks for them.
    pub command: Vec<u8>,
    /// When wrapper itself was started.
    pub wrapper_started: Instant,
    /// When the command was started, and how long it ran, if it did.
    pub started_at: Option<SystemTime>,
    pub elapsed: Option<Duration>,
    /// How the command ended, once it has.
    pub ending: Option<Ending>,
    /// The first signal that asked wrapper itself to stop.
    pub stop_signal: Option<u8>,
    pub trace: Trace,
}

impl Job {
    /// A Job with this command, in a wrapper that was started then.
    pub fn new(command: &[OsString], wrapper_started: Instant) -> Self {
        let command = command.iter().flat_map(|arg| arg.as_bytes().iter().chain(&[0])).copied().collect();
        Self {
            command,
            wrapper_started,
            started_at: None,
            elapsed: None,
            ending: None,
            stop_signal: None,
            trace: Trace::default(),
        }
    }

    /// Runs the command and notes when and how long.
    pub fn time(&mut self, run: impl FnOnce() -> Ending) -> Ending {
        let (started_at, start) = (SystemTime::now(), Instant::now());
        let ending = run();
        if !matches!(ending.outcome, Outcome::NotStarted { .. }) {
            self.started_at = Some(started_at);
            self.elapsed = Some(start.elapsed());
        }
        ending
    }

    /// The command and its arguments as text.
    pub fn arguments(&self) -> impl Iterator<Item = String> {
        let arguments = self.command.strip_suffix(&[0]).unwrap_or(&self.command);
        let count = if self.command.is_empty() { 0 } else { usize::MAX };
        arguments.split(|byte| *byte == 0).take(count).map(|argument| String::from_utf8_lossy(argument).into_owned())
    }

    pub fn end(&mut self, ending: Ending, stop_signal: Option<u8>) {
        self.ending = Some(ending);
        self.stop_signal = stop_signal;
    }
}
