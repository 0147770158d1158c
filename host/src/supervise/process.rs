//! Supervisor: makes processes.

use super::signals::block_all_but_faults;
use nix::{
    errno::Errno,
    unistd::{ForkResult, fork as nix_fork},
};
use rustix::{
    fs::{Mode, OFlags, open},
    io::write,
    mm::{Advice, madvise},
    process::{
        DumpableBehavior, Pid, Signal, getpid, getppid, set_dumpable_behavior, set_parent_process_death_signal, setpgid,
    },
};
use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
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
        // The command may run as the same user; it is not to trace this process, or to open its descriptors.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        child()
    })
}

/// Has the kernel end this process before all others of the container when memory is short: the command is what the
/// container is there for. Without /proc nothing changes.
fn die_first() {
    /// The greatest value, with which a process is the first (proc_pid_oom_score_adj(5)). Nobody needs a right for it.
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

/// Gives back the pages of our own code and constants, most of which only the start needs: a thousandth of them is
/// enough for waiting. They stay in the page cache, and what is used again is mapped again.
#[allow(unsafe_code)]
pub fn release_code_pages() {
    // Where the linker says that the program begins and its code ends. The pages between are never written to.
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let (start, end) = (&raw const __executable_start, &raw const etext);
    let length = end.addr().saturating_sub(start.addr());
    // SAFETY: for unwritten pages of a file the advice (madvise(2)) changes nothing but when they are mapped.
    let _ = unsafe { madvise(start.cast_mut().cast(), length, Advice::LinuxDontNeed) };
}

/// Gives back the memory that the start has freed, most of it the command line's parser's, which the allocator would
/// keep.
#[allow(unsafe_code)]
pub fn trim_heap() {
    // SAFETY: it takes a number and knows what is free (malloc_trim(3)).
    #[cfg(target_env = "gnu")]
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Ends a forked process at once, without what the supervisor meant to do at its own end.
#[allow(unsafe_code)]
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit(2) only ends the process.
    unsafe { libc::_exit(code.into()) }
}
