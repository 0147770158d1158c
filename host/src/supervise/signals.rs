//! The table of signals, the state in which the wrapper found them, and how they are taken and sent.
//!
//! All signals are blocked and read from a descriptor. A blocked signal is never lost, not even one that the kernel
//! would otherwise discard for PID 1.

use nix::{
    sys::{
        signal::{SigSet, SigmaskHow, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::{self, getsid},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, getpid, kill_process, kill_process_group},
};
use std::{io, mem::MaybeUninit, ptr, time::Instant};

pub const SIGTERM: i32 = libc::SIGTERM;
pub const SIGINT: i32 = libc::SIGINT;
pub const SIGKILL: i32 = libc::SIGKILL;
pub const SIGCONT: i32 = libc::SIGCONT;

/// Signals are numbered from 1 to this (signal(7)).
const LAST: i32 = 64;

/// Not forwarded: what the kernel raises for a fault of our own, and what tells of our own children.
const OURS: [i32; 8] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGCHLD,
];

/// What a terminal sends to the whole foreground group, or to a group that touches it from the background.
const FROM_TERMINAL: [i32; 7] =
    [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGWINCH, libc::SIGHUP];

/// Stop whoever does not handle them.
const STOPPING: [i32; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// Ask a program to end.
const ASKING_TO_STOP: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP];

/// The wrapper's signals, and the state in which the command will get its own.
pub struct Signals {
    fd: SignalFd,
    /// The mask at entry.
    mask: SigSet,
    /// Bit n: signal n was ignored at entry, as nohup does with SIGHUP.
    ignored: u128,
}

/// A signal that came.
#[derive(Clone, Copy)]
pub struct Received {
    pub number: i32,
    from_kernel: bool,
    from_self: bool,
}

impl Signals {
    /// Takes all signals from now on.
    pub fn take() -> io::Result<Self> {
        // Before anything else: what comes before this line, PID 1 never hears of.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let ignored = (1..=LAST).filter(|signal| is_ignored(*signal)).fold(0, |bits, signal| bits | 1 << signal);
        if is_ignored(libc::SIGCHLD) {
            // Otherwise the kernel reaps the command itself and its status is lost (wait(2)).
            set(libc::SIGCHLD, libc::SIG_DFL);
        }
        let fd = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { fd, mask, ignored })
    }

    /// The next signal; nothing if the deadline passed first.
    pub fn next(&self, deadline: Option<Instant>) -> Option<Received> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        // Whatever poll says, reading does not block.
        let _ = poll(&mut fds, timeout.as_ref());
        let info = self.fd.read_signal().ok()??;
        Some(Received {
            number: info.ssi_signo.try_into().ok()?,
            from_kernel: info.ssi_code == libc::SI_KERNEL,
            from_self: info.ssi_pid == std::process::id(),
        })
    }

    /// Whether a signal is passed on to the command. One that was ignored at entry is ignored there too, and a
    /// SIGPIPE of our own only says that the log's reader has gone.
    pub fn forwards(&self, signal: Received) -> bool {
        !OURS.contains(&signal.number) && !self.ignores(signal.number) && !signal.from_self
    }

    fn ignores(&self, signal: i32) -> bool {
        self.ignored & 1 << signal != 0
    }

    /// Gives a new process the signal state that the wrapper was given.
    pub fn give_back(&self) {
        if self.ignores(libc::SIGCHLD) {
            set(libc::SIGCHLD, libc::SIG_IGN);
        }
        let _ = self.mask.thread_set_mask();
    }
}

impl Received {
    pub fn asks_to_stop(self) -> bool {
        ASKING_TO_STOP.contains(&self.number)
    }

    pub fn stops(self) -> bool {
        STOPPING.contains(&self.number)
    }

    /// Whether the terminal sent it, to all of our process group. When a terminal goes away, only the leader of its
    /// session hears of it (SIGHUP).
    pub fn is_from_terminal(self) -> bool {
        let only_ours = self.number == libc::SIGHUP && getsid(None) == Ok(unistd::getpid());
        self.from_kernel && FROM_TERMINAL.contains(&self.number) && !only_ours
    }
}

/// Leaves a helper process deaf to everything but its own faults, which the engine turns into traps: Ctrl-C in the
/// terminal reaches the whole process group, and a hook is to finish all the same.
pub fn only_faults() {
    let mut mask = SigSet::all();
    for signal in OURS {
        if let Ok(signal) = Signal::try_from(signal) {
            mask.remove(signal);
        }
    }
    let _ = mask.thread_set_mask();
}

/// `SIGTERM`, or `signal 40` for one without a name.
pub fn name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().into())
}

#[allow(unsafe_code)]
fn raw(signal: i32) -> rustix::process::Signal {
    // SAFETY: the numbers come from the kernel or the table above; none is sent that libc keeps for its threads,
    // of which there are none.
    unsafe { rustix::process::Signal::from_raw_unchecked(signal) }
}

pub fn send(pid: Pid, signal: i32) -> Result<(), Errno> {
    kill_process(pid, raw(signal))
}

pub fn send_to_group(group: Pid, signal: i32) -> Result<(), Errno> {
    kill_process_group(group, raw(signal))
}

/// Lets a stopping signal have its default effect on the wrapper: it stops until it is continued. The kernel leaves
/// PID 1 alone, and any group of which no shell would resume it.
pub fn stop_self(signal: i32) {
    let Ok(signal) = Signal::try_from(signal) else { return };
    let mut only = SigSet::empty();
    only.add(signal);
    let _ = send(getpid(), signal as i32);
    let _ = only.thread_unblock();
    let _ = only.thread_block();
}

/// Stops our whole process group, as Ctrl-Z would have without a group of the command's own.
pub fn stop_group(ours: Pid) {
    let _ = send_to_group(ours, libc::SIGTSTP);
    stop_self(libc::SIGTSTP);
}

/// Whether a process was stopped for reading or changing the terminal from the background.
pub fn wants_terminal(signal: i32) -> bool {
    [libc::SIGTTIN, libc::SIGTTOU].contains(&signal)
}

fn is_ignored(signal: i32) -> bool {
    disposition(signal, None) == Some(libc::SIG_IGN)
}

fn set(signal: i32, handler: libc::sighandler_t) {
    disposition(signal, Some(handler));
}

/// What a signal does before this call, which sets it to `new` if there is one. The libraries at hand know neither
/// how to ask without setting nor the real-time signals.
#[allow(unsafe_code)]
fn disposition(signal: i32, new: Option<libc::sighandler_t>) -> Option<libc::sighandler_t> {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all-zero bytes are a valid sigaction: the default, no flags, an empty mask. The handlers set here are
    // SIG_IGN and SIG_DFL, so that no code of ours runs in a signal handler.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = new.unwrap_or(libc::SIG_DFL);
        let set = if new.is_some() { ptr::from_ref(&action) } else { ptr::null() };
        match libc::sigaction(signal, set, old.as_mut_ptr()) {
            0 => Some(old.assume_init().sa_sigaction),
            _ => None,
        }
    }
}
