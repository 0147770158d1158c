//! Supervisor: the processes that the command has left behind: waited for, or ended, before the after-hooks run.
//!
//! They are all descendants of wrapper but its helpers and those that it had before the command: as PID 1 or as
//! subreaper it becomes the parent of every orphan. Processes that the container's runtime starts, as for `kubectl
//! exec`, descend from another one.

use super::{
    Event, SIGKILL, Settings, StopPolicy, Supervisor,
    command_cgroup::CommandCgroup,
    descendants::{self, Process},
    is_over,
    signals::{self, SIGCONT, SIGTERM},
};
use crate::{
    log,
    outcome::{Cause, Ending, Outcome},
    text::choose,
};
use rustix::process::Pid;
use std::{
    str::FromStr,
    time::{Duration, Instant},
};

/// What is done about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    Ignore,
    Wait,
    Stop,
}

impl FromStr for Leftovers {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        choose(text, &[("ignore", Self::Ignore), ("wait", Self::Wait), ("stop", Self::Stop)])
    }
}

/// Interval of looking at all processes while some of them exit.
const INTERVAL: Duration = Duration::from_millis(20);

/// Time until SIGKILL has taken effect. A process that waits for a device can take forever.
const KILL_TIMEOUT: Duration = Duration::from_secs(3);

/// From each of these only a later one follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Wait,
    /// Each is asked to exit, once.
    Stop,
    Kill,
}

/// Why a wait for them ended, besides a change of theirs or the time.
enum Request {
    None,
    Stop,
    /// A second stop signal.
    Insist,
}

impl Supervisor {
    /// Remembers the descendants that wrapper has before the command, and which are not the command's: an entrypoint
    /// script can start some, such as a `tee` for its output, before it executes wrapper.
    pub(super) fn remember_inherited(&mut self, leftovers: Leftovers) {
        if leftovers != Leftovers::Ignore {
            // An error is reported when the command has ended.
            self.inherited = self.descendants().unwrap_or_default();
        }
    }

    /// All of wrapper's descendants that are neither helpers nor inherited.
    fn descendants(&self) -> Result<Vec<Process>, String> {
        descendants::list(|process| {
            self.helpers.iter().any(|(helper, _)| *helper == process.pid)
                || self.inherited.iter().any(|inherited| inherited.is(process))
        })
    }

    /// Waits for the processes that the command has left behind, or ends them; returns how many there were, unless they
    /// are to be ignored. If the command was asked to stop, so are they.
    pub fn end_leftovers(&mut self, settings: &Settings, ending: &Ending) -> Option<u32> {
        let ran = !matches!(ending.outcome, Outcome::NotStarted { .. });
        let asked_to_stop = self.stop_signal.is_some() || ending.cause == Some(Cause::TimedOut);
        let mut step = match settings.leftovers {
            Leftovers::Wait if ran && !asked_to_stop => Step::Wait,
            Leftovers::Wait | Leftovers::Stop if ran => Step::Stop,
            _ => return None,
        };
        let mut end = Instant::now() + settings.leftovers_timeout;
        let (mut count, mut stopped) = (None, Vec::new());
        loop {
            let left = match self.descendants() {
                Ok(left) => left,
                Err(error) => {
                    log::warn(format!("cannot look for processes that the command left behind: {error}"));
                    return count;
                }
            };
            if count.is_none() {
                count = u32::try_from(left.len()).ok();
                if !left.is_empty() {
                    let doing = if step == Step::Wait { "waiting for" } else { "stopping" };
                    log::info(format!("the command left {} behind; {doing} them", descendants::display(&left)));
                }
            }
            // While the list is made, a process can exit and leave another one, which is seen by this; and /proc can be
            // mounted so that it does not show those of other users.
            let only_the_commands = self.inherited.is_empty() && !self.has_helpers();
            let hidden = left.is_empty() && only_the_commands && descendants::has_children();
            if left.is_empty() && !hidden {
                return count;
            }
            match step {
                Step::Wait => {}
                Step::Stop => stop(&left, &mut stopped),
                Step::Kill => {
                    self.cgroup.iter().for_each(CommandCgroup::kill);
                    left.iter().for_each(|process| send(process, SIGKILL));
                }
            }
            if is_over(Some(end)) {
                let what =
                    if left.is_empty() { "a process not shown in /proc".into() } else { descendants::display(&left) };
                let what = format!("{what} that the command left behind");
                let can_kill = !left.is_empty() || self.cgroup.is_some();
                if step != Step::Stop || !can_kill {
                    log::warn(format!("{what} did not exit in time; running the hooks anyway"));
                    return count;
                }
                log::warn(format!("{what} did not exit within --leftovers-timeout; killing them"));
                (step, end) = (Step::Kill, Instant::now() + KILL_TIMEOUT);
                continue;
            }
            match self.wait_for_change(end, hidden) {
                Request::Stop if step == Step::Wait => step = Step::Stop,
                Request::Insist => (step, end) = (Step::Kill, Instant::now() + KILL_TIMEOUT),
                Request::None | Request::Stop => {}
            }
        }
    }

    /// Waits until processes have exited, until wrapper is asked to stop, or until the end. The exit of the last
    /// process is always seen: its parent is wrapper.
    fn wait_for_change(&mut self, end: Instant, mut changed: bool) -> Request {
        let next_look = Instant::now() + INTERVAL;
        loop {
            let deadline = if changed { end.min(next_look) } else { end };
            match self.next(Some(deadline), None) {
                Event::Ended(..) => changed = true,
                Event::Signal(signal) if self.note_signal(signal, StopPolicy::EndOnSecond) => return Request::Insist,
                Event::Signal(signal) if self.signals.asks_to_stop(signal) => return Request::Stop,
                Event::Signal(_) | Event::Stopped(..) | Event::Readable | Event::Deadline => {}
            }
            // Children come before the deadline, however many exit.
            if is_over(Some(deadline)) {
                return Request::None;
            }
        }
    }

    /// Whether any helper still runs.
    fn has_helpers(&self) -> bool {
        self.helpers.iter().any(|(_, ended)| ended.is_none())
    }
}

/// Sends SIGTERM to those that have not got it yet, and SIGCONT, since one that is suspended would not act on it.
fn stop(processes: &[Process], stopped: &mut Vec<Pid>) {
    for process in processes {
        if !stopped.contains(&process.pid) {
            send(process, SIGTERM);
            send(process, SIGCONT);
            stopped.push(process.pid);
        }
    }
}

fn send(process: &Process, signal: i32) {
    // An error is that of a process which has exited since, or of one that belongs to another user.
    let _ = signals::send(process.pid, signal);
}
