//! All processes: the Job, the state of the command: for the context of hooks and for the termination message.

use crate::outcome::Outcome;
use std::{
    ffi::OsString,
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
    pub command: Vec<String>,
    /// When wrapper itself was started.
    pub wrapper_started: Instant,
    /// When the command was started, and how long it ran, if it did.
    pub started_at: Option<SystemTime>,
    pub elapsed: Option<Duration>,
    /// Outcome of the command, once it has ended.
    pub outcome: Option<Outcome>,
    /// The first signal that asked wrapper itself to stop.
    pub stop_signal: Option<u8>,
}

impl Job {
    /// A Job with this command, in a wrapper that was started then.
    pub fn new(command: &[OsString], wrapper_started: Instant) -> Self {
        let command = command.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        Self { command, wrapper_started, started_at: None, elapsed: None, outcome: None, stop_signal: None }
    }

    /// Runs the command and notes when and how long.
    pub fn run(&mut self, run: impl FnOnce() -> Outcome) -> Outcome {
        let (started_at, start) = (SystemTime::now(), Instant::now());
        let outcome = run();
        if !matches!(outcome, Outcome::NotStarted { .. }) {
            self.started_at = Some(started_at);
            self.elapsed = Some(start.elapsed());
        }
        outcome
    }

    pub fn command_name(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }

    pub fn end(&mut self, outcome: Outcome, stop_signal: Option<u8>) {
        self.outcome = Some(outcome);
        self.stop_signal = stop_signal;
    }
}
