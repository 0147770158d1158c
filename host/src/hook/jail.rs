//! The third wall: what the operating system still allows if the first two, WebAssembly and the policy, are gone.
//!
//! A process that handles bytes from outside gives up its rights before it reads the first of them. Kernels and
//! container sandboxes differ in what they offer; what can be had is taken, and `--log debug` says what stands.

use super::{http::Means, limits::MEMORIES};
use crate::{cli::Config, log};
use SeccompCmpOp::{Eq, MaskedEq, Ne};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::set_no_new_privs,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use std::{collections::BTreeMap, env::consts::ARCH};

/// The latest of Landlock's versions that is asked for; older kernels give what they have.
const LANDLOCK: ABI = ABI::V6;

/// More files than a hook's eight connections, the event loop and a name lookup need.
const FILES: u64 = 64;

/// Memory besides the hook's: the compiler at work, tables, stacks; and address space for it and the program.
const BESIDES: u64 = 512 << 20;

/// Address space of a memory whose bounds the processor keeps: 4 GiB, and room before and behind it.
const RESERVATION: u64 = (4 << 30) + (128 << 20);

/// Address space for compiling beside the command, whose container this memory is taken from. What needs more is
/// compiled when it runs.
const COMPILER_SPACE: u64 = 256 << 20;

/// Processor time for compiling. A hook of 16 MiB takes a tenth of it; beyond lies only what was made to be slow.
const COMPILER_SECONDS: u64 = 60;

/// Puts the process that checks and compiles into its jail: no network, no files, nothing executable.
pub fn enter_as_compiler() {
    limit(Resource::Cpu, COMPILER_SECONDS);
    limit(Resource::As, COMPILER_SPACE);
    let walls = [common(), landlock(Some(&[])), seccomp(Network::None), nothing_becomes_code()];
    report("compiler", walls);
}

/// Puts the process that runs a hook into its jail: no files, TCP to the allowed ports, no other program.
pub fn enter_as_runner(config: &Config) {
    let memories = (MEMORIES * config.hook_memory) as u64;
    // What can be written to; a reservation cannot.
    limit(Resource::Data, BESIDES + memories);
    limit(Resource::As, BESIDES + if config.roomy { MEMORIES as u64 * RESERVATION } else { memories });
    let network = if config.allow_http.names_hosts() { Network::TcpAndLookups } else { Network::Tcp };
    let ports = Means::ports(&config.allow_http);
    let walls = [common(), landlock(ports.as_deref()), seccomp(network)];
    report("runner", walls);
}

/// Takes away the last right that loading code needs: from here on nothing more becomes executable.
pub fn seal_code() {
    report("runner, code loaded", [nothing_becomes_code()]);
}

/// What stands, or why it does not.
type Wall = Result<&'static str, String>;

fn report<const N: usize>(whose: &str, walls: [Wall; N]) {
    log::debug(|| {
        let words = walls.into_iter().map(|wall| match wall {
            Ok(name) => name.to_owned(),
            Err(why) => format!("no {why}"),
        });
        format!("walls of the {whose}: {}", words.collect::<Vec<_>>().join(", "))
    });
}

/// Sets a limit, or leaves it where it is stricter already.
fn limit(resource: Resource, most: u64) {
    let given = getrlimit(resource);
    let lower = |given: Option<u64>| Some(given.map_or(most, |given| given.min(most)));
    let _ = setrlimit(resource, Rlimit { current: lower(given.current), maximum: lower(given.maximum) });
}

fn common() -> Wall {
    limit(Resource::Core, 0);
    limit(Resource::Nproc, 0);
    limit(Resource::Nofile, FILES);
    match set_no_new_privs(true) {
        Ok(()) => Ok("limits and no_new_privs"),
        Err(error) => Err(format!("no_new_privs ({error})")),
    }
}

/// No file can be opened. TCP goes to these ports only; with none given, to any.
fn landlock(ports: Option<&[u16]>) -> Wall {
    let restrict = || -> Result<RulesetStatus, RulesetError> {
        let net = match ports {
            Some(_) => AccessNet::BindTcp | AccessNet::ConnectTcp,
            None => AccessNet::BindTcp.into(),
        };
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(net)?
            .scope(Scope::AbstractUnixSocket | Scope::Signal)?
            .create()?;
        let rules = ports.unwrap_or_default().iter().map(|port| NetPort::new(*port, AccessNet::ConnectTcp));
        let rules = rules.map(Ok::<_, RulesetError>);
        Ok(ruleset.add_rules(rules)?.restrict_self()?.ruleset)
    };
    match restrict() {
        Ok(RulesetStatus::FullyEnforced) => Ok("landlock"),
        Ok(RulesetStatus::PartiallyEnforced) => Ok("landlock as far as this kernel has it"),
        Ok(RulesetStatus::NotEnforced) => Err("landlock (not in this kernel)".into()),
        Err(error) => Err(format!("landlock ({error})")),
    }
}

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

/// The kinds of sockets, beside flags in the same argument of socket(2).
const STREAM: u64 = libc::SOCK_STREAM as u64;
const DATAGRAM: u64 = libc::SOCK_DGRAM as u64;

/// What HTTP and name lookups need besides.
const NETWORK: [i64; 5] =
    [libc::SYS_connect, libc::SYS_getpeername, libc::SYS_getsockname, libc::SYS_getsockopt, libc::SYS_setsockopt];

/// What of the network a process may use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    None,
    Tcp,
    /// And UDP, in which name servers are asked.
    TcpAndLookups,
}

/// What of descriptors a process may ask or change: nothing by which the kernel would send signals for it (F_SETOWN),
/// and no flag of those that the command shares (F_SETFL).
const FCNTL: [i32; 6] =
    [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_DUPFD_CLOEXEC, libc::F_GET_SEALS, libc::F_ADD_SEALS];

/// The calls above and, if there is a network, sockets of the internet; everything else is refused.
fn seccomp(network: Network) -> Wall {
    let allowed = if network == Network::None { &[][..] } else { &NETWORK };
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
    if network != Network::None {
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
    install(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow).map(|()| "seccomp")
}

/// No memory can be made executable.
fn nothing_becomes_code() -> Wall {
    let executable = libc::PROT_EXEC as u64;
    let mut rules = Rules::new();
    for call in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        rules.insert(call, vec![arguments(&[(2, MaskedEq(executable), executable)])?]);
    }
    install(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32)).map(|()| "no new code")
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

fn install(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<(), String> {
    let program = || -> Result<BpfProgram, seccompiler::BackendError> {
        SeccompFilter::new(rules, otherwise, matched, TargetArch::try_from(ARCH)?)?.try_into()
    };
    let program = program().map_err(|error| format!("seccomp ({error})"))?;
    apply_filter(&program).map_err(|error| format!("seccomp ({error})"))
}

/// Closes every descriptor but these and stderr: what the command reads and writes is not a hook's business.
pub fn close_all_but(keep: &[i32]) {
    let mut keep = keep.to_vec();
    keep.push(libc::STDERR_FILENO);
    keep.sort_unstable();
    let mut next = 0;
    for fd in keep {
        close(next, fd - 1);
        next = fd + 1;
    }
    close(next, i32::MAX);
}

/// Closes this descriptor, which nothing here will use again.
pub fn give_up(fd: i32) {
    close(fd, fd);
}

#[allow(unsafe_code)]
fn close(first: i32, last: i32) {
    /// Without close_range(2), before Linux 5.9, numbers are closed one by one up to here.
    const HIGHEST: i32 = 65_536;
    if first > last {
        return;
    }
    // SAFETY: the descriptors in between belong to values of the supervisor, of which this process is a copy that
    // never drops or uses them.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) != 0 {
            for fd in first..=last.min(HIGHEST) {
                libc::close(fd);
            }
        }
    }
}
