//! Supervisor: one thread, one loop, one waiter. It starts the command, forwards signals, reaps orphans, and waits for
//! the command to exit. It knows nothing of WebAssembly.
//!
//! Once the command runs, no error ends the loop: it is reported, and the loop goes on.

mod command_cgroup;
mod descendants;
mod leftovers;
mod memory;
mod not_executable;
mod oom;
mod process;
mod reap;
mod rewrite;
mod signals;
mod spawn;
mod terminal;

pub use leftovers::Leftovers;
pub use memory::release_memory;
pub use process::{exit_now, fork_helper, nix_errno};
pub use reap::ExitStatus;
pub use rewrite::Rewrites;
pub use signals::{SIGKILL, Signals, name};
pub use spawn::reason_not_to_start;

use crate::{
    cgroup, log,
    outcome::{Cause, Ending, Outcome, Usage},
    text::strerror,
    trace::Trace,
};
use command_cgroup::CommandCgroup;
use descendants::Process;
use humantime::format_duration;
use reap::ChildEvent;
use rustix::{
    fd::BorrowedFd,
    io::Errno,
    process::{Pid, getpgid, getpid, set_child_subreaper},
};
use signals::{Received, SIGCONT, SIGTERM, Woken};
use std::{
    convert::Infallible,
    ffi::OsString,
    time::{Duration, Instant},
};
use terminal::{Terminal, our_group};

/// How the command is supervised.
#[derive(Debug)]
pub struct Settings {
    /// Whether signals go to all of its process group.
    pub kill_group: bool,
    /// Time from the first signal that asks it to stop until it is killed.
    pub stop_timeout: Option<Duration>,
    /// Time after which it is stopped.
    pub timeout: Option<Duration>,
    pub rewrites: Rewrites,
    pub leftovers: Leftovers,
    /// Time that processes which the command leaves behind have to exit.
    pub leftovers_timeout: Duration,
}

pub struct Supervisor {
    signals: Signals,
    terminal: Option<Terminal>,
    stop_signal: Option<u8>,
    /// Signals for the command that arrived before it was started.
    kept: Vec<Received>,
    /// When the first signal asked to stop while after-hooks ran, and whether another one did.
    stop_requested_at: Option<Instant>,
    stop_insisted: bool,
    /// Called with the first signal that asks wrapper itself to stop.
    on_stop: Option<Box<dyn Fn(u8)>>,
    /// Helpers that run beside the command, and how they ended once they have. A helper is any process of our own: a
    /// compiler or a runner.
    helpers: Vec<(Pid, Option<ExitStatus>)>,
    /// Processes from before the command, if those that it leaves behind are of interest.
    inherited: Vec<Process>,
    /// The command's own, if it has one.
    cgroup: Option<CommandCgroup>,
}

/// Reason for the loop to wake up.
enum Event {
    Signal(Received),
    Ended(Pid, ExitStatus, Usage),
    Stopped(Pid, i32),
    Readable,
    Deadline,
}

/// Result of waiting for a process of our own to exit.
pub enum WaitResult {
    Ended(ExitStatus),
    /// The deadline passed and the process was killed.
    TimedOut,
    /// wrapper was asked to stop, and the process was killed for it.
    Interrupted,
}

/// Result of waiting for a message of a process of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// There is something to read, or the end of the stream.
    Readable,
    TimedOut,
    /// wrapper was asked to stop.
    Interrupted,
}

/// Meaning of signals while a process of our own is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopPolicy {
    /// Before the command: the first that asks to stop ends the wait, and all others are kept for the command.
    EndOnFirst,
    /// After it: the first that asks to stop is noted, the second ends the wait. What is waited for still has its time
    /// to finish.
    EndOnSecond,
}

/// Stop signals that arrive within this time of the first are one request: some runtimes send each twice.
const SAME_REQUEST: Duration = Duration::from_millis(100);

/// Interval of attempts to create a process while the limit on processes is reached.
const FORK_RETRY: Duration = Duration::from_millis(100);

/// Interval of checks whether wrapper has the terminal by now. There is no signal for that.
const TERMINAL_POLL: Duration = Duration::from_millis(250);

/// Time from SIGTERM until SIGKILL for a command whose time limit is exceeded, if none is set: that of `docker stop`.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Delay before start-up memory is released. A command that exits sooner is spared the 0.2 ms of faulting those pages
/// back in.
const TRIM_DELAY: Duration = Duration::from_secs(1);

impl Supervisor {
    pub fn new(signals: Signals) -> Self {
        // PID 1 adopts orphans of the command anyway; any other process must become a subreaper (prctl(2)).
        if getpid() != Pid::INIT
            && let Err(error) = set_child_subreaper(Some(getpid()))
        {
            log::debug(|| format!("cannot become a subreaper: {}", strerror(error)));
        }
        terminal::ensure_group();
        Self {
            signals,
            terminal: Terminal::of_session(),
            stop_signal: None,
            kept: Vec::new(),
            stop_requested_at: None,
            stop_insisted: false,
            on_stop: None,
            helpers: Vec::new(),
            inherited: Vec::new(),
            cgroup: None,
        }
    }

    /// Has the command run in a cgroup of its own that may use so much less memory than the container, where one can be
    /// made. Before helpers are started: they stay where wrapper is.
    pub fn confine_command(&mut self, memory_reserve: u64) {
        match CommandCgroup::create(memory_reserve) {
            Ok(cgroup) => self.cgroup = Some(cgroup),
            Err(error) => log::warn(format!("--memory-reserve has no effect: {error:#}")),
        }
    }

    /// The first signal that asked wrapper itself to stop.
    pub fn stop_signal(&self) -> Option<u8> {
        self.stop_signal
    }

    /// Has this called with the first signal that asks wrapper itself to stop, at once if it has come.
    pub fn on_stop(&mut self, call: impl Fn(u8) + 'static) {
        if let Some(signal) = self.stop_signal {
            call(signal);
        }
        self.on_stop = Some(Box::new(call));
    }

    /// From now on the next signal that asks to stop is the second one of `StopPolicy::EndOnSecond`.
    pub fn expect_second_stop(&mut self) {
        self.stop_requested_at.get_or_insert_with(Instant::now);
    }

    /// Whether to wait for nothing more.
    pub fn is_stopping(&self, policy: StopPolicy) -> bool {
        match policy {
            StopPolicy::EndOnFirst => self.stop_signal.is_some(),
            StopPolicy::EndOnSecond => self.stop_insisted,
        }
    }

    /// Starts the command and returns when it has ended.
    pub fn run_command(&mut self, command: &[OsString], trace: &Trace, settings: &Settings) -> Ending {
        self.remember_inherited(settings.leftovers);
        let cgroup = self.cgroup.as_ref();
        let child = match spawn::spawn(command, trace, &self.signals, self.terminal.as_ref(), cgroup) {
            Ok(child) => child,
            Err(outcome) => return outcome.into(),
        };
        log::debug(|| format!("started {command:?}"));
        let to_group = settings.kill_group;
        let mut stop_timeout = settings.stop_timeout;
        let mut target = Target { child, rewrites: &settings.rewrites, warned: false };
        for signal in std::mem::take(&mut self.kept) {
            target.forward(signal, to_group || self.is_typed(signal));
        }
        let (mut kill_at, mut retry_terminal_at, mut killed_by_us) = (None, None, false);
        let mut cause = None;
        let mut trim_at = Instant::now().checked_add(TRIM_DELAY);
        let mut times_out_at = settings.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let resize_at = self.cgroup.as_ref().and_then(CommandCgroup::resize_at);
            let deadlines = [kill_at, retry_terminal_at, trim_at, times_out_at, resize_at];
            match self.next(deadlines.into_iter().flatten().min(), None) {
                Event::Ended(pid, ended, usage) if pid == child => {
                    if let Some(terminal) = &self.terminal {
                        terminal.take_back_from(child);
                    }
                    let outcome = Outcome::from(ended);
                    log::debug(|| format!("the command {outcome}"));
                    return self.ending(outcome, cause, usage, killed_by_us);
                }
                Event::Stopped(pid, signal) if pid == child => retry_terminal_at = self.propagate_stop(&target, signal),
                Event::Ended(..) | Event::Stopped(..) | Event::Readable => {}
                Event::Signal(signal) => {
                    let sent = target.forward(signal, to_group || self.is_typed(signal));
                    if let Some(sent) = sent.filter(|sent| signal.from_terminal && signals::stops(*sent)) {
                        self.stop_along(&target, sent);
                    }
                    if self.signals.asks_to_stop(signal)
                        && let Some(timeout) = stop_timeout.take()
                    {
                        kill_at = Instant::now().checked_add(timeout);
                        // As systemd and `timeout -k` do. The command exits because it was asked to, not because
                        // it ran out of time.
                        times_out_at = None;
                    }
                }
                Event::Deadline if is_over(trim_at) => {
                    trim_at = None;
                    release_memory();
                }
                Event::Deadline if is_over(retry_terminal_at) => retry_terminal_at = self.give_terminal(&target),
                Event::Deadline if is_over(kill_at) => {
                    let default = match settings.stop_timeout {
                        None => format!(" (default: {})", format_duration(STOP_TIMEOUT)),
                        Some(_) => String::new(),
                    };
                    log::warn(format!("the command did not exit within --stop-timeout{default}; killing it"));
                    kill_at = None;
                    killed_by_us = true;
                    target.send(SIGKILL, to_group).ok();
                }
                Event::Deadline if is_over(times_out_at) => {
                    log::warn("the command did not exit within --timeout; stopping it");
                    cause = Some(Cause::TimedOut);
                    times_out_at = None;
                    kill_at = Instant::now().checked_add(stop_timeout.take().unwrap_or(STOP_TIMEOUT));
                    if let Some(signal) = settings.rewrites.applied_to(SIGTERM) {
                        target.send(signal, to_group).ok();
                    }
                    // One that is suspended would not act on it.
                    target.send(SIGCONT, to_group).ok();
                }
                Event::Deadline => {
                    if let Some(cgroup) = self.cgroup.as_mut().filter(|_| is_over(resize_at)) {
                        cgroup.follow_limit();
                    }
                }
            }
        }
    }

    /// What is known of the command now that it has ended.
    fn ending(&self, outcome: Outcome, cause: Option<Cause>, usage: Usage, killed_by_us: bool) -> Ending {
        let killed = matches!(outcome, Outcome::Killed { signal, .. } if i32::from(signal) == SIGKILL);
        let mut ending = Ending::new(outcome, cause, usage);
        let oom_kills = match &self.cgroup {
            Some(cgroup) => {
                let all = cgroup.usage();
                ending.usage = Usage {
                    peak_memory: all.peak_memory.or(usage.peak_memory),
                    cpu_time: all.cpu_time.or(usage.cpu_time),
                };
                cgroup.oom_kills()
            }
            // Of all the container, since its start. It can be wrong: one of its processes was killed earlier, and the
            // command now by something else.
            None if killed && cause.is_none() => cgroup::oom_kills(),
            None => 0,
        };
        // A command that goes on without a child that was killed, and is asked to stop later, ends for that reason.
        let by_itself = killed || self.stop_signal.is_none();
        if oom_kills > 0 && by_itself && !killed_by_us && cause.is_none() && !ending.succeeded {
            ending.cause = Some(Cause::OutOfMemory);
        }
        ending
    }

    /// Waits for a process of our own, at most until the deadline.
    pub fn wait(&mut self, child: Pid, deadline: Instant, policy: StopPolicy) -> WaitResult {
        let mut deadline = Some(deadline);
        let mut waited = None;
        loop {
            let why = match self.next(deadline, None) {
                Event::Ended(pid, ended, _) if pid == child => return waited.unwrap_or(WaitResult::Ended(ended)),
                Event::Ended(..) | Event::Stopped(..) | Event::Readable => continue,
                Event::Signal(signal) if self.note_signal(signal, policy) => WaitResult::Interrupted,
                Event::Signal(_) => continue,
                Event::Deadline => WaitResult::TimedOut,
            };
            waited.get_or_insert(why);
            deadline = None;
            signals::send(child, SIGKILL).ok();
        }
    }

    /// Waits until this descriptor can be read, at most until the deadline; with none it lets the time pass.
    pub fn wait_for(
        &mut self,
        source: Option<BorrowedFd>,
        deadline: impl Into<Option<Instant>>,
        policy: StopPolicy,
    ) -> Readiness {
        let deadline = deadline.into();
        loop {
            match self.next(deadline, source) {
                Event::Readable => return Readiness::Readable,
                Event::Deadline => return Readiness::TimedOut,
                Event::Signal(signal) if self.note_signal(signal, policy) => return Readiness::Interrupted,
                Event::Signal(_) | Event::Ended(..) | Event::Stopped(..) => {}
            }
        }
    }

    /// Records a signal that arrived while a process of our own is waited for; returns whether it ends the wait.
    fn note_signal(&mut self, signal: Received, policy: StopPolicy) -> bool {
        let asks_to_stop = self.signals.asks_to_stop(signal);
        match policy {
            StopPolicy::EndOnFirst if asks_to_stop => return true,
            StopPolicy::EndOnFirst if !signal.is_job_control() => {
                let known = signal.is_standard() && self.kept.iter().any(|kept| kept.number == signal.number);
                if !known {
                    self.kept.push(signal);
                }
            }
            StopPolicy::EndOnSecond if asks_to_stop => {
                let first = *self.stop_requested_at.get_or_insert_with(Instant::now);
                self.stop_insisted |= first.elapsed() > SAME_REQUEST;
                return self.stop_insisted;
            }
            _ => {}
        }
        if signal.is_job_control() {
            signals::stop_self(signal.number);
        }
        false
    }

    /// Starts a process of our own, retrying until the deadline while the process or memory limit is reached, since
    /// other processes may exit. Nothing is started once wrapper is asked to stop.
    pub fn start_in_time<T>(
        &mut self,
        deadline: Instant,
        policy: StopPolicy,
        mut start: impl FnMut(&mut Self) -> Result<T, nix::errno::Errno>,
    ) -> Result<Option<T>, nix::errno::Errno> {
        use nix::errno::Errno;
        while !self.is_stopping(policy) {
            match start(self) {
                Err(Errno::EAGAIN | Errno::ENOMEM) if Instant::now() + FORK_RETRY < deadline => {
                    self.wait_for(None, Instant::now() + FORK_RETRY, policy);
                }
                result => return result.map(Some),
            }
        }
        Ok(None)
    }

    /// Starts a helper that runs beside the command.
    pub fn start_helper(&mut self, child: impl FnOnce() -> Infallible) -> Result<Pid, nix::errno::Errno> {
        let helper = fork_helper(child)?;
        self.helpers.push((helper, None));
        Ok(helper)
    }

    /// Exit status of such a helper, if it has ended.
    pub fn ended(&self, helper: Pid) -> Option<ExitStatus> {
        self.helpers.iter().find(|(pid, _)| *pid == helper).and_then(|(_, ended)| *ended)
    }

    /// Waits for such a helper until the deadline and then kills it; returns its status if it was not killed.
    pub fn end_helper(&mut self, helper: Pid, deadline: Instant, policy: StopPolicy) -> Option<ExitStatus> {
        let place = self.helpers.iter().position(|(pid, _)| *pid == helper)?;
        if let (_, ended @ Some(_)) = self.helpers.swap_remove(place) {
            return ended;
        }
        match self.wait(helper, deadline, policy) {
            WaitResult::Ended(ended) => Some(ended),
            WaitResult::TimedOut | WaitResult::Interrupted => None,
        }
    }

    /// Ends all of them, and returns when they are gone.
    pub fn end_helpers(&mut self) {
        while let Some((helper, _)) = self.helpers.last() {
            self.end_helper(*helper, Instant::now(), StopPolicy::EndOnSecond);
        }
    }

    /// The one place where wrapper waits:
    ///
    /// ```text
    ///   every child's change of state (reap) ──┐
    ///   signals (signalfd) ────────────────────┼─► next ─► Event ─► run_command | wait | wait_for
    ///   a helper's message (source) ───────────┤
    ///   the deadline ──────────────────────────┘
    /// ```
    ///
    /// Children come first, so that no signal is sent to a process that has exited.
    fn next(&mut self, deadline: Option<Instant>, source: Option<BorrowedFd>) -> Event {
        loop {
            match reap::next() {
                Some((pid, ChildEvent::Ended(ended, usage))) => {
                    if matches!(ended, ExitStatus::Killed { .. }) {
                        log::writer_was_killed();
                    }
                    if let Some((_, helper)) = self.helpers.iter_mut().find(|(helper, _)| *helper == pid) {
                        *helper = Some(ended);
                    }
                    return Event::Ended(pid, ended, usage);
                }
                Some((pid, ChildEvent::Stopped(signal))) => return Event::Stopped(pid, signal),
                None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                    // A message that arrived before the deadline counts, even if it is read after it.
                    return if source.is_some_and(signals::is_readable) { Event::Readable } else { Event::Deadline };
                }
                None => {}
            }
            match self.signals.next(deadline, source) {
                // A change of a child is seen above.
                Woken::Signal(signal) if !self.signals.is_forwarded(signal) => {}
                Woken::Signal(signal) => {
                    if self.signals.asks_to_stop(signal)
                        && self.stop_signal.is_none()
                        && let Ok(number) = u8::try_from(signal.number)
                    {
                        self.stop_signal = Some(number);
                        self.on_stop.iter().for_each(|call| call(number));
                    }
                    return Event::Signal(signal);
                }
                Woken::Readable => return Event::Readable,
                Woken::Nothing => {}
            }
        }
    }

    /// Whether a signal is for all of the command's processes, as if they were in the foreground group themselves: what
    /// is typed, and what resumes those that it has stopped.
    fn is_typed(&self, signal: Received) -> bool {
        signal.from_terminal || (signal.number == SIGCONT && self.terminal.is_some())
    }

    /// The terminal stops its foreground group, as by Ctrl-Z, and wrapper is in it. A stop signal from anywhere else is
    /// only forwarded: the command may handle it, and outside of job control nothing would resume wrapper.
    fn stop_along(&self, target: &Target, signal: i32) {
        // wrapper follows when the command has stopped.
        if self.terminal.as_ref().is_some_and(|terminal| terminal.alone) {
            return;
        }
        signals::stop_self(signal);
        // The shell resumes the whole job at once.
        target.resume();
    }

    /// The command was stopped, as by Ctrl-Z, or because it reads a terminal that it does not have. The shell that
    /// started wrapper waits for wrapper's group, so that stops too, the rest of a pipeline included, and wrapper takes
    /// the command along when it is resumed.
    ///
    /// If the command waits for the terminal, returns when to check again whether it can be given.
    fn propagate_stop(&self, target: &Target, signal: i32) -> Option<Instant> {
        let terminal = self.terminal.as_ref()?;
        let wants = signals::wants_terminal(signal);
        // The terminal may be ours to give: in a pipeline, or after `fg` of a command that ran in the background.
        if wants && terminal.is_ours() {
            return self.give_terminal(target);
        }
        let gives = terminal.alone || terminal.is_of(target.child);
        terminal.take_back_from(target.child);
        signals::stop_group(our_group());
        // A command that wants the terminal and has not got it would only be stopped again, for ever where wrapper
        // cannot be stopped itself: as PID 1, or when the shell that started it has gone.
        if wants {
            return self.give_terminal(target);
        }
        if gives {
            terminal.give(target.child);
        }
        // SIGSTOP is not from the terminal: whoever sent it resumes the command, or wrapper, which forwards SIGCONT.
        if signals::can_be_caught(signal) {
            target.resume();
        }
        None
    }

    /// Gives the terminal to a command that was stopped because it lacks it, or returns when to try again.
    fn give_terminal(&self, target: &Target) -> Option<Instant> {
        let terminal = self.terminal.as_ref()?;
        terminal.give(target.child);
        if terminal.is_of(target.child) {
            target.resume();
            None
        } else {
            Instant::now().checked_add(TERMINAL_POLL)
        }
    }
}

/// Whether this time has come.
fn is_over(time: Option<Instant>) -> bool {
    time.is_some_and(|time| time <= Instant::now())
}

/// Where signals go.
struct Target<'a> {
    child: Pid,
    rewrites: &'a Rewrites,
    warned: bool,
}

impl Target<'_> {
    /// Sends the command what it gets for a signal that wrapper received; returns what that is.
    fn forward(&mut self, signal: Received, to_group: bool) -> Option<i32> {
        let Some(number) = self.rewrites.applied_to(signal.number) else {
            log::debug(|| format!("dropped {}", name(signal.number)));
            return None;
        };
        match self.send(number, to_group) {
            Err(Errno::PERM) if !self.warned => {
                self.warned = true;
                log::warn(format!("cannot send {} to the command: not permitted", name(number)));
            }
            Ok(()) if number != signal.number => {
                log::debug(|| format!("forwarded {} as {}", name(signal.number), name(number)));
            }
            Ok(()) => log::debug(|| format!("forwarded {}", name(number))),
            Err(error) => log::debug(|| format!("cannot forward {}: {error}", name(number))),
        }
        Some(number)
    }

    /// Resumes all of the group: a terminal stops all of it.
    fn resume(&self) {
        self.send(SIGCONT, true).ok();
    }

    fn send(&self, signal: i32, to_group: bool) -> Result<(), Errno> {
        if !to_group {
            return signals::send(self.child, signal);
        }
        let group = signals::send_to_group(self.child, signal);
        if getpgid(Some(self.child)) == Ok(self.child) {
            group
        } else {
            // It left the group, as setsid(1) does, and is still the command.
            signals::send(self.child, signal)
        }
    }
}
