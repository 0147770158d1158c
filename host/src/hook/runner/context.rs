//! What a hook learns: the facts about the command, as typed functions of `wrapper:hook` and as variables for
//! programs that know nothing of it.

use super::{State, output::Output};
use crate::{
    environment,
    hook::{load::Hook, settings::Variables},
    log::{Label, Level, Line},
    outcome::Outcome,
};
use bindings::wrapper::hook::{context, logging};
use std::{
    ffi::OsString,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub mod bindings {
    // The world without its `wasi:…` imports, which come from wasmtime's own crates.
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package wrapper:host;
            world hook {
                import wrapper:hook/context@0.1.0;
                import wrapper:hook/logging@0.1.0;
                export wrapper:hook/run@0.1.0;
            }
        ",
        world: "wrapper:host/hook",
        exports: { default: async },
    });
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Before,
    After,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// A Job as it goes on: what can be told about it at each moment.
#[derive(Clone, Debug)]
pub struct Moment {
    command: Vec<String>,
    began: Instant,
    started_at: Option<SystemTime>,
    elapsed: Option<Duration>,
    outcome: Option<Outcome>,
    stop_signal: Option<u8>,
}

impl Moment {
    /// A Job with this command, in a wrapper that was started then.
    pub fn begin(command: &[OsString], began: Instant) -> Self {
        let command = command.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        Self { command, began, started_at: None, elapsed: None, outcome: None, stop_signal: None }
    }

    /// Runs the command and notes when and how long.
    pub fn time(&mut self, run: impl FnOnce() -> Outcome) -> Outcome {
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

    /// How long the command ran, if it did.
    pub fn elapsed(&self) -> Option<Duration> {
        self.elapsed
    }

    /// The first signal that asked the wrapper itself to stop.
    pub fn stop_signal(&self) -> Option<u8> {
        self.stop_signal
    }

    /// How the command ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    pub fn finish(&mut self, outcome: Outcome, stop_signal: Option<u8>) {
        self.outcome = Some(outcome);
        self.stop_signal = stop_signal;
    }

    /// The facts for one hook, whose time begins now.
    pub fn facts(&self, phase: Phase, hook: &Hook, number: usize, count: usize) -> Facts {
        let deadline = Instant::now() + hook.settings.timeout.value;
        Facts { moment: self.clone(), phase, hook: hook.label.clone(), number, count, deadline }
    }
}

/// All that one hook can ask for.
#[derive(Clone, Debug)]
pub struct Facts {
    moment: Moment,
    pub phase: Phase,
    pub hook: Label,
    number: usize,
    count: usize,
    /// When the hook is killed.
    pub deadline: Instant,
}

impl Facts {
    /// The variables a hook sees: those named `HOOK_…` that are not another hook's, the ones the operator listed for all
    /// hooks, and then the facts, which so cannot be forged.
    ///
    /// `EXIT_CODE` and `EXIT_STATUS` are named as systemd names them for `ExecStopPost=`.
    pub fn variables(&self, named: &Variables, listed: &[String]) -> Vec<(String, String)> {
        let is_listed = |name: &str| listed.iter().any(|listed| listed == name);
        let mut variables: Vec<(String, String)> = environment::variables()
            .filter_map(|variable| str::from_utf8(variable).ok()?.split_once('='))
            .filter(|(name, _)| (name.starts_with("HOOK_") && !named.hide(name)) || is_listed(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        // Output becomes lines of a log, where colours are control characters (no-color.org).
        if !variables.iter().any(|(name, _)| name == "NO_COLOR") {
            variables.push(("NO_COLOR".into(), "1".into()));
        }
        let moment = &self.moment;
        let mut facts = vec![("WRAPPER_PHASE", self.phase.name().to_owned())];
        if let Some(outcome) = &moment.outcome {
            let status = match outcome {
                Outcome::Exited(status) => status,
                Outcome::Killed { signal, .. } => signal,
                Outcome::NotStarted { code, .. } => code,
            };
            facts.extend([("EXIT_CODE", outcome.name().to_owned()), ("EXIT_STATUS", status.to_string())]);
            if let Outcome::NotStarted { reason, .. } = outcome {
                facts.push(("WRAPPER_REASON", reason.clone()));
            }
        }
        if let Some(elapsed) = moment.elapsed {
            facts.push(("WRAPPER_ELAPSED_MS", elapsed.as_millis().to_string()));
        }
        if let Some(started_at) = moment.started_at {
            facts.push(("WRAPPER_STARTED_AT_MS", since_epoch(started_at).as_millis().to_string()));
        }
        if let Some(signal) = moment.stop_signal {
            facts.push(("WRAPPER_STOP_SIGNAL", signal.to_string()));
        }
        facts.push(("WRAPPER_COMMAND", moment.command.join(" ")));
        variables.retain(|(name, _)| !facts.iter().any(|(fact, _)| fact == name));
        variables.extend(facts.into_iter().map(|(name, value)| (name.into(), value)));
        variables
    }

    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// 64 bits of nanoseconds last for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl context::Host for State {
    fn get_phase(&mut self) -> context::Phase {
        match self.facts.phase {
            Phase::Before => context::Phase::Before,
            Phase::After => context::Phase::After,
        }
    }

    fn get_command(&mut self) -> Vec<String> {
        self.facts.moment.command.clone()
    }

    fn get_outcome(&mut self) -> Option<context::Outcome> {
        Some(match self.facts.moment.outcome.clone()? {
            Outcome::Exited(status) => context::Outcome::Exited(status),
            Outcome::Killed { signal, core_dumped } => {
                context::Outcome::Killed(context::Killed { signal, core_dumped })
            }
            Outcome::NotStarted { reason, code } => {
                context::Outcome::NotStarted(context::NotStarted { reason, exit_code: code })
            }
        })
    }

    fn get_stop_signal(&mut self) -> Option<u8> {
        self.facts.moment.stop_signal
    }

    fn get_started_at(&mut self) -> Option<u64> {
        self.facts.moment.started_at.map(|time| nanoseconds(since_epoch(time)))
    }

    fn get_elapsed(&mut self) -> Option<u64> {
        self.facts.moment.elapsed.map(nanoseconds)
    }

    fn get_uptime(&mut self) -> u64 {
        nanoseconds(self.facts.moment.began.elapsed())
    }

    fn get_time_left(&mut self) -> u64 {
        nanoseconds(self.facts.time_left())
    }

    fn get_name(&mut self) -> String {
        self.facts.hook.name.clone()
    }

    fn get_position(&mut self) -> context::Position {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        context::Position { number: number(self.facts.number), count: number(self.facts.count) }
    }
}

impl logging::Host for State {
    fn log(&mut self, level: logging::Level, message: String) {
        let level = match level {
            logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error => Level::Error,
        };
        for line in Output::lines(&message) {
            self.output.admit(line, |line| Line::new(level, line).said_by(&self.facts.hook).write());
        }
    }
}
