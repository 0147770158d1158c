//! The process that understands hooks' bytes: it checks them before the command starts, tells the supervisor, and
//! goes on to compile them at the lowest priority while the command runs.
//!
//! What it leaves behind is machine code in a sealed file in memory. Only that is ever run as such: it was made by
//! this binary, from bytes that were checked, in this run.

use super::{CHECK_TIMEOUT, check, engine, failure, jail, load::Hook, memory};
use crate::{
    cli::Config,
    log::{self, Level, Line},
    supervise::{Supervisor, exit_now},
    words::words,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    io::{Errno, read, write},
    pipe::{PipeFlags, pipe_with},
    process::nice,
};
use std::{
    convert::Infallible,
    io::Write,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};
use wasmtime::Engine;

/// One byte for each hook that needs a check, in their order.
const FIT: u8 = b'+';
const UNFIT: u8 = b'-';

/// And one for each whose code is there.
const DONE: u8 = b'=';

/// A tenth of what is compiled in that time on a processor of 2020.
const BYTES_A_MILLISECOND: u64 = 100;

/// What the process tells, from the verdicts on: a byte for each hook it has compiled, and the end of the stream with its
/// own.
pub struct Progress(OwnedFd);

impl Progress {
    pub fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Waits until the hook's code is there, the process has ended without it, or it takes much longer than it would on a
    /// free processor: whoever runs at the lowest priority beside a busy process never comes to an end.
    pub fn wait(&self, hook: &Hook, deadline: Instant) {
        let slow = Duration::from_millis(hook.length() / BYTES_A_MILLISECOND);
        let half = deadline.saturating_duration_since(Instant::now()) / 2;
        let patience = Instant::now() + slow.min(half);
        while hook.code.is_some() && hook.prepared().is_none() {
            if next(&self.0, patience).is_empty() {
                break;
            }
        }
    }
}

/// Starts the process and waits until it has said of each hook whether it is fit. What is wrong with one is in the log by
/// then.
pub fn start(hooks: &[&Hook], config: &Config, supervisor: &mut Supervisor) -> (Vec<bool>, Option<Progress>) {
    // The command need not wait for what was checked when the wrapper was built.
    let unchecked: Vec<&Hook> = hooks.iter().copied().filter(|hook| hook.needs_check()).collect();
    if unchecked.is_empty() && !config.hook_prepare {
        return (vec![true; hooks.len()], None);
    }
    let started = pipe_with(PipeFlags::CLOEXEC).map_err(words).and_then(|(progress, report)| {
        // The writing end goes into the closure and so is closed here as soon as the process has it.
        supervisor
            .start_helper(|| process(hooks, config, report))
            .map_err(|errno| format!("cannot fork: {}", words(errno)))?;
        Ok(progress)
    });
    let progress = match started {
        Ok(progress) => Some(progress),
        Err(why) => {
            match unchecked.is_empty() {
                true => log::debug(|| format!("hooks are compiled when they run: {why}")),
                false => log::error(format!("cannot check hooks: {why}")),
            }
            None
        }
    };
    let verdicts = progress.as_ref().map(|progress| verdicts(unchecked.len(), progress)).unwrap_or_default();
    for hook in unchecked.get(verdicts.len()..).unwrap_or_default() {
        Line::new(Level::Error, "could not be checked").about(&hook.label).write();
    }
    let mut verdicts = verdicts.into_iter();
    let fit = hooks.iter().map(|hook| !hook.needs_check() || verdicts.next().unwrap_or(false)).collect();
    (fit, progress.map(Progress))
}

/// The verdicts that come within the time there is for it.
fn verdicts(count: usize, progress: &OwnedFd) -> Vec<bool> {
    let deadline = Instant::now() + CHECK_TIMEOUT;
    let mut found = Vec::new();
    while found.len() < count {
        let told = next(progress, deadline);
        if told.is_empty() {
            break;
        }
        found.extend(told.iter().map(|byte| *byte == FIT));
    }
    // What comes behind tells of code that is made already.
    found.truncate(count);
    found
}

/// What is told next; nothing, if there is no more or the deadline passes.
fn next(progress: &OwnedFd, deadline: Instant) -> Vec<u8> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(progress, PollFlags::IN)];
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(1..) => {}
            Err(Errno::INTR) => continue,
            _ => return Vec::new(),
        }
        let mut bytes = [0; 64];
        match read(progress, &mut bytes) {
            Ok(count) => return bytes.get(..count).unwrap_or_default().to_vec(),
            Err(Errno::INTR) => {}
            Err(_) => return Vec::new(),
        }
    }
}

fn process(hooks: &[&Hook], config: &Config, report: OwnedFd) -> Infallible {
    let mut keep: Vec<i32> = hooks.iter().flat_map(|hook| hook.descriptors()).collect();
    keep.push(report.as_raw_fd());
    jail::close_all_but(&keep);
    jail::enter_as_compiler(report.as_raw_fd());
    // Each as soon as it is known: one that breaks the check takes none with it that came before.
    let mut fit = Vec::new();
    for hook in hooks {
        let fits = if hook.needs_check() { tell(judge(hook), &report) } else { true };
        if fits {
            fit.push(hook);
        }
    }
    if hooks.iter().all(|hook| hook.code.is_none()) {
        exit_now(0);
    }
    // From here on the command runs, and the machine is its.
    let _ = nice(19);
    match engine::new(config, engine::Code::usual()) {
        Ok(engine) => fit.into_iter().for_each(|hook| {
            if let Err(error) = compile(hook, &engine) {
                log::debug(|| format!("{} is compiled when it runs: {error}", hook.name));
            }
            let _ = write(&report, &[DONE]);
        }),
        Err(error) => log::debug(|| format!("hooks are compiled when they run: {error}")),
    }
    exit_now(0)
}

fn compile(hook: &Hook, engine: &Engine) -> wasmtime::Result<()> {
    if let Some(mut file) = hook.code.as_ref() {
        file.write_all(&engine.precompile_component(&hook.bytes()?)?)?;
        memory::seal(file)?;
    }
    Ok(())
}

fn tell(fits: bool, report: &OwnedFd) -> bool {
    let _ = write(report, &[if fits { FIT } else { UNFIT }]);
    fits
}

fn judge(hook: &Hook) -> bool {
    let checked = hook.bytes().map_err(words).and_then(|bytes| check::check(&bytes, hook.sha256));
    match checked {
        Ok(()) => true,
        Err(why) => {
            Line::new(Level::Error, failure::cut(why)).about(&hook.label).write();
            false
        }
    }
}
