//! Supervisor: the table of signals, the state in which wrapper found them, and how they are read and sent.
//!
//! All signals are blocked and read from a descriptor. A blocked signal is never lost, not even one that the kernel
//! would otherwise discard for PID 1.

use nix::sys::{
    signal::{SigSet, SigmaskHow, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::BorrowedFd,
    io::Errno,
    process::{Pid, getpid, kill_process, kill_process_group},
};
use std::{io, mem::MaybeUninit, ptr, time::Instant};

pub const SIGKILL: i32 = libc::SIGKILL;
pub const SIGTERM: i32 = libc::SIGTERM;
pub const SIGCONT: i32 = libc::SIGCONT;

/// Signals are numbered from 1 to this (signal(7)).
const LAST: i32 = 64;

/// And from this one on they are real-time signals.
const FIRST_REAL_TIME: i32 = 32;

/// The first that programs can use, as container runtimes count from `SIGRTMIN`. The C library keeps those before it.
const RTMIN: i32 = 34;

/// Not forwarded: signals that the kernel raises for a fault of our own, or for our own children.
const NOT_FORWARDED: [i32; 8] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGCHLD,
];

/// Stop a process that does not handle them.
const STOPPING: [i32; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// Ask a program to exit.
const ASKING_TO_STOP: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP];

/// wrapper's signals, and the state in which the command will get its own.
pub struct Signals {
    fd: SignalFd,
    /// The mask at entry.
    mask: SigSet,
    /// Bit n: signal n was ignored at entry, as nohup does with SIGHUP.
    ignored: u128,
}

/// A received signal.
#[derive(Clone, Copy)]
pub struct Received {
    pub number: i32,
    /// Whether the terminal sent it, to all of the foreground group.
    pub from_terminal: bool,
    from_self: bool,
}

/// Result of waiting for signals and another source.
pub enum Woken {
    Signal(Received),
    /// The other source can be read.
    Readable,
    /// Neither, so far.
    Nothing,
}

impl Signals {
    /// Blocks all signals, which are read from a descriptor from now on.
    pub fn block_all() -> io::Result<Self> {
        // Before anything else: until then the kernel discards signals for PID 1.
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let ignored = (1..=LAST).filter(|signal| is_ignored(*signal)).fold(0, |bits, signal| bits | 1 << signal);
        if is_ignored(libc::SIGCHLD) {
            // Otherwise the kernel reaps the command itself and its status is lost (wait(2)).
            set(libc::SIGCHLD, libc::SIG_DFL);
        }
        let fd = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { fd, mask, ignored })
    }

    /// Waits for the next signal, for the other source if there is one, and at most until the deadline.
    pub fn next(&self, deadline: Option<Instant>, source: Option<BorrowedFd>) -> Woken {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let signals = PollFd::new(&self.fd, PollFlags::IN);
        let readable = match source {
            Some(source) => {
                let mut fds = [signals, PollFd::from_borrowed_fd(source, PollFlags::IN)];
                // The result of poll does not matter: reading does not block.
                let _ = poll(&mut fds, timeout.as_ref());
                fds.last().is_some_and(|source| !source.revents().is_empty())
            }
            None => {
                let _ = poll(&mut [signals], timeout.as_ref());
                false
            }
        };
        match self.read() {
            Some(signal) => Woken::Signal(signal),
            None if readable => Woken::Readable,
            None => Woken::Nothing,
        }
    }

    fn read(&self) -> Option<Received> {
        let info = self.fd.read_signal().ok()??;
        Some(Received {
            number: info.ssi_signo.try_into().ok()?,
            from_terminal: info.ssi_code == libc::SI_KERNEL,
            from_self: info.ssi_pid == std::process::id(),
        })
    }

    /// Whether a signal is passed on to the command. A SIGPIPE of our own only means that the log's reader has exited.
    /// Signals ignored at entry are passed on, too: a command that still ignores it does not notice.
    pub fn is_forwarded(&self, signal: Received) -> bool {
        can_be_forwarded(signal.number) && !signal.from_self
    }

    /// Whether a signal asks wrapper to stop. One that was ignored at entry, as nohup does with SIGHUP, does not.
    pub fn asks_to_stop(&self, signal: Received) -> bool {
        ASKING_TO_STOP.contains(&signal.number) && !self.ignores(signal.number)
    }

    fn ignores(&self, signal: i32) -> bool {
        self.ignored & 1 << signal != 0
    }

    /// Restores the signal mask and dispositions that wrapper inherited.
    pub fn restore(&self) {
        if self.ignores(libc::SIGCHLD) {
            set(libc::SIGCHLD, libc::SIG_IGN);
        }
        let _ = self.mask.thread_set_mask();
    }
}

impl Received {
    /// Whether the terminal stops its foreground group, as with Ctrl-Z, or a background group that reads from it.
    pub fn is_job_control(self) -> bool {
        self.from_terminal && stops(self.number)
    }

    /// Whether several pending ones are merged into one (signal(7)); real-time signals are queued.
    pub fn is_standard(self) -> bool {
        self.number < FIRST_REAL_TIME
    }
}

/// Blocks all signals in a helper except its own faults, which the engine turns into traps. Stop signals go to the
/// supervisor, which decides whether a hook may finish.
pub fn block_all_but_faults() {
    let mut mask = SigSet::all();
    for signal in NOT_FORWARDED {
        if let Ok(signal) = Signal::try_from(signal) {
            mask.remove(signal);
        }
    }
    let _ = mask.thread_set_mask();
}

/// The number of a signal: `TERM`, `SIGTERM`, `15`, `RTMIN+1` or `RTMAX-1`, in capital or small letters.
pub fn parse(text: &str) -> Option<i32> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let number = match digits(text) {
        Some(number) => number,
        None => {
            let name = text.to_ascii_uppercase();
            let name = name.strip_prefix("SIG").unwrap_or(&name);
            let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
                (Some(""), _) => Some(RTMIN),
                (_, Some("")) => Some(LAST),
                (Some(above), _) => Some(RTMIN.checked_add(digits(above.strip_prefix('+')?)?)?),
                (_, Some(below)) => Some(LAST.checked_sub(digits(below.strip_prefix('-')?)?)?),
                (None, None) => None,
            };
            match real_time {
                Some(number) if number >= RTMIN => number,
                Some(_) => return None,
                None => format!("SIG{name}").parse::<Signal>().ok()? as i32,
            }
        }
    };
    let is_used = (1..FIRST_REAL_TIME).contains(&number) || (RTMIN..=LAST).contains(&number);
    is_used.then_some(number)
}

/// Whether a process can do anything about a signal (signal(7)).
pub fn can_be_caught(signal: i32) -> bool {
    ![libc::SIGKILL, libc::SIGSTOP].contains(&signal)
}

pub fn can_be_forwarded(signal: i32) -> bool {
    !NOT_FORWARDED.contains(&signal)
}

/// Whether a signal stops a process that does not handle it, until it is continued.
pub fn stops(signal: i32) -> bool {
    STOPPING.contains(&signal) || signal == libc::SIGSTOP
}

/// `SIGTERM`, or `signal 40` for one without a name.
pub fn name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().into())
}

#[allow(unsafe_code)]
fn raw(signal: i32) -> rustix::process::Signal {
    // SAFETY: the numbers come from the kernel, the table above or `parse`; none is sent that libc keeps for its
    // threads, of which there are none.
    unsafe { rustix::process::Signal::from_raw_unchecked(signal) }
}

pub fn send(pid: Pid, signal: i32) -> Result<(), Errno> {
    kill_process(pid, raw(signal))
}

pub fn send_to_group(group: Pid, signal: i32) -> Result<(), Errno> {
    kill_process_group(group, raw(signal))
}

/// Lets a stopping signal have its default effect on wrapper: it stops until it is continued. The kernel leaves PID 1
/// alone, and any group of which no shell would resume it.
pub fn stop_self(signal: i32) {
    let Ok(signal) = Signal::try_from(signal) else { return };
    let mut only = SigSet::empty();
    only.add(signal);
    let _ = send(getpid(), signal as i32);
    let _ = only.thread_unblock();
    let _ = only.thread_block();
}

/// Whether this can be read now, or is at its end.
pub fn is_readable(source: BorrowedFd) -> bool {
    matches!(poll(&mut [PollFd::from_borrowed_fd(source, PollFlags::IN)], Some(&Timespec::default())), Ok(1..))
}

/// Stops our whole process group, the rest of a pipeline included, as Ctrl-Z does without a group of the command's own.
pub fn stop_group(ours: Option<Pid>) {
    if let Some(ours) = ours {
        let _ = send_to_group(ours, libc::SIGTSTP);
    }
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

/// Disposition of a signal before this call, which sets it to `new` if there is one. nix can neither query without
/// setting nor handle real-time signals.
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
