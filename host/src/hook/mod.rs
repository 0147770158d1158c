//! Hooks: from the names in the configuration to reports of how they ended.
//!
//! The supervisor's process only reads a hook's bytes. They are parsed and compiled in `prepare`, and run in
//! `runner`, each a process of its own, so that nothing that came from outside is interpreted beside the exit code.

#[cfg(debug_assertions)]
mod breach;
mod check;
mod context;
mod engine;
mod failure;
mod handover;
mod heap;
mod http;
mod jail;
mod limits;
mod load;
mod memory;
mod output;
mod prepare;
mod refused;
mod report;
mod runner;
mod share;
mod turn;

pub use context::{Moment, Phase};
pub use http::{Allow, Rule};
pub use load::{Source, load};
pub use report::{Report, Verdict};

use crate::{
    cli::Config,
    log::{self, Level, Line},
    supervise::{Ended, Heard, Patience, Supervisor, Waited, exit_now, fork_helper, name},
    words::words,
};
use load::Hook;
use nix::errno::Errno;
use prepare::{FORK_AGAIN, Judged};
use rustix::process::Pid;
use std::{
    panic::set_hook,
    time::{Duration, Instant},
};

/// The hooks that could be read.
pub struct Hooks {
    before: Vec<Hook>,
    after: Vec<Hook>,
    /// The first of those that were named that could not be read or is no hook.
    refused: Option<String>,
}

impl Hooks {
    /// Has the hooks checked, and goes on to have them compiled while the command runs. What is no hook is named in
    /// the log and taken out. What could not be judged in time stays: the command does not start, and the sidecar is
    /// asked to quit all the same.
    pub fn check(&mut self, config: &Config, supervisor: &mut Supervisor) {
        if self.before.is_empty() && self.after.is_empty() {
            return;
        }
        let mut hooks: Vec<&mut Hook> = self.before.iter_mut().chain(&mut self.after).collect();
        let mut judged = prepare::start(&mut hooks, config, supervisor).into_iter();
        let stopped = supervisor.stop_signal().is_some();
        let refused = &mut self.refused;
        let mut may_run = |hook: &Hook| {
            let judged = judged.next().unwrap_or(Judged::Unknown);
            if judged == Judged::Unfit || (judged == Judged::Unknown && !stopped) {
                refused.get_or_insert_with(|| hook.label.clone());
            }
            judged != Judged::Unfit
        };
        self.before.retain(&mut may_run);
        self.after.retain(&mut may_run);
    }

    /// The first hook that was named and cannot run.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Runs the hooks of a phase in their order and says how each of them ended. A failing hook does not keep an
    /// after-hook from running; the first one that fails before the command is the last to run.
    pub fn run(&self, phase: Phase, config: &Config, moment: &Moment, supervisor: &mut Supervisor) -> Vec<Report> {
        let hooks = self.of(phase);
        let mut reports: Vec<Report> = Vec::new();
        for (index, hook) in hooks.iter().enumerate() {
            let start = Instant::now();
            let due = moment.outcome().is_none_or(|outcome| hook.when.follows(outcome));
            let refused =
                phase == Phase::Before && (reports.iter().any(Report::failed) || supervisor.stop_signal().is_some());
            let verdict = if !due || supervisor.impatient() || refused {
                log::debug(|| format!("plugin skipped: {}", hook.name));
                Verdict::Skipped
            } else {
                let facts = moment.facts(phase, &hook.name, index + 1, hooks.len(), config.hook_timeout);
                run_one(hook, config, facts, supervisor)
            };
            reports.push(Report { hook: hook.name.clone(), phase, verdict, duration: start.elapsed() });
        }
        reports
    }

    fn of(&self, phase: Phase) -> &[Hook] {
        match phase {
            Phase::Before => &self.before,
            Phase::After => &self.after,
        }
    }
}

/// Runs one hook in a process of its own and says how it ended.
fn run_one(hook: &Hook, config: &Config, facts: context::Facts, supervisor: &mut Supervisor) -> Verdict {
    let start = Instant::now();
    let line = |level, message: &str| Line::new(level, message).about(&hook.label).field("phase", facts.phase.name());
    line(Level::Debug, "plugin start").write();
    let patience = match facts.phase {
        Phase::Before => Patience::None,
        Phase::After => Patience::Once,
    };
    let waited = match launch(hook, config, &facts, patience, supervisor) {
        Ok(Some(runner)) => supervisor.wait(runner, facts.deadline, patience),
        Ok(None) => Waited::Interrupted,
        Err(errno) => {
            line(Level::Error, &format!("cannot run: cannot fork: {}", words(errno))).write();
            return Verdict::Failed;
        }
    };
    let (verdict, untold) = match waited {
        // If there is something to say, the runner itself has said it.
        Waited::Ended(Ended::Exited(runner::SUCCEEDED)) => (Verdict::Succeeded, None),
        Waited::Ended(Ended::Exited(code)) if let Some(limit) = failure::out_of_memory(code, config) => {
            (Verdict::Failed, Some(limit))
        }
        Waited::Ended(Ended::Exited(_)) => (Verdict::Failed, None),
        Waited::Ended(Ended::Killed { signal, .. }) => {
            (Verdict::Crashed, Some(format!("crashed: {}", name(signal.into()))))
        }
        Waited::TimedOut => {
            let limit = humantime::format_duration(config.hook_timeout);
            (Verdict::TimedOut, Some(format!("timed out after {limit}; --plugin-timeout gives it more time")))
        }
        Waited::Interrupted => (Verdict::EndedEarly, Some("ended early: wrapper was told to stop".into())),
    };
    if let Some(problem) = &untold {
        line(Level::Error, problem).field("outcome", "failed").field("duration", seconds(start)).write();
    }
    let outcome = if verdict == Verdict::Succeeded { "succeeded" } else { "failed" };
    let finish = line(Level::Debug, &format!("plugin finish: {outcome} after {:?}", start.elapsed()));
    finish.field("outcome", outcome).field("duration", seconds(start)).write();
    verdict
}

/// Starts the process that runs the hook, once its code is there; again and again while there may be no more processes
/// for the moment. Nothing is started if the wrapper is told to stop meanwhile.
fn launch(
    hook: &Hook,
    config: &Config,
    facts: &context::Facts,
    patience: Patience,
    supervisor: &mut Supervisor,
) -> Result<Option<Pid>, Errno> {
    if let Some(preparation) = &hook.preparation
        && preparation.wait(hook, facts.deadline, patience, supervisor) == Heard::Interrupted
    {
        return Ok(None);
    }
    loop {
        match fork_helper(|| exit_now(runner::run(hook, config, facts))) {
            Err(errno) if prepare::passes(errno) && Instant::now() + FORK_AGAIN < facts.deadline => {
                if supervisor.wait_for(None, Instant::now() + FORK_AGAIN, patience) == Heard::Interrupted {
                    return Ok(None);
                }
            }
            result => return result.map(Some),
        }
    }
}

fn seconds(since: Instant) -> f64 {
    log::seconds(since.elapsed())
}

/// A panic is a bug of ours; it is told in one line, whatever `RUST_BACKTRACE` says.
pub fn report_panics_in_one_line() {
    set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("panic");
        let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
        log::error(format!("internal error: {text}{}", place.unwrap_or_default()));
    }));
}

/// How long the supervisor waits for a hook to be checked: reading 32 MiB of WebAssembly takes under two seconds,
/// and on a starved node ten times that.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
