//! Supervisor: creates processes.

use super::signals::block_all_but_faults;
use nix::{
    errno::Errno,
    sched::{CloneFlags, clone},
    sys::signal::Signal::SIGCHLD,
    unistd::{ForkResult, fork as nix_fork},
};
use rustix::{
    fs::{Mode, OFlags, open},
    io::write,
    mm::{MapFlags, ProtFlags, mmap_anonymous, munmap},
    process::{
        DumpableBehavior, Pid, Signal, getpid, getppid, set_dumpable_behavior, set_parent_process_death_signal, setpgid,
    },
};
use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::null_mut,
};

/// Runs `child` in a new process of our own, which inherits everything this one knows as plain values. Whatever becomes
/// of the supervisor, it does not outlive it.
pub fn fork_helper(child: impl FnOnce() -> Infallible) -> Result<Pid, Errno> {
    let supervisor = getpid();
    fork(|| {
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        // The parent may have died before prctl took effect; then no signal comes (PR_SET_PDEATHSIG(2const)).
        if getppid().is_some_and(|parent| parent != supervisor) {
            exit_now(crate::outcome::WRAPPER_FAILED);
        }
        block_all_but_faults();
        // A signal to the supervisor's group, or to the command's, is not meant for this process.
        let _ = setpgid(None, None);
        die_first();
        // The command may run as the same user; it must not trace this process or open its descriptors.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        child()
    })
}

/// Has the kernel end this process before all others of the container when memory is short: the container exists for
/// the command. Without /proc nothing changes.
fn die_first() {
    /// The greatest value, with which a process is killed first (proc_pid_oom_score_adj(5)). It takes no privilege.
    const FIRST: &[u8] = b"1000";
    let file = open("/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let _ = file.and_then(|file| write(&file, FIRST));
}

/// Runs `child` in a new process. A panic in it ends it.
#[allow(unsafe_code)]
pub fn fork(child: impl FnOnce() -> Infallible) -> Result<Pid, Errno> {
    // SAFETY: after a fork only the calling thread goes on, and a lock that another one held would stay locked for
    // ever. The supervisor has exactly one thread.
    match unsafe { nix_fork() }? {
        ForkResult::Parent { child } => Pid::from_raw(child.as_raw()).ok_or(Errno::ESRCH),
        ForkResult::Child => {
            let _ = catch_unwind(AssertUnwindSafe(child));
            exit_now(crate::outcome::WRAPPER_FAILED)
        }
    }
}

/// Runs `child` in a new process that borrows this one's memory until it executes a program or ends, as vfork(2) has
/// it. This one waits for that, and nothing has to be copied: 25 page faults less. A panic in it ends it.
#[allow(unsafe_code)]
pub fn fork_for_exec(mut child: impl FnMut() -> Infallible) -> Result<Pid, Errno> {
    /// Bytes for its stack: what restores signals and looks for a file in PATH takes a tenth of it. The kernel makes
    /// the pages that are used, and no others.
    const STACK: usize = 64 * 1024;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: new memory, at a place that the kernel chooses.
    let stack = match unsafe { mmap_anonymous(null_mut(), STACK, protection, MapFlags::PRIVATE) } {
        Ok(stack) => stack,
        Err(errno) => return Err(nix_errno(errno)),
    };
    // SAFETY: it is zeroed, and nobody else knows of it.
    let memory = unsafe { std::slice::from_raw_parts_mut(stack.cast::<u8>(), STACK) };
    let run = || {
        let _ = catch_unwind(AssertUnwindSafe(&mut child));
        exit_now(crate::outcome::WRAPPER_FAILED)
    };
    let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // SAFETY: this thread, the only one, does not run while the child uses its memory, and the child has a stack of its
    // own. What it changes there is seen here, as if a function had been called; it must not allocate, since it can be
    // killed at any point. How signals are handled is its own. Before Linux 5.16 a signal that dumps core ends both, if
    // it comes in the microseconds between the child's unblocking of signals and its exec.
    let result = unsafe { clone(Box::new(run), memory, flags, Some(SIGCHLD as i32)) };
    // SAFETY: the child has executed a program or ended.
    let _ = unsafe { munmap(stack, STACK) };
    match result {
        Ok(child) => Pid::from_raw(child.as_raw()).ok_or(Errno::ESRCH),
        // A filter of system calls, or before Linux 6.1 a time namespace for children.
        Err(Errno::EINVAL | Errno::EPERM | Errno::ENOSYS) => fork(child),
        Err(errno) => Err(errno),
    }
}

/// Ends a forked process at once, without what the supervisor meant to do at its own end.
#[allow(unsafe_code)]
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit(2) only ends the process.
    unsafe { libc::_exit(code.into()) }
}

/// The same error number, of the other library.
pub fn nix_errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
