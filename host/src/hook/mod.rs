//! Supervisor: hooks, from their names in the configuration to reports of their results.
//!
//! The supervisor only reads a hook's bytes. They are checked and compiled in `compiler` and run in `runner`, each a
//! process of its own, so that nothing untrusted is interpreted in the process that decides the exit code.

mod address;
mod allow_list;
mod built_in;
mod compiler;
mod compilers;
mod description;
mod engine;
mod handover;
mod load;
mod overview;
mod report;
mod runner;
mod settings;
mod spec;
mod target;
mod unknown;

pub use allow_list::AllowList;
pub use built_in::names as built_in_names;
pub use compiler::contract::VERSION as CONTRACT;
pub use load::load;
pub use overview::{built_in as built_in_hooks, built_in_as_text, inspected, listed as overview, summary};
pub use report::{Report, Verdict};
pub use settings::{Common, Digest, FORBIDDEN_METHODS, Purpose, Setting, Settings, Variables};
pub use spec::{Listed, Spec};
pub use target::without_secrets;
pub use unknown::variables as unknown_variables;

use crate::{
    job::{Job, Phase},
    log::{self, Label, Level, Line},
    supervise::{ExitStatus, SIGKILL, StopPolicy, Supervisor, WaitResult, exit_now, fork_helper, name},
    text::strerror,
};
use compilers::Validity;
use load::Hook;
use nix::errno::Errno;
use runner::Context;
use rustix::process::Pid;
use std::time::{Duration, Instant};

/// Which after-hooks are for this process to run, where others of the pod have the same.
pub trait Share {
    /// Whether to run the hook at this place, which is due otherwise.
    fn is_due(&mut self, place: usize, hook: &Label, settings: &Settings, supervisor: &mut Supervisor) -> bool;

    /// This hook has succeeded.
    fn succeeded(&mut self, hook: &Label);
}

/// The hooks that could be read.
pub struct Hooks {
    before: Vec<Hook>,
    after: Vec<Hook>,
    /// The first listed hook that could not be read, could not be checked, or is not a hook.
    unusable: Option<Label>,
}

impl Hooks {
    /// Checks the hooks and starts compiling them while the command runs. Invalid ones are logged and removed. One that
    /// could not be checked in time stays: the command does not start, but the sidecar is still asked to quit.
    pub fn check(&mut self, common: &Common, supervisor: &mut Supervisor) {
        if self.before.is_empty() && self.after.is_empty() {
            return;
        }
        let mut hooks: Vec<&mut Hook> = self.before.iter_mut().chain(&mut self.after).collect();
        let mut validities = compilers::check_all(&mut hooks, common, supervisor).into_iter();
        let stopped = supervisor.stop_signal().is_some();
        let unusable = &mut self.unusable;
        let mut may_run = |hook: &mut Hook| {
            let validity = validities.next().unwrap_or(Validity::Unknown);
            if validity == Validity::Invalid || (validity == Validity::Unknown && !stopped) {
                unusable.get_or_insert_with(|| hook.label.clone());
            }
            hook.valid &= validity == Validity::Valid;
            validity != Validity::Invalid || common.purpose != Purpose::Run
        };
        self.before.retain_mut(&mut may_run);
        self.after.retain_mut(&mut may_run);
    }

    /// The first listed hook that cannot run.
    pub fn unusable(&self) -> Option<&Label> {
        self.unusable.as_ref()
    }

    /// The after-hooks, in their order.
    pub fn after(&self) -> impl Iterator<Item = (&Label, &Settings)> {
        self.after.iter().map(|hook| (&hook.label, &*hook.settings))
    }

    /// Runs the hooks of a phase in their order; returns the result of each. After the command a failed hook does not
    /// keep the next from running; before it the first one that fails is the last to run.
    pub fn run(
        &self,
        phase: Phase,
        common: &Common,
        job: &Job,
        supervisor: &mut Supervisor,
        share: &mut impl Share,
    ) -> Vec<Report> {
        let hooks = self.of(phase);
        let mut reports: Vec<Report> = Vec::new();
        for (index, hook) in hooks.iter().enumerate() {
            let start = Instant::now();
            let applies = job.ending.as_ref().is_none_or(|ending| hook.settings.run_on.applies_to(ending));
            let before_failed = phase == Phase::Before && reports.iter().any(Report::failed);
            let skipped = !applies
                || before_failed
                || supervisor.is_stopping(policy(phase))
                || (phase == Phase::After && !share.is_due(index, &hook.label, &hook.settings, supervisor));
            let verdict = if skipped {
                let line = Line::new(Level::Debug, "skipped").about_hook(&hook.label).field("phase", phase.as_str());
                line.field("verdict", Verdict::Skipped.as_str()).write();
                Verdict::Skipped
            } else {
                let context = Context::new(job, phase, hook, index + 1, hooks.len());
                run_one(hook, common, context, supervisor)
            };
            if phase == Phase::After && verdict == Verdict::Succeeded {
                share.succeeded(&hook.label);
            }
            let (hook, optional) = (hook.label.name.clone(), hook.settings.optional);
            reports.push(Report { hook, phase, verdict, duration: start.elapsed(), optional });
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

/// Runs one hook in a process of its own; returns its verdict.
fn run_one(hook: &Hook, common: &Common, context: Context, supervisor: &mut Supervisor) -> Verdict {
    let start = Instant::now();
    let line =
        |level, message: &str| Line::new(level, message).about_hook(&hook.label).field("phase", context.phase.as_str());
    line(Level::Debug, "started").write();
    let policy = policy(context.phase);
    let waited = match start_runner(hook, common, &context, policy, supervisor) {
        Ok(Some(runner)) => supervisor.wait(runner, context.deadline, policy),
        Ok(None) => WaitResult::Interrupted,
        Err(errno) => {
            let verdict = Verdict::Failed;
            let problem = format!("{}: cannot fork: {}", verdict.as_str(), strerror(errno));
            line(Level::Error, &problem).field("verdict", verdict.as_str()).write();
            return verdict;
        }
    };
    let (verdict, problem) = match waited {
        // The runner itself has logged the reason.
        WaitResult::Ended(ExitStatus::Exited(code)) => (
            Verdict::of(code),
            report::out_of_memory(code, &hook.settings, common.scarce_address_space).map(|why| format!(": {why}")),
        ),
        WaitResult::Ended(ExitStatus::Killed { signal, .. }) => {
            // Nothing else sends it SIGKILL, and it is the OOM killer's first choice.
            let memory =
                if i32::from(signal) == SIGKILL { ", perhaps because the container is out of memory" } else { "" };
            (Verdict::Crashed, Some(format!(": {}{memory}", name(signal.into()))))
        }
        WaitResult::TimedOut => {
            let Setting { value, by } = &hook.settings.timeout;
            let limit = humantime::format_duration(*value);
            (Verdict::TimedOut, Some(format!(" after {limit}; raise {by}")))
        }
        WaitResult::Interrupted => (Verdict::EndedEarly, Some(": wrapper was asked to stop".into())),
    };
    let ended = |level, how: &str| {
        let line = line(level, &format!("{}{how}", verdict.as_str())).field("verdict", verdict.as_str());
        line.field("duration", seconds(start)).write();
    };
    match &problem {
        Some(problem) => ended(Level::Error, problem),
        None => ended(Level::Debug, &format!(" after {} ms", start.elapsed().as_millis())),
    }
    let blocks_command = !matches!(verdict, Verdict::Succeeded | Verdict::EndedEarly);
    if hook.settings.optional && context.phase == Phase::Before && blocks_command {
        let variable = hook.settings.variables.named("OPTIONAL");
        line(Level::Warn, &format!("starting the command anyway: {variable} is true")).write();
    }
    verdict
}

/// Starts the process that runs the hook, once its code is ready; retries while no more processes can be created.
/// Nothing is started once wrapper is asked to stop.
fn start_runner(
    hook: &Hook,
    common: &Common,
    context: &Context,
    policy: StopPolicy,
    supervisor: &mut Supervisor,
) -> Result<Option<Pid>, Errno> {
    if let Some(compiler) = &hook.compiler {
        compiler.wait(hook, context.deadline, policy, supervisor);
    }
    supervisor.start_in_time(context.deadline, policy, |_| fork_helper(|| exit_now(runner::run(hook, common, context))))
}

/// Meaning of signals while a hook of this phase runs.
fn policy(phase: Phase) -> StopPolicy {
    match phase {
        Phase::Before => StopPolicy::EndOnFirst,
        Phase::After => StopPolicy::EndOnSecond,
    }
}

fn seconds(since: Instant) -> f64 {
    log::seconds(since.elapsed())
}

/// Time limit for checking hooks. 32 MiB of WebAssembly take under two seconds; the rest is for a starved node.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
