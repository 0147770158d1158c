//! The terminal's foreground process group: who gets what is typed, and who may read.
//!
//! The command normally shares the wrapper's group and so has the terminal whenever the wrapper has it, as if the
//! wrapper were not there. Only a command in a group of its own has to be given it, and a shell that took it for a
//! job and is gone has to be relieved of it.

use rustix::{
    fd::BorrowedFd,
    io::Errno,
    process::{Pid, getpgid, getpgrp, test_kill_process_group},
    stdio::{stderr, stdin, stdout},
    termios::{tcgetpgrp, tcsetpgrp},
};

/// The terminal of which the wrapper's group was the foreground when it started.
pub struct Terminal {
    fd: BorrowedFd<'static>,
    ours: Pid,
}

impl Terminal {
    pub fn ours() -> Option<Self> {
        let ours = getpgrp();
        let fds = [stdin(), stdout(), stderr()];
        fds.into_iter().find(|fd| tcgetpgrp(fd) == Ok(ours)).map(|fd| Self { fd, ours })
    }

    /// Makes the calling process's group the foreground. Like `give` and `take` it works from the background only
    /// because SIGTTOU is blocked (tcsetpgrp(3)).
    pub fn give_to_self(&self) {
        let _ = tcsetpgrp(self.fd, getpgrp());
    }

    /// Makes another group the foreground, if we are it.
    pub fn give(&self, group: Pid) {
        if tcgetpgrp(self.fd) == Ok(self.ours) {
            let _ = tcsetpgrp(self.fd, group);
        }
    }

    pub fn take(&self) {
        let _ = tcsetpgrp(self.fd, self.ours);
    }

    /// Takes the terminal back from a command that has ended: from its own group, or from one in which nobody is
    /// left. Any other group has it by right, such as the shell's after `bg`.
    pub fn take_back_from(&self, command: Pid) {
        match tcgetpgrp(self.fd) {
            Ok(group) if group == self.ours => {}
            Ok(group) if group == command || test_kill_process_group(group) == Err(Errno::SRCH) => self.take(),
            _ => {}
        }
    }
}

/// Whether a process is in the wrapper's own group.
pub fn shares_our_group(pid: Pid) -> bool {
    getpgid(Some(pid)) == Ok(getpgrp())
}
