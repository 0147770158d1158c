//! Supervisor: starts a command, supervises it as a container's init does, and runs hooks when it has exited.
//!
//! The processes, of which the last three are forks of the first:
//! - supervisor: this process. It has one thread, parses no bytes of hooks or peers, and decides the exit code.
//! - compiler: one for each hook with a component. It checks the hook before the command starts, then compiles it.
//! - runner: one for each run of a hook.
//! - command: what wrapper was started for; the fork executes another program.
//!
//! Compilers and runners are *helpers*: processes of our own, confined by `sandbox`. A witness is wrapper without a
//! command in a container of its own: it runs the hooks of other containers that are killed as a whole, see `witness`.
//!
//! `entry.rs` has the C `main`, which calls `run`. `run` and `run_job` take one Job from its arguments to its exit
//! code.
#![cfg_attr(not(test), no_main)]

mod answer;
mod cgroup;
mod check;
mod cli;
mod config;
mod entry;
mod environment;
mod exit_codes;
mod hook;
mod install;
mod job;
mod log;
mod memfd;
mod outcome;
mod sandbox;
/// Times and switches. Compiled from guest-sdk's file, so that options and hooks accept the same.
#[path = "../../guest-sdk/src/values.rs"]
mod sdk_values;
mod supervise;
mod termination_message;
mod text;
mod trace;
mod witness;

use cli::Request;
use config::Config;
use hook::{Hooks, Report};
use job::{Job, Phase};
use outcome::{Ending, Outcome, WRAPPER_FAILED, exit_code, killed_by};
use std::{env, io, time::Instant};
use supervise::{Signals, Supervisor};
use trace::Trace;

fn run() -> u8 {
    // Block signals first, so that none is lost: they stay pending until the command is running. An error is reported
    // below, so that --help and --install work without it.
    let signals = Signals::block_all();
    let started = Instant::now();
    match cli::parse(env::args_os()) {
        Ok(Request::Run(config)) => {
            log::set(config.log);
            cli::warnings(&config).into_iter().for_each(log::warn);
            match signals.map(Supervisor::new) {
                Ok(supervisor) => match &config.witness {
                    Some(witness) if config.command.is_empty() => run_witness(&config, witness, started, supervisor),
                    _ => run_job(&config, started, supervisor),
                },
                Err(error) => cannot_block(error),
            }
        }
        Ok(Request::Check(config)) => {
            log::set(config.log);
            cli::warnings(&config).into_iter().for_each(log::warn);
            answer(check::check, &config, signals)
        }
        Ok(Request::Inspect(config)) => {
            log::set(config.log);
            answer(check::inspect, &config, signals)
        }
        Ok(Request::ListHooks(format)) => print(&check::list_hooks(format)),
        // Signals remain blocked: one that ended this would leave a part of a copy behind.
        Ok(Request::Install(path)) => install::install(&path).map_or_else(|error| fail(&format!("{error:#}")), |()| 0),
        Ok(Request::Print(text)) => print(&text),
        Err(error) => {
            let (message, report) = (format!("{error:#}"), cli::error_report(env::args_os()));
            log::set(report.log);
            if let Some(path) = &report.termination_log {
                termination_message::write_usage_error(path, report.log.format, &message);
            }
            fail(&message)
        }
    }
}

/// Runs the command between its hooks; returns the exit code.
fn run_job(config: &Config, started: Instant, mut supervisor: Supervisor) -> u8 {
    if let Some(memory_reserve) = config.memory_reserve {
        supervisor.confine_command(memory_reserve);
    }
    log::debug(|| hook::summary(&config.before, &config.after));
    let mut hooks = hook::load(&config.before, &config.after, &config.common);
    hooks.check(&config.common, &mut supervisor);
    let mut job = Job::new(&config.command, started);
    if config.trace_context {
        job.trace = Trace::begin();
    }
    let mut witness = witness::Client::register(config.witness.as_ref(), &job, &mut supervisor);
    let before = match hooks.unusable() {
        None => hooks.run(Phase::Before, &config.common, &job, &mut supervisor, &mut witness),
        Some(_) => Vec::new(),
    };
    let ending = match why_not_started(&hooks, &before, &supervisor) {
        Some(outcome) => outcome.into(),
        None => {
            let trace = job.trace.clone();
            let ending = job.time(|| supervisor.run_command(&config.command, &trace, &config.supervision));
            config.exit_codes.applied_to(ending)
        }
    };
    witness.ended(&ending);
    let leftovers = supervisor.end_leftovers(&config.supervision, &ending);
    let ending = Ending { leftovers, ..ending };
    if leftovers.is_some() {
        witness.ended(&ending);
    }
    job.end(ending.clone(), supervisor.stop_signal());
    let after = hooks.run(Phase::After, &config.common, &job, &mut supervisor, &mut witness);
    witness.finished();
    supervisor.end_helpers();
    let code = exit_code(&ending, after.iter().any(Report::failed), config.hook_failure_counts);
    if let Some(path) = &config.termination_log {
        termination_message::write(path, config.log.format, &job, code, &[before, after].concat());
    }
    code
}

/// Runs the hooks of other containers that are killed; returns the exit code.
fn run_witness(config: &Config, settings: &witness::Settings, started: Instant, mut supervisor: Supervisor) -> u8 {
    let mut hooks = hook::load(&[], &config.after, &config.common);
    hooks.check(&config.common, &mut supervisor);
    match hooks.unusable() {
        // The log says why. The kubelet starts it again.
        Some(_) if supervisor.stop_signal().is_none() => WRAPPER_FAILED,
        _ => witness::serve(settings, &hooks, &config.common, started, &mut supervisor),
    }
}

/// The reason why the command must not start, if there is one: an unusable hook, a signal, a failed before-hook.
fn why_not_started(hooks: &Hooks, before: &[Report], supervisor: &Supervisor) -> Option<Outcome> {
    if let Some(hook) = hooks.unusable() {
        return Some(Outcome::not_started(format!("hook {hook} cannot be run"), WRAPPER_FAILED));
    }
    match supervisor.stop_signal() {
        Some(signal) => Some(Outcome::not_started("a stop signal arrived first", killed_by(signal))),
        _ if before.iter().any(Report::failed) => Some(Outcome::not_started("a --before hook failed", WRAPPER_FAILED)),
        _ => None,
    }
}

/// Prints the answer to a question about a configuration; returns its exit code.
fn answer(
    question: impl FnOnce(&Config, Supervisor) -> (String, u8),
    config: &Config,
    signals: io::Result<Signals>,
) -> u8 {
    match signals.map(Supervisor::new) {
        Ok(supervisor) => {
            let (text, code) = question(config, supervisor);
            print(&text).max(code)
        }
        Err(error) => cannot_block(error),
    }
}

fn cannot_block(error: io::Error) -> u8 {
    fail(&format!("cannot block signals: {}", text::strerror(error)))
}

fn fail(message: &str) -> u8 {
    log::error(message);
    WRAPPER_FAILED
}

/// Prints to stdout, which only the options do that run no command.
fn print(text: &str) -> u8 {
    use io::Write;
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => WRAPPER_FAILED,
    }
}
