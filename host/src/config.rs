//! Supervisor: the settings of a run, as data. `cli` fills them in, and `main` passes them on.

use crate::{
    exit_codes::ExitCodes,
    hook::{Common, Listed},
    log,
    supervise::{self, Leftovers},
    witness,
};
use humantime::format_duration;
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// All settings of a run, checked.
#[derive(Debug)]
pub struct Config {
    /// With none this is the witness of other containers.
    pub command: Vec<OsString>,
    pub before: Vec<Listed>,
    pub after: Vec<Listed>,
    /// Settings that hold for all hooks.
    pub common: Common,
    pub hooks_disabled: bool,
    pub hook_failure_counts: bool,
    pub exit_codes: ExitCodes,
    pub supervision: supervise::Settings,
    /// Time from the pod's SIGTERM to its SIGKILL, if the user has named it.
    pub grace_period: Option<Duration>,
    /// Bytes of the container's memory that a cgroup of its own keeps from the command.
    pub memory_reserve: Option<u64>,
    /// Whether the command gets a span of its own.
    pub trace_context: bool,
    /// The file that the kubelet reads a container's termination message from.
    pub termination_log: Option<PathBuf>,
    pub witness: Option<witness::Settings>,
    pub log: log::Settings,
    /// Warnings about options without an effect.
    pub without_effect: Vec<String>,
    /// For `--check`: the options that are not at their defaults and that it shows nowhere else, each with its value as
    /// it was written.
    pub changed: Vec<(&'static str, String)>,
}

impl Config {
    /// A warning if what may take place after a stop signal takes longer than the grace period.
    pub fn exceeds_grace_period(&self) -> Option<String> {
        let grace_period = self.grace_period?;
        let parts = self.times_of_stop();
        let sum: Duration = parts.iter().map(|(_, time)| *time).sum();
        (sum > grace_period).then(|| {
            let parts: Vec<_> = parts.iter().map(|(part, time)| format!("{part} {}", format_duration(*time))).collect();
            format!(
                "stopping can take {} ({}), which is longer than --grace-period {}; shorten these times, or raise \
                 terminationGracePeriodSeconds and --grace-period",
                format_duration(sum),
                parts.join(" + "),
                format_duration(grace_period)
            )
        })
    }

    /// How long it may take to stop, if the command's time for that is limited.
    pub fn longest_stop(&self) -> Option<Duration> {
        self.supervision.stop_timeout.map(|_| self.times_of_stop().iter().map(|(_, time)| *time).sum())
    }

    /// What may take place after a stop signal, and for how long.
    fn times_of_stop(&self) -> Vec<(&'static str, Duration)> {
        let hooks: Duration = self.after.iter().map(|hook| hook.settings.timeout.value).sum();
        let leftovers = (self.supervision.leftovers != Leftovers::Ignore).then_some(self.supervision.leftovers_timeout);
        let parts = [
            ("--stop-timeout", self.supervision.stop_timeout),
            ("--leftovers-timeout", leftovers),
            ("after-hooks", Some(hooks).filter(|hooks| !hooks.is_zero())),
        ];
        parts.into_iter().filter_map(|(part, time)| Some((part, time?))).collect()
    }
}
