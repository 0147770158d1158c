//! The terminal's foreground process group: who gets what is typed, and who may read.
//!
//! The command normally shares the wrapper's group and so has the terminal whenever the wrapper has it, as if the
//! wrapper were not there. Only a command in a group of its own has to be given it, and a shell that took it for a
//! job and is gone has to be relieved of it.

use nix::unistd::{self, getpgid, getpgrp};
use rustix::{
    fd::BorrowedFd,
    io::Errno,
    process::{Pid, test_kill_process_group},
    stdio::{stderr, stdin, stdout},
    termios::{tcgetpgrp, tcsetpgrp},
};

/// The terminal that the wrapper's group shares with whoever started it, be it in the foreground or not.
pub struct Terminal {
    fd: BorrowedFd<'static>,
    ours: Pid,
}

impl Terminal {
    pub fn ours() -> Option<Self> {
        // A group from outside the wrapper's PID namespace, as with unshare(1), has no number here: getpgrp says 0.
        let ours = Pid::from_raw(getpgrp().as_raw())?;
        let fds = [stdin(), stdout(), stderr()];
        fds.into_iter().find(|fd| tcgetpgrp(fd).is_ok()).map(|fd| Self { fd, ours })
    }

    pub fn group(&self) -> Pid {
        self.ours
    }

    /// Whether our group is the foreground.
    pub fn is_ours(&self) -> bool {
        tcgetpgrp(self.fd) == Ok(self.ours)
    }

    /// Makes another group the foreground, if we are it. Like taking it back this works from the background only
    /// because SIGTTOU is blocked (tcsetpgrp(3)).
    pub fn give(&self, group: Pid) {
        if self.is_ours() {
            let _ = tcsetpgrp(self.fd, group);
        }
    }

    /// Takes the terminal back from a command that has ended or stopped: from its own group, or from one in which nobody is
    /// left. Any other group has it by right, such as the shell's after `bg`.
    pub fn take_back_from(&self, command: Pid) {
        match tcgetpgrp(self.fd) {
            Ok(group) if group == self.ours => {}
            Ok(group) if group == command || test_kill_process_group(group) == Err(Errno::SRCH) => {
                let _ = tcsetpgrp(self.fd, self.ours);
            }
            _ => {}
        }
    }
}

/// Whether a process is in the wrapper's own group.
pub fn shares_our_group(pid: Pid) -> bool {
    getpgid(Some(unistd::Pid::from_raw(pid.as_raw_pid()))) == Ok(getpgrp())
}
