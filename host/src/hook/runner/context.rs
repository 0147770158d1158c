//! Supervisor and runner: the context of a hook: the Job, as typed values and as variables for programs that do not
//! know wrapper. `Context::new` runs in the supervisor, when the hook's time begins; everything else in the runner.

use crate::{
    hook::{
        load::{Hook, readable},
        settings::Variables,
    },
    job::{Job, Phase},
    log::Label,
    outcome::{CpuTime, Outcome},
};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The context of one hook.
#[derive(Clone, Debug)]
pub struct Context {
    pub job: Job,
    pub phase: Phase,
    pub hook: Label,
    pub number: usize,
    pub count: usize,
    /// When the hook is killed.
    pub deadline: Instant,
}

impl Context {
    /// The context of one hook, whose time begins now.
    pub fn new(job: &Job, phase: Phase, hook: &Hook, number: usize, count: usize) -> Self {
        let deadline = Instant::now() + hook.settings.timeout.value;
        Self { job: job.clone(), phase, hook: hook.label.clone(), number, count, deadline }
    }

    /// The container's variables that a hook sees.
    pub fn inherited_variables(named: &Variables, granted: &[&str]) -> Vec<(String, String)> {
        let readable = readable(named, granted);
        let mut variables: Vec<_> = readable.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        // Output is written to the log, where colours are control characters (no-color.org).
        if !variables.iter().any(|(name, _)| name == "NO_COLOR") {
            variables.push(("NO_COLOR".into(), "1".into()));
        }
        variables
    }

    /// The inherited variables, and then those of the Job, which come last so that they cannot be forged.
    ///
    /// `EXIT_CODE` and `EXIT_STATUS` are named as systemd names them for `ExecStopPost=`.
    pub fn variables(&self, mut inherited: Vec<(String, String)>) -> Vec<(String, String)> {
        let job = &self.job;
        let mut own = vec![("WRAPPER_PHASE", self.phase.as_str().to_owned())];
        if let Some(ending) = &job.ending {
            let outcome = &ending.outcome;
            let status = match outcome {
                Outcome::Exited(status) => status,
                Outcome::Killed { signal, .. } => signal,
                Outcome::NotStarted { code, .. } => code,
            };
            own.extend([("EXIT_CODE", outcome.as_str().to_owned()), ("EXIT_STATUS", status.to_string())]);
            if let Outcome::NotStarted { reason, .. } = outcome {
                own.push(("WRAPPER_REASON", reason.clone()));
            }
            own.push(("WRAPPER_EXIT_CODE", ending.exit_code.to_string()));
            own.push(("WRAPPER_SUCCEEDED", ending.succeeded.to_string()));
            own.extend(ending.cause.map(|cause| ("WRAPPER_CAUSE", cause.as_str().to_owned())));
            own.extend(ending.usage.peak_memory.map(|bytes| ("WRAPPER_PEAK_MEMORY", bytes.to_string())));
            own.extend(
                ending
                    .usage
                    .cpu_time
                    .map(|CpuTime { user, system }| ("WRAPPER_CPU_MS", (user + system).as_millis().to_string())),
            );
            own.extend(ending.leftovers.map(|count| ("WRAPPER_LEFTOVERS", count.to_string())));
        }
        if let Some(elapsed) = job.elapsed {
            own.push(("WRAPPER_ELAPSED_MS", elapsed.as_millis().to_string()));
        }
        if let Some(started_at) = job.started_at {
            own.push(("WRAPPER_STARTED_AT_MS", since_epoch(started_at).as_millis().to_string()));
        }
        if let Some(signal) = job.stop_signal {
            own.push(("WRAPPER_STOP_SIGNAL", signal.to_string()));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        own.extend(job.trace.command().map(|span| ("WRAPPER_TRACEPARENT", text(span))));
        own.extend(job.trace.parent().map(|span| ("TRACEPARENT", text(span))));
        own.push(("WRAPPER_COMMAND", job.arguments().collect::<Vec<_>>().join(" ")));
        inherited.retain(|(name, _)| !own.iter().any(|(own, _)| own == name));
        inherited.extend(own.into_iter().map(|(name, value)| (name.into(), value)));
        inherited
    }

    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

pub fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
