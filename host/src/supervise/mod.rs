//! The supervisor: one thread, one loop, one waiter. It starts the command, forwards signals, reaps whatever it
//! inherits, and learns how the command ended. It knows nothing of WebAssembly.
//!
//! From the moment the command runs nothing here gives up: what fails is reported, and the loop goes on.

mod process;
mod reap;
mod signals;
mod spawn;
mod streams;
mod terminal;

pub use process::{exit_now, fork_helper};
pub use reap::Ended;
pub use signals::{Signals, name};
#[cfg_attr(test, expect(unused_imports, reason = "the tests have an entry of their own"))]
pub use streams::hold_standard_streams;

use crate::{log, outcome::Outcome, words::words};
use reap::Change;
use rustix::{
    io::Errno,
    process::{Pid, getpid, set_child_subreaper},
};
use signals::{Received, SIGCONT, SIGINT, SIGKILL, SIGTERM};
use std::{
    convert::Infallible,
    ffi::OsString,
    time::{Duration, Instant},
};
use terminal::{Terminal, shares_our_group};

pub struct Supervisor {
    signals: Signals,
    terminal: Option<Terminal>,
    stop_signal: Option<u8>,
    /// How many signals asked to stop while after-hooks ran; with the second none is waited for any more.
    heard: u32,
    /// A process of our own that runs beside the command, until it is reaped.
    helper: Option<Pid>,
}

/// What the loop wakes up for.
enum Event {
    Signal(Received),
    Ended(Pid, Ended),
    Stopped(Pid, i32),
    Deadline,
}

/// How the wait for a process of our own ended.
pub enum Waited {
    Ended(Ended),
    /// The deadline passed and the process was killed.
    TimedOut,
    /// The wrapper was told to stop, and the process was killed for it.
    Interrupted,
}

/// What a stop signal does to the process that is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The first SIGTERM or SIGINT ends it: nothing depends on it yet.
    None,
    /// The first is heard, the second ends it: it still has its time to finish.
    Once,
}

impl Supervisor {
    pub fn new(signals: Signals) -> Self {
        // Orphans of the command come to PID 1 anyway; elsewhere the kernel has to be asked (prctl(2)).
        if getpid() != Pid::INIT
            && let Err(error) = set_child_subreaper(Some(getpid()))
        {
            log::debug(|| format!("cannot become a subreaper: {}", words(error)));
        }
        Self { signals, terminal: Terminal::ours(), stop_signal: None, heard: 0, helper: None }
    }

    /// The first signal that asked the wrapper itself to stop.
    pub fn stop_signal(&self) -> Option<u8> {
        self.stop_signal
    }

    /// Whether a second stop signal came while hooks ran.
    pub fn impatient(&self) -> bool {
        self.heard > 1
    }

    /// Starts the command and returns when it has ended. With `group` it gets a process group of its own, and
    /// signals go to all of it; `stop_timeout` after the first SIGTERM it is killed.
    pub fn run(&mut self, command: &[OsString], group: bool, mut stop_timeout: Option<Duration>) -> Outcome {
        log::debug(|| format!("process start: {command:?}"));
        let terminal = self.terminal.as_ref().filter(|_| group);
        let child = match spawn::spawn(command, &self.signals, group, terminal) {
            Ok(child) => child,
            Err(outcome) => return outcome,
        };
        process::let_go_of_code();
        process::let_go_of_heap();
        let mut target = Target { child, group, warned: false };
        let mut kill_at = None;
        loop {
            match self.next(kill_at) {
                Event::Ended(pid, ended) if pid == child => {
                    if let Some(terminal) = &self.terminal {
                        terminal.take_back_from(child);
                    }
                    log::debug(|| format!("process finish: {ended}"));
                    return ended.into();
                }
                Event::Ended(..) => {}
                Event::Stopped(pid, signal) if pid == child => self.follow_stop(&target, signal),
                Event::Stopped(..) => {}
                Event::Signal(signal) => {
                    target.forward(signal);
                    if signal.number == SIGTERM
                        && let Some(timeout) = stop_timeout.take()
                    {
                        kill_at = Instant::now().checked_add(timeout);
                    }
                }
                Event::Deadline => {
                    log::warn("the command did not end within --stop-timeout; killing it");
                    kill_at = None;
                    target.send(SIGKILL).ok();
                }
            }
        }
    }

    /// Waits for a process of our own, at most until the deadline.
    pub fn wait(&mut self, child: Pid, deadline: Instant, patience: Patience) -> Waited {
        let mut deadline = Some(deadline);
        let mut waited = None;
        loop {
            match self.next(deadline) {
                Event::Ended(pid, ended) if pid == child => return waited.unwrap_or(Waited::Ended(ended)),
                Event::Signal(Received { number: SIGTERM | SIGINT, .. }) => {
                    self.heard += u32::from(patience == Patience::Once);
                    if patience == Patience::None || self.impatient() {
                        waited.get_or_insert(Waited::Interrupted);
                        deadline = None;
                        signals::send(child, SIGKILL).ok();
                    }
                }
                Event::Ended(..) | Event::Stopped(..) | Event::Signal(_) => {}
                Event::Deadline => {
                    waited.get_or_insert(Waited::TimedOut);
                    deadline = None;
                    signals::send(child, SIGKILL).ok();
                }
            }
        }
    }

    /// Starts a process that runs beside the command.
    pub fn start_helper(&mut self, child: impl FnOnce() -> Infallible) -> Result<(), nix::errno::Errno> {
        self.helper = Some(fork_helper(child)?);
        Ok(())
    }

    /// Ends that process if it is still there.
    pub fn stop_helper(&mut self) {
        if let Some(helper) = self.helper {
            signals::send(helper, SIGKILL).ok();
            self.wait(helper, Instant::now(), Patience::Once);
        }
    }

    /// The one place where the wrapper waits. Children come first, so that nothing is sent to a process that is gone.
    fn next(&mut self, deadline: Option<Instant>) -> Event {
        loop {
            match reap::next() {
                Some((pid, Change::Ended(ended))) => {
                    self.helper = self.helper.filter(|helper| *helper != pid);
                    return Event::Ended(pid, ended);
                }
                Some((pid, Change::Stopped(signal))) => return Event::Stopped(pid, signal),
                None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => return Event::Deadline,
                None => {}
            }
            match self.signals.next(deadline) {
                // A change of a child is seen above; what was ignored at entry is as if it had not come.
                Some(signal) if !self.signals.forwards(signal) => {}
                Some(signal) => {
                    if signal.asks_to_stop() {
                        self.stop_signal = self.stop_signal.or(u8::try_from(signal.number).ok());
                    }
                    return Event::Signal(signal);
                }
                None => {}
            }
        }
    }

    /// A command in a group of its own was stopped by its terminal (Ctrl-Z): the shell that started the wrapper
    /// waits for the wrapper's group, the rest of a pipeline included, so that stops too, and the wrapper takes the
    /// command along when it is resumed.
    fn follow_stop(&self, target: &Target, signal: i32) {
        if let Some(terminal) = self.terminal.as_ref().filter(|_| target.group) {
            // After `fg` the terminal is ours, and a command that was running in the background only lacks it.
            if !(terminal.is_ours() && signals::wants_terminal(signal)) {
                terminal.take_back_from(target.child);
                signals::stop_group(terminal.group());
            }
            terminal.give(target.child);
            target.send(SIGCONT).ok();
        }
    }
}

/// Where signals go.
struct Target {
    child: Pid,
    group: bool,
    warned: bool,
}

impl Target {
    fn forward(&mut self, signal: Received) {
        if !self.has_it_already(signal) {
            match self.send(signal.number) {
                Err(Errno::PERM) if !self.warned => {
                    self.warned = true;
                    log::warn(format!("cannot send {} to the command: not permitted", name(signal.number)));
                }
                Ok(()) => log::debug(|| format!("forwarded {}", name(signal.number))),
                Err(error) => log::debug(|| format!("not forwarded: {}: {error}", name(signal.number))),
            }
        }
        if signal.stops() && !self.group {
            signals::stop_self(signal.number);
        }
    }

    /// The terminal sends what is typed to every process of the foreground group, and so to the command as well.
    fn has_it_already(&self, signal: Received) -> bool {
        signal.is_from_terminal() && shares_our_group(self.child)
    }

    fn send(&self, signal: i32) -> Result<(), Errno> {
        match self.group {
            true => signals::send_to_group(self.child, signal),
            false => signals::send(self.child, signal),
        }
    }
}
