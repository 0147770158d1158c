//! The third wall: what the operating system still allows if the first two, WebAssembly and the policy, are gone.
//!
//! A process that handles bytes from outside gives up its rights before it reads the first of them. Kernels and
//! container sandboxes differ in what they offer; what can be had is taken, and `--log debug` says what stands.

#[cfg_attr(
    not(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "x86_64")),
    path = "jail/no_seccomp.rs"
)]
mod seccomp;

use super::{Settings, http::Means, limits::MEMORIES};
use crate::log;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::set_no_new_privs,
};
use seccomp::{nothing_becomes_code, seccomp};

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

/// The largest file of machine code. It is several times the size of the WebAssembly, which is at most 32 MiB; a file in
/// memory counts for no other limit of the process that writes it. What is larger is compiled when it runs.
const MACHINE_CODE: u64 = 128 << 20;

/// Puts the process that checks and compiles into its jail: no network, no files but in memory, nothing executable.
/// Over these sockets, and no other, it may send descriptors (sendmsg(2)).
pub fn enter_as_compiler(reports: &[i32]) {
    limit(Resource::Cpu, COMPILER_SECONDS);
    limit(Resource::As, COMPILER_SPACE);
    // SIGXFSZ, which goes with the error, is blocked like every signal that is no fault.
    limit(Resource::Fsize, MACHINE_CODE);
    let walls = [common(), landlock(Some(&[])), seccomp(Network::Reports(reports)), nothing_becomes_code()];
    log_layers("compiler", walls);
}

/// Puts the process that runs a hook into its jail: no files, TCP to the allowed ports, no other program.
pub fn enter_as_runner(settings: &Settings, roomy: bool) {
    let allow_http = &settings.allow_http.value;
    let memories = MEMORIES as u64 * settings.memory.value as u64;
    // What can be written to; a reservation cannot.
    limit(Resource::Data, runner_memory(settings));
    limit(Resource::As, BESIDES + if roomy { MEMORIES as u64 * RESERVATION } else { memories });
    let network = if allow_http.names_hosts() { Network::TcpAndLookups } else { Network::Tcp };
    let ports = Means::ports(allow_http);
    let walls = [common(), landlock(ports.as_deref()), seccomp(network)];
    log_layers("runner", walls);
}

/// Bytes that the runner can have in memory, for compiling a hook and for running it.
pub fn runner_memory(settings: &Settings) -> u64 {
    BESIDES + MEMORIES as u64 * settings.memory.value as u64
}

/// Why a hook is not checked whose process has run out of memory.
pub fn too_large_to_check() -> String {
    format!("out of memory: that takes more than {} MiB, the limit for it", COMPILER_SPACE >> 20)
}

/// Takes away the last right that loading code needs: from here on nothing more becomes executable.
pub fn seal_code() {
    log_layers("runner, code loaded", [nothing_becomes_code()]);
}

/// What of the network a process may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Network<'a> {
    /// None, but for messages over sockets that are there already.
    Reports(&'a [i32]),
    Tcp,
    /// And UDP, in which name servers are asked.
    TcpAndLookups,
}

/// What stands, or why it does not.
type Wall = Result<&'static str, String>;

fn log_layers<const N: usize>(whose: &str, walls: [Wall; N]) {
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

/// Keeps a process that compiles to its share of the container's memory.
pub fn limit_memory(bytes: u64) {
    limit(Resource::Data, bytes);
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
