//! The system calls that are left to a process, one by one, and what their arguments may be.

use super::{Network, Wall};
use SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, sock_filter,
};
use std::{collections::BTreeMap, env::consts::ARCH};

/// What the engine, the allocator, the event loop and the log need: memory, time, waiting, and the files that are
/// open. Nothing that names a file, a process or an address.
const CALLS: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_pwritev2,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_seccomp,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

/// The same under the names that only this architecture still has.
#[cfg(target_arch = "x86_64")]
const CALLS_HERE: &[i64] = &[libc::SYS_epoll_wait, libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const CALLS_HERE: &[i64] = &[];

/// A call of the runner's that fails with ENOSYS, as on a kernel without it. wasmtime then initialises a hook's memory with a copy, which
/// is cheaper for what runs once, where EPERM would keep it from loading the hook. Allowed, it would be a way around the
/// limit on data: a file in memory does not count for it.
const ABSENT: i64 = libc::SYS_memfd_create;

/// The kinds of sockets, beside flags in the same argument of socket(2).
const STREAM: u64 = libc::SOCK_STREAM as u64;
const DATAGRAM: u64 = libc::SOCK_DGRAM as u64;

/// What HTTP and name lookups need besides.
const NETWORK: [i64; 5] =
    [libc::SYS_connect, libc::SYS_getpeername, libc::SYS_getsockname, libc::SYS_getsockopt, libc::SYS_setsockopt];

/// What of descriptors a process may ask or change: nothing by which the kernel would send signals for it (F_SETOWN),
/// and no flag of those that the command shares (F_SETFL).
const FCNTL: [i32; 7] = [
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETLKW,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GET_SEALS,
    libc::F_ADD_SEALS,
];

/// The calls above and, if there is a network, sockets of the internet; everything else is refused.
pub fn seccomp(network: Network) -> Wall {
    let allowed = if matches!(network, Network::Reports(_)) { &[][..] } else { &NETWORK };
    let mut rules: Rules = [CALLS, CALLS_HERE, allowed].concat().into_iter().map(|call| (call, Vec::new())).collect();
    // Standard error is the command's too, and may be the terminal: it is written to, and nothing else.
    let stderr = libc::STDERR_FILENO as u64;
    for call in [libc::SYS_read, libc::SYS_readv, libc::SYS_pread64, libc::SYS_recvfrom, libc::SYS_recvmsg] {
        rules.insert(call, vec![arguments(&[(0, Ne, stderr)])?]);
    }
    let fcntl = FCNTL.map(|command| arguments(&[(1, Eq, command as u64)]));
    rules.insert(libc::SYS_fcntl, fcntl.into_iter().collect::<Result<_, _>>()?);
    // Memory that the limit on data counts: not what is shared, nor what grows like a stack.
    let uncounted = (libc::MAP_SHARED | libc::MAP_GROWSDOWN) as u64;
    rules.insert(libc::SYS_mmap, vec![arguments(&[(3, MaskedEq(uncounted), 0)])?]);
    // What could name another process may name this one only.
    let own = u64::from(std::process::id());
    rules.extend([
        // For the filter that seal_code adds.
        (libc::SYS_prctl, vec![arguments(&[(0, Eq, libc::PR_SET_NO_NEW_PRIVS as u64)])?]),
        // The allocator asks for the stack's limit.
        (libc::SYS_prlimit64, vec![arguments(&[(0, Eq, 0)])?]),
        // How the compiler steps back behind the command: PRIO_PROCESS, this one.
        (libc::SYS_getpriority, vec![arguments(&[(0, Eq, 0), (1, Eq, 0)])?]),
        (libc::SYS_setpriority, vec![arguments(&[(0, Eq, 0), (1, Eq, 0)])?]),
        // How a panic ends the process.
        (libc::SYS_tgkill, vec![arguments(&[(0, Eq, own)])?]),
    ]);
    if let Network::Reports(reports) = network {
        // The machine code: a file without a name, which is sealed and handed over.
        rules.insert(libc::SYS_memfd_create, Vec::new());
        let sockets = reports.iter().map(|report| arguments(&[(0, Eq, report.unsigned_abs().into())]));
        rules.insert(libc::SYS_sendmsg, sockets.collect::<Result<_, _>>()?);
    } else {
        // The protocol that the kernel chooses: others, such as MPTCP, are not what Landlock judges.
        let tcp = |family: i32| arguments(&[(0, Eq, family as u64), (1, MaskedEq(0xf), STREAM), (2, Eq, 0)]);
        let udp = |family: i32| arguments(&[(0, Eq, family as u64), (1, MaskedEq(0xf), DATAGRAM), (2, Eq, 0)]);
        let mut sockets = vec![tcp(libc::AF_INET)?, tcp(libc::AF_INET6)?];
        if network == Network::TcpAndLookups {
            sockets.extend([udp(libc::AF_INET)?, udp(libc::AF_INET6)?]);
            // Landlock keeps TCP from listening.
            rules.insert(libc::SYS_bind, Vec::new());
        }
        // A fast open would connect without being judged.
        let fast = libc::MSG_FASTOPEN as u64;
        rules.extend([
            (libc::SYS_socket, sockets),
            (libc::SYS_sendto, vec![arguments(&[(3, MaskedEq(fast), 0)])?]),
            (libc::SYS_sendmsg, vec![arguments(&[(2, MaskedEq(fast), 0)])?]),
            (libc::SYS_shutdown, Vec::new()),
        ]);
    }
    let first = if matches!(network, Network::Reports(_)) { &[][..] } else { &absent() };
    install(first, rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow).map(|()| "seccomp")
}

/// No memory can be made executable.
pub fn nothing_becomes_code() -> Wall {
    let executable = libc::PROT_EXEC as u64;
    let mut rules = Rules::new();
    for call in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        rules.insert(call, vec![arguments(&[(2, MaskedEq(executable), executable)])?]);
    }
    install(&[], rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32)).map(|()| "no new code")
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// A rule that holds when all of these arguments, counted from 0, compare so.
fn arguments(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, String> {
    let rule = || -> Result<SeccompRule, seccompiler::BackendError> {
        let conditions = conditions.iter().map(|(index, compare, value)| {
            SeccompCondition::new(*index, SeccompCmpArgLen::Dword, compare.clone(), *value)
        });
        SeccompRule::new(conditions.collect::<Result<_, _>>()?)
    };
    rule().map_err(|error| format!("seccomp ({error})"))
}

/// Installs a filter that begins with these instructions.
fn install(
    first: &[sock_filter],
    rules: Rules,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<(), String> {
    let program = || -> Result<BpfProgram, seccompiler::BackendError> {
        SeccompFilter::new(rules, otherwise, matched, TargetArch::try_from(ARCH)?)?.try_into()
    };
    let mut program = program().map_err(|error| format!("seccomp ({error})"))?;
    program.splice(0..0, first.iter().cloned());
    apply_filter(&program).map_err(|error| format!("seccomp ({error})"))
}

/// Instructions for the start of a filter that refuse that call. They run before the check of the architecture, which is
/// safe because they allow nothing.
fn absent() -> [sock_filter; 3] {
    const NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let unknown = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    // The number is the first word of struct seccomp_data.
    [(NUMBER, 0, 0), (EQUAL, 1, ABSENT as u32), (RETURN, 0, unknown)].map(|(code, otherwise, k)| sock_filter {
        code,
        jt: 0,
        jf: otherwise,
        k,
    })
}
