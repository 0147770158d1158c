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
use std::{convert::Infallible, io::Write, os::fd::AsRawFd, time::Instant};

/// One byte for each hook that needs a check, in their order.
const FIT: u8 = b'+';
const UNFIT: u8 = b'-';

/// Starts the process and waits until it has said of each hook whether it is fit. What is wrong with one is in the log by
/// then.
pub fn start(hooks: &[&Hook], config: &Config, supervisor: &mut Supervisor) -> Vec<bool> {
    // The command need not wait for what was checked when the wrapper was built.
    let unchecked: Vec<&Hook> = hooks.iter().copied().filter(|hook| hook.needs_check()).collect();
    let started = pipe_with(PipeFlags::CLOEXEC).map_err(words).and_then(|(verdicts, report)| {
        // The writing end goes into the closure and so is closed here as soon as the process has it.
        supervisor
            .start_helper(|| process(hooks, config, report))
            .map_err(|errno| format!("cannot fork: {}", words(errno)))?;
        Ok(verdicts)
    });
    let verdicts = started.map(|verdicts| wait(unchecked.len(), &verdicts)).unwrap_or_else(|why| {
        match unchecked.is_empty() {
            true => log::debug(|| format!("hooks are compiled when they run: {why}")),
            false => log::error(format!("cannot check hooks: {why}")),
        }
        Vec::new()
    });
    for hook in unchecked.get(verdicts.len()..).unwrap_or_default() {
        Line::new(Level::Error, "could not be checked").about(&hook.label).write();
    }
    let mut verdicts = verdicts.into_iter();
    hooks.iter().map(|hook| !hook.needs_check() || verdicts.next().unwrap_or(false)).collect()
}

/// The verdicts that come within the time there is for it.
fn wait(count: usize, verdicts: &OwnedFd) -> Vec<bool> {
    let deadline = Instant::now() + CHECK_TIMEOUT;
    let mut found = Vec::new();
    while found.len() < count {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(verdicts, PollFlags::IN)];
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(1..) => {}
            Err(Errno::INTR) => continue,
            _ => break,
        }
        let mut bytes = [0; 64];
        match read(verdicts, &mut bytes) {
            Ok(count @ 1..) => found.extend(bytes.iter().take(count).map(|byte| *byte == FIT)),
            Err(Errno::INTR) => {}
            _ => break,
        }
    }
    found
}

fn process(hooks: &[&Hook], config: &Config, report: OwnedFd) -> Infallible {
    let mut keep: Vec<i32> = hooks.iter().flat_map(|hook| hook.descriptors()).collect();
    keep.push(report.as_raw_fd());
    jail::close_all_but(&keep);
    jail::enter_as_compiler();
    // Each as soon as it is known: one that breaks the check takes none with it that came before.
    let mut fit = Vec::new();
    for hook in hooks {
        let fits = if hook.needs_check() { tell(judge(hook), &report) } else { true };
        if fits {
            fit.push(hook);
        }
    }
    drop(report);
    // From here on the command runs, and the machine is its.
    let _ = nice(19);
    let result = engine::new(config, engine::Code::Machine).and_then(|engine| {
        for hook in fit {
            if let Some(file) = &hook.code {
                let code = engine.precompile_component(&hook.bytes()?)?;
                let mut file = file;
                file.write_all(&code)?;
                memory::seal(file)?;
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        log::debug(|| format!("hooks are compiled when they run: {error}"));
    }
    exit_now(0)
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
