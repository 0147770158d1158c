//! Supervisor: the terminal's foreground process group, which receives input and may read.
//!
//! The command has a process group of its own, so that a signal that it sends to its group reaches no other process.
//! For that group to be able to read, it has to be the terminal's foreground whenever wrapper's group would be it.

use nix::unistd::getpgrp;
use rustix::{
    fd::BorrowedFd,
    fs::{Mode, OFlags, open},
    io::{Errno, read},
    process::{Pid, setpgid, test_kill_process_group},
    stdio::{stderr, stdin, stdout},
    termios::{isatty, tcgetpgrp, tcsetpgrp},
};

/// The terminal that controls wrapper's session, whether wrapper is in the foreground or not.
pub struct Terminal {
    fd: BorrowedFd<'static>,
    /// Whether the command has the terminal for itself. In a pipeline others read it too, such as the `less` of
    /// `wrapper cat | less`, and they are in wrapper's group.
    pub alone: bool,
}

impl Terminal {
    pub fn of_session() -> Option<Self> {
        let fd = [stdin(), stdout(), stderr()].into_iter().find(controls)?;
        Some(Self { fd, alone: isatty(stdin()) && isatty(stdout()) })
    }

    /// Whether wrapper's group is the foreground.
    pub fn is_ours(&self) -> bool {
        match our_group() {
            Some(ours) => tcgetpgrp(self.fd) == Ok(ours),
            None => may_read(),
        }
    }

    /// Whether that group is the foreground.
    pub fn is_of(&self, group: Pid) -> bool {
        tcgetpgrp(self.fd) == Ok(group)
    }

    /// Makes the command's group the foreground group, if wrapper's group is.
    pub fn give(&self, group: Pid) {
        if self.is_ours() {
            self.set(group);
        }
    }

    /// Makes this group the foreground, also from the background: SIGTTOU is blocked (tcsetpgrp(3)).
    pub fn set(&self, group: Pid) {
        let _ = tcsetpgrp(self.fd, group);
    }

    /// Takes the terminal back from a command that has ended or stopped: from its own group, or from one in which
    /// no process is left. Any other group has it by right, such as the shell's after `bg`.
    pub fn take_back_from(&self, command: Pid) {
        let Some(ours) = our_group() else { return };
        match tcgetpgrp(self.fd) {
            Ok(group) if group == ours => {}
            Ok(group) if group == command || test_kill_process_group(group) == Err(Errno::SRCH) => {
                let _ = tcsetpgrp(self.fd, ours);
            }
            _ => {}
        }
    }
}

/// wrapper's process group. One from outside its PID namespace, as with unshare(1), has no number here: getpgrp(2)
/// returns 0.
pub fn our_group() -> Option<Pid> {
    Pid::from_raw(getpgrp().as_raw())
}

/// Gives wrapper a group with a number, if it has none and is in the foreground: without one it could not take the
/// terminal back from the command. The group that had the terminal until now has no number either; the shell outside
/// takes it when its job has ended.
pub fn ensure_group() {
    if our_group().is_none()
        && let Some(terminal) = Terminal::of_session()
        && terminal.is_ours()
        && setpgid(None, None).is_ok()
        && let Some(ours) = our_group()
    {
        let _ = tcsetpgrp(terminal.fd, ours);
    }
}

/// Whether it is the terminal of this session. A foreground group without a number here is reported as "not supported".
fn controls(fd: &BorrowedFd<'static>) -> bool {
    matches!(tcgetpgrp(fd), Ok(_) | Err(Errno::OPNOTSUPP))
}

/// Whether the terminal would let wrapper read. In the background, with SIGTTIN blocked, even reading nothing is an
/// error (EIO); in the foreground it takes nothing away. Without blocking, because another process may be reading.
fn may_read() -> bool {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    open("/dev/tty", flags, Mode::empty()).is_ok_and(|tty| read(&tty, &mut [0_u8; 0]) != Err(Errno::IO))
}
