//! Supervisor: starts the compiler processes and receives their results. Each checks one hook before the command starts
//! and then compiles it while the command runs. Built-in hooks need neither.
//!
//! A compiler leaves machine code in a sealed file in memory, handed over on its own socket. Only that is ever run as
//! such: it was made by this binary, from bytes that were checked, in this run, and no other process had a descriptor
//! of it while it was written.

use super::{
    CHECK_TIMEOUT, Common, compiler,
    handover::{self, Message, Turn},
    load::{Code, Hook},
    settings::Purpose,
};
use crate::{
    cgroup,
    log::{self, Level, Line},
    memfd,
    sandbox::{self, heap},
    supervise::{ExitStatus, Readiness, StopPolicy, Supervisor, name},
    text::strerror,
};
use nix::errno::Errno;
use rustix::{
    fd::{AsFd, OwnedFd},
    process::Pid,
};
use std::{
    fs::File,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

/// Bytes compiled in a millisecond on a slow CPU; a server of 2020 compiles about ten times as many.
const BYTES_A_MILLISECOND: u64 = 100;

/// How long `--inspect` waits for a hook to be compiled: its processor time is limited to as much.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(60);

/// A compiler process, as the supervisor has it.
pub struct Compiler {
    /// Its messages: the result if the hook is checked, then the code, then the end of the stream.
    receiver: OwnedFd,
    process: Pid,
}

/// Result of checking a hook before the command starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Valid,
    Invalid,
    /// It could not be checked in time, and may still be valid.
    Unknown,
}

impl Compiler {
    pub fn descriptor(&self) -> i32 {
        self.receiver.as_raw_fd()
    }

    /// The code, if it is there by now.
    pub fn code(&self) -> Option<File> {
        handover::receive_file(&self.receiver).filter(memfd::is_sealed)
    }

    /// Waits until the code is there or will not come. A compiler has the lowest priority and may never finish beside a
    /// busy command. If it takes much longer than it would with the container's CPU share to itself, it is killed, and
    /// the hook is compiled when it runs.
    pub fn wait(&self, hook: &Hook, deadline: Instant, policy: StopPolicy, supervisor: &mut Supervisor) {
        let Code::Component(component) = &hook.code else { return };
        let slow = Duration::from_millis(memfd::length(component) / BYTES_A_MILLISECOND)
            .mul_f64(1.0 / cgroup::cpus().unwrap_or(1.0).min(1.0));
        let half = deadline.saturating_duration_since(Instant::now()) / 2;
        let readiness = supervisor.wait_for(Some(self.receiver.as_fd()), Instant::now() + slow.min(half), policy);
        if readiness != Readiness::Readable {
            supervisor.end_helper(self.process, Instant::now(), policy);
        } else if let Some(ExitStatus::Exited(heap::OUT_OF_MEMORY)) = supervisor.ended(self.process) {
            let limit = "its share of the container's memory is too small";
            log::debug(|| format!("hook {:?}: compiling it only when it runs: {limit}", hook.label.name));
        }
    }
}

/// Starts the processes and waits until each hook is checked. What is wrong with a hook has been logged by then.
pub fn check_all(hooks: &mut [&mut Hook], common: &Common, supervisor: &mut Supervisor) -> Vec<Validity> {
    let deadline = Instant::now() + CHECK_TIMEOUT;
    let components = hooks.iter().filter(|hook| matches!(hook.code, Code::Component(_)));
    let turn = if components.count() > 1 { Turn::new().ok() } else { None };
    for hook in &mut *hooks {
        let start = |supervisor: &mut _| start_compiler(hook, common, turn.as_ref(), supervisor);
        if let Err(errno) = supervisor.start_in_time(deadline, StopPolicy::EndOnFirst, start) {
            let why = format!("could not be checked: cannot fork: {}", strerror(errno));
            Line::new(Level::Error, why).about_source(&hook.label).write();
        }
    }
    let validities = hooks.iter_mut().map(|hook| validity(hook, deadline, common, supervisor)).collect();
    if common.purpose == Purpose::Inspect {
        hooks.iter_mut().for_each(|hook| receive_compile_time(hook, supervisor));
    }
    validities
}

/// Starts the compiler of a hook that has a component.
fn start_compiler(
    hook: &mut Hook,
    common: &Common,
    turn: Option<&Turn>,
    supervisor: &mut Supervisor,
) -> Result<(), Errno> {
    let Code::Component(component) = &hook.code else { return Ok(()) };
    // The reporting end is closed here as soon as the process has it.
    let (receiver, report) = handover::pair()?;
    let process = supervisor.start_helper(|| compiler::run(hook, component, common, &report, turn))?;
    hook.compiler = Some(Compiler { receiver, process });
    Ok(())
}

/// Adds to a hook's report how long it takes to compile it, unless its process has not enough memory or time for that.
fn receive_compile_time(hook: &mut Hook, supervisor: &mut Supervisor) {
    let Some(compiler) = hook.compiler.as_ref().filter(|_| !hook.report.is_empty()) else { return };
    let deadline = Instant::now() + COMPILE_TIMEOUT;
    let readiness = supervisor.wait_for(Some(compiler.receiver.as_fd()), deadline, StopPolicy::EndOnFirst);
    let report = match readiness {
        Readiness::Readable => handover::receive_report(&compiler.receiver).map(|(_, report)| report),
        Readiness::TimedOut | Readiness::Interrupted => None,
    };
    hook.report.push_str(&report.unwrap_or_else(|| "compile-time\tunknown: it takes too much memory or time\n".into()));
}

/// Receives the result of a hook's check; logs why there is none.
fn validity(hook: &mut Hook, deadline: Instant, common: &Common, supervisor: &mut Supervisor) -> Validity {
    if matches!(hook.code, Code::BuiltIn(_)) {
        return Validity::Valid;
    }
    let Some(compiler) = &hook.compiler else { return Validity::Unknown };
    let readiness = supervisor.wait_for(Some(compiler.receiver.as_fd()), deadline, StopPolicy::EndOnFirst);
    if readiness == Readiness::Readable {
        let message = match common.purpose {
            Purpose::Run => handover::receive(&compiler.receiver),
            Purpose::Check | Purpose::Inspect => {
                handover::receive_report(&compiler.receiver).map(|(message, report)| {
                    hook.report = report;
                    message
                })
            }
        };
        match message {
            Some(Message::Valid) => return Validity::Valid,
            Some(Message::Invalid) => return Validity::Invalid,
            _ => {}
        }
    }
    // A process that has closed its socket is about to exit.
    let end = if readiness == Readiness::Readable { deadline } else { Instant::now() };
    let ended = supervisor.end_helper(compiler.process, end, StopPolicy::EndOnFirst);
    hook.compiler = None;
    let why = match (readiness, ended) {
        // Nothing is wrong with the hook.
        (Readiness::Interrupted, _) => return Validity::Unknown,
        (Readiness::Readable, Some(ExitStatus::Exited(heap::OUT_OF_MEMORY))) => sandbox::too_large_to_check(),
        (Readiness::Readable, Some(ExitStatus::Exited(code))) => format!("its process exited with {code}"),
        (Readiness::Readable, Some(ExitStatus::Killed { signal, .. })) => {
            format!("its process was killed by {}", name(signal.into()))
        }
        (Readiness::TimedOut | Readiness::Readable, _) => {
            format!("timed out after {}", humantime::format_duration(CHECK_TIMEOUT))
        }
    };
    Line::new(Level::Error, format!("could not be checked: {why}")).about_source(&hook.label).write();
    Validity::Unknown
}
