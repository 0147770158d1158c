//! Compiler and runner: the system calls that are left to a process, one by one, and what their arguments may be.

mod bpf;
mod cpu;
#[cfg(test)]
mod tests;

use super::Layer;
use bpf::{
    Answer,
    Condition::{self, Bits, Not, Word},
    Rules, int,
};

/// Whether it can check what is mapped.
pub const SEES_MAPPINGS: bool = !cpu::MMAP_IS_OPAQUE;

/// Whose filter it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has no network. Over this socket, which is there already, it may send a descriptor.
    Compiler { report: i32 },
    /// It has TCP, and with `lookups` UDP too, over which name servers are queried.
    /// With `may_map_code` it can make memory executable, until that is forbidden.
    Runner { lookups: bool, may_map_code: bool },
}

/// Calls that every process needs, with any arguments: memory and its own exit. None names a file, process or address.
const CALLS: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Standard error is the command's too: its file, its terminal or its socket. It is appended to, and nothing else: what
/// could read, rewrite, shut down or duplicate it must name another descriptor. The descriptor is always the first
/// argument.
const NOT_STDERR: Condition = Not(0, libc::STDERR_FILENO.cast_unsigned());

/// Allowed commands of fcntl(2): none that makes the kernel send signals (F_SETOWN).
const FCNTL: [i32; 6] =
    [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_DUPFD_CLOEXEC, libc::F_GET_SEALS, libc::F_ADD_SEALS];

/// Of mmap(2): private memory that the limit on data counts. Not shared, growing like a stack, locked, in huge pages,
/// or a file's.
const MAPPING: Condition = Bits(
    3,
    (libc::MAP_TYPE | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN | libc::MAP_LOCKED | libc::MAP_HUGETLB).cast_unsigned(),
    (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS).cast_unsigned(),
);

/// Of mmap(2) and mprotect(2).
const NOT_EXECUTABLE: Condition = Bits(2, libc::PROT_EXEC.cast_unsigned(), 0);
const EXECUTABLE: Condition = Bits(2, libc::PROT_EXEC.cast_unsigned(), libc::PROT_EXEC.cast_unsigned());

/// A system clock, or one of this process: the number of another process's is negative (clock_getcpuclockid(3)).
const OWN_CLOCK: Condition = Bits(0, 1 << 31, 0);

/// Waiting and waking, of one's own memory or not, by any clock. No priority inheritance, no requeueing.
const FUTEX: [i32; 4] = [libc::FUTEX_WAIT, libc::FUTEX_WAKE, libc::FUTEX_WAIT_BITSET, libc::FUTEX_WAKE_BITSET];
const FUTEX_COMMAND: u32 = !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME).cast_unsigned();

/// The kinds of sockets, beside flags in the same argument of socket(2).
const KIND: u32 = 0xf;

/// The calls of this role; all others are refused.
pub fn seccomp(role: Role) -> Layer {
    install(&rules(role), Answer::Refuse).map(|()| "seccomp")
}

/// No memory can be made executable, and no filter be added.
pub fn forbid_executable_memory() -> Result<(), String> {
    install(&no_executable_memory(), Answer::Allow)
}

fn no_executable_memory() -> Rules {
    let mut rules = Rules::default();
    if !cpu::MMAP_IS_OPAQUE {
        rules.add(&[cpu::MMAP], &[EXECUTABLE], Answer::Refuse);
    }
    rules.add(&[libc::SYS_mprotect], &[EXECUTABLE], Answer::Refuse);
    rules.add(&[libc::SYS_prctl, libc::SYS_seccomp], &[], Answer::Refuse);
    rules
}

fn install(rules: &Rules, otherwise: Answer) -> Result<(), String> {
    let program = bpf::assemble(rules, otherwise, &cpu::MACHINE).map_err(|error| format!("seccomp ({error})"))?;
    bpf::install(program).map_err(|error| format!("seccomp ({error})"))
}

fn rules(role: Role) -> Rules {
    let mut rules = Rules::default();
    rules.allow(CALLS, &[]);
    rules.allow(cpu::POLL, &[]);
    rules.allow(cpu::SIGRETURN, &[]);
    // How lines are written: at the end, without waiting. At an offset, or by RWF_NOAPPEND, earlier lines of a file
    // could be changed.
    rules.allow(&[libc::SYS_pwritev2], &[&cpu::at_current_offset(3)[..], &[int(5, libc::RWF_NOWAIT)]].concat());
    rules.allow(&[libc::SYS_read, libc::SYS_readv, libc::SYS_pread64], &[NOT_STDERR]);
    rules.allow(cpu::FSTAT, &[NOT_STDERR]);
    for command in FCNTL {
        rules.allow(cpu::FCNTL, &[NOT_STDERR, int(1, command)]);
    }
    rules.allow(cpu::CLOCKS, &[OWN_CLOCK]);
    for command in FUTEX {
        rules.allow(cpu::FUTEX, &[Bits(1, FUTEX_COMMAND, command.cast_unsigned())]);
    }
    rules.allow(&[libc::SYS_madvise], &[int(2, libc::MADV_DONTNEED)]);
    // With ENOSYS, as on an older kernel, the engine copies what it would have mapped.
    rules.add(&[libc::SYS_memfd_create], &[], Answer::Missing);
    // Only for this process. The allocator reads the limits; they are not set.
    rules.allow(&[libc::SYS_prlimit64], &[int(0, 0), Word(2, 0)]);
    rules.allow(&[libc::SYS_sched_getaffinity], &[int(0, 0)]);
    // How a panic ends the process.
    rules.allow(&[libc::SYS_tgkill], &[Bits(0, u32::MAX, std::process::id())]);
    match role {
        Role::Compiler { report } => compiler(&mut rules, report),
        Role::Runner { lookups, may_map_code } => runner(&mut rules, lookups, may_map_code),
    }
    rules
}

fn compiler(rules: &mut Rules, report: i32) {
    memory(rules, false);
    rules.allow(&[libc::SYS_sendmsg], &[int(0, report)]);
    // How it waits for its turn: a lock on a file that it shares with its like.
    for command in cpu::LOCK {
        rules.allow(cpu::FCNTL, &[NOT_STDERR, int(1, *command)]);
    }
    // It limits itself to its share of memory: without capabilities a hard limit can only be lowered.
    rules.allow(&[libc::SYS_prlimit64], &[int(0, 0), Bits(1, u32::MAX, libc::RLIMIT_DATA)]);
    // It lowers its own priority below the command's (PRIO_PROCESS).
    rules.allow(&[libc::SYS_getpriority, libc::SYS_setpriority], &[int(0, 0), int(1, 0)]);
}

/// Memory of one's own, and whether some of it can become executable.
fn memory(rules: &mut Rules, may_map_code: bool) {
    let conditions = if may_map_code { &[][..] } else { &[NOT_EXECUTABLE] };
    let mapping = if cpu::MMAP_IS_OPAQUE { Vec::new() } else { [&[MAPPING], conditions].concat() };
    rules.allow(&[cpu::MMAP], &mapping);
    rules.allow(&[libc::SYS_mprotect], conditions);
}

fn runner(rules: &mut Rules, lookups: bool, may_map_code: bool) {
    memory(rules, may_map_code);
    if may_map_code {
        rules.allow(cpu::MAP_CODE, &[]);
        // For `forbid_executable_memory`: one more filter, without flags. One of them would make a descriptor of all
        // further calls (SECCOMP_FILTER_FLAG_NEW_LISTENER).
        rules.allow(&[libc::SYS_seccomp], &[Bits(0, u32::MAX, libc::SECCOMP_SET_MODE_FILTER), Word(1, 0)]);
        rules.allow(&[libc::SYS_prctl], &[int(0, libc::PR_SET_MDWE)]);
    }
    // The event loop.
    rules.allow(&[libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_eventfd2], &[]);
    rules.allow(cpu::EPOLL_WAIT, &[]);
    // TCP, with the kernel's default protocol: Landlock does not check others, such as MPTCP.
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut socket = |kind: i32| {
            rules.allow(&[libc::SYS_socket], &[int(0, family), Bits(1, KIND, kind.cast_unsigned()), int(2, 0)]);
        };
        socket(libc::SOCK_STREAM);
        if lookups {
            socket(libc::SOCK_DGRAM);
        }
    }
    if lookups {
        // Landlock denies it for TCP, and listen(2) is not allowed.
        rules.allow(&[libc::SYS_bind], &[NOT_STDERR]);
    }
    rules.allow(&[libc::SYS_connect, libc::SYS_getpeername, libc::SYS_getsockname, libc::SYS_shutdown], &[NOT_STDERR]);
    rules.allow(&[libc::SYS_getsockopt], &[NOT_STDERR, int(1, libc::SOL_SOCKET), int(2, libc::SO_ERROR)]);
    rules.allow(&[libc::SYS_setsockopt], &[NOT_STDERR, int(1, libc::IPPROTO_TCP), int(2, libc::TCP_NODELAY)]);
    rules.allow(&[libc::SYS_recvfrom], &[NOT_STDERR]);
    // To the peer of the socket only. A fast open would connect to an address that Landlock has not checked.
    let slow = Bits(3, libc::MSG_FASTOPEN.cast_unsigned(), 0);
    rules.allow(&[libc::SYS_sendto], &[NOT_STDERR, slow, Word(4, 0)]);
    let [recv, send] = cpu::RECV_SEND;
    rules.allow(recv, &[NOT_STDERR]);
    rules.allow(send, &[NOT_STDERR, slow]);
}
