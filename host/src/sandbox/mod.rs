//! Compiler and runner: the OS sandbox: rlimits, no capabilities, no_new_privs, Landlock, seccomp. It holds if the two
//! other layers, WebAssembly and the allow list, do not.
//!
//! It is entered before the first byte from outside is looked at. Kernels and container sandboxes differ in what they
//! offer; what they offer is used, and `--log debug` shows which layers are in force.

#[cfg(debug_assertions)]
pub mod escape;
pub mod heap;
mod landlock;

// The five platforms of the releases, see release/platform.sh.
#[cfg(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "s390x",
    target_arch = "x86_64"
))]
mod filter;

/// CPUs whose system calls `filter/cpu.rs` does not know.
#[cfg(not(any(
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "s390x",
    target_arch = "x86_64"
)))]
mod filter {
    use super::Layer;

    /// Whether it can judge what is mapped.
    pub const SEES_MAPPINGS: bool = false;

    #[derive(Clone, Copy)]
    #[expect(dead_code, reason = "there is no filter to put it into")]
    pub enum Role {
        Compiler { report: i32 },
        Runner { lookups: bool, may_map_code: bool },
    }

    pub fn seccomp(_: Role) -> Layer {
        Err("seccomp (no filter for this CPU)".into())
    }

    pub fn forbid_executable_memory() -> Result<(), String> {
        Err("no filter for this CPU".into())
    }
}

#[cfg(target_arch = "s390x")]
mod socketcall;

use crate::{environment, log, text::strerror};
use filter::{Role, seccomp};
use rustix::{
    fs::{FileType, fstat},
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
    stdio::stderr,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities, set_no_new_privs,
    },
};

/// Linear memories of a hook, each of which reserves address space for all the hook may have. Toolchains make one, and
/// composing components one for each.
pub const MEMORIES: usize = 4;

/// More files than a hook's eight connections, the event loop and a name lookup need.
const OPEN_FILES: u64 = 64;

/// The stack of the only thread; hooks have stacks of their own. Linux's default. A container may set any size, and
/// RLIMIT_DATA does not count it.
const STACK: u64 = 8 << 20;

/// Memory besides the hook's: compiling, tables, stacks; and address space for them and the program.
const HOST_MEMORY: u64 = 512 << 20;

/// Address space of a memory whose bounds the processor keeps: 4 GiB, and room before and behind it.
const MEMORY_RESERVATION: u64 = (4 << 30) + (128 << 20);

/// Address space for compiling beside the command, whose container this memory is taken from. What needs more is
/// compiled when it runs.
const COMPILER_SPACE: u64 = 256 << 20;

/// Processor time for compiling. A 16 MiB hook takes a tenth of it; only a hook crafted to be slow takes more.
const COMPILER_SECONDS: u64 = 60;

/// The largest file of machine code: half of the compiler's address space, where it is made. A file in memory counts
/// for no other limit of the process that writes it.
const MACHINE_CODE: u64 = COMPILER_SPACE / 2;

/// Confines a compiler: no network, no file but those it has, nothing executable. It may send descriptors over this
/// socket only (sendmsg(2)). The file for machine code already exists; no other can be created, so the file size limit
/// covers everything it writes.
pub fn enter_as_compiler(report: i32) {
    #[cfg(debug_assertions)]
    if escape::is_left_out() {
        return escape::attempt_as_compiler();
    }
    environment::wipe();
    limit(Resource::Cpu, COMPILER_SECONDS);
    limit(Resource::As, COMPILER_SPACE);
    // SIGXFSZ, which comes with the error, is blocked like every signal that is no fault.
    limit(Resource::Fsize, MACHINE_CODE + size_of_log());
    let (no_capabilities, common, landlock) = (drop_capabilities(), common(), landlock::landlock(Some(&[])));
    let kernel = set_mdwe();
    let seccomp = seccomp(Role::Compiler { report });
    let executable_memory_layer = executable_memory_layer(kernel, seccomp.clone().map(drop));
    log_layers("compiler", [no_capabilities, common, landlock, seccomp, executable_memory_layer]);
    #[cfg(debug_assertions)]
    escape::attempt_as_compiler();
}

/// Parameters of one hook's sandbox.
pub struct Runner {
    /// Bytes of linear memory, over all of the hook's memories.
    pub memory: usize,
    /// Whether `ulimit -v` is set.
    pub scarce_address_space: bool,
    /// The ports of TCP that it may connect to; nothing if it may to any.
    pub ports: Option<Vec<u16>>,
    /// Whether it looks up names.
    pub lookups: bool,
    /// Whether it loads or makes machine code, until [`forbid_executable_memory`].
    pub may_map_code: bool,
}

/// Confines a runner: no files, TCP to the allowed ports, no other program, no variables.
pub fn enter_as_runner(runner: &Runner) {
    environment::wipe();
    let memory = runner_memory(runner.memory);
    // Memory that can be written to; a reservation cannot.
    limit(Resource::Data, memory);
    limit(
        Resource::As,
        if runner.scarce_address_space { memory } else { HOST_MEMORY + MEMORIES as u64 * MEMORY_RESERVATION },
    );
    let (no_capabilities, common) = (drop_capabilities(), common());
    let landlock = landlock::landlock(runner.ports.as_deref());
    let kernel = !runner.may_map_code && set_mdwe();
    let seccomp = seccomp(Role::Runner { lookups: runner.lookups, may_map_code: runner.may_map_code });
    let mut layers = vec![no_capabilities, common, landlock, seccomp.clone()];
    if !runner.may_map_code {
        layers.push(executable_memory_layer(kernel, seccomp.map(drop)));
    }
    log_layers("runner", layers);
}

/// Bytes that a runner can have in memory, for compiling a hook with so much linear memory and for running it.
pub fn runner_memory(memory: usize) -> u64 {
    HOST_MEMORY + MEMORIES as u64 * memory as u64
}

/// Message for a hook whose check ran out of memory.
pub fn too_large_to_check() -> String {
    format!("out of memory: checking it takes more than {} MiB", COMPILER_SPACE >> 20)
}

/// Takes away the last right that loading code needs: from here on no memory becomes executable.
pub fn forbid_executable_memory() {
    let kernel = set_mdwe();
    log_layers("runner, code loaded", [executable_memory_layer(kernel, filter::forbid_executable_memory())]);
}

/// Result of setting up one layer of the sandbox: its name if it is in force, or why it is not, for the log.
type Layer = Result<&'static str, String>;

fn log_layers(whose: &str, layers: impl IntoIterator<Item = Layer>) {
    log::debug(|| {
        let names = layers.into_iter().map(|layer| match layer {
            Ok(name) => name.to_owned(),
            Err(why) => format!("no {why}"),
        });
        format!("sandbox ({whose}): {}", names.collect::<Vec<_>>().join(", "))
    });
}

/// Sets a limit for good, or leaves it where it is stricter already.
fn limit(resource: Resource, most: u64) {
    let given = getrlimit(resource);
    let lower = |given: Option<u64>| Some(given.map_or(most, |given| given.min(most)));
    let _ = setrlimit(resource, Rlimit { current: lower(given.current), maximum: lower(given.maximum) });
}

/// Keeps a process that compiles to its share of the container's memory.
pub fn limit_memory(bytes: u64) {
    limit(Resource::Data, bytes);
}

fn common() -> Layer {
    limit(Resource::Core, 0);
    limit(Resource::Nproc, 0);
    limit(Resource::Nofile, OPEN_FILES);
    limit(Resource::Stack, STACK);
    match set_no_new_privs(true) {
        Ok(()) => Ok("rlimits, no_new_privs"),
        Err(error) => Err(format!("no_new_privs ({error})")),
    }
}

/// Size of the log where it is a file: the limit on file sizes is one for all files.
fn size_of_log() -> u64 {
    let file = fstat(stderr()).ok().filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    file.and_then(|stat| u64::try_from(stat.st_size).ok()).unwrap_or(0)
}

/// Has the kernel's memory management refuse to make memory executable (PR_SET_MDWE, since Linux 6.3); false if it
/// cannot.
#[allow(unsafe_code)]
fn set_mdwe() -> bool {
    // SAFETY: it changes what later calls may do, and no memory.
    unsafe { libc::prctl(libc::PR_SET_MDWE, libc::PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0 }
}

/// No memory becomes executable: by the filter, by the kernel, or by both.
fn executable_memory_layer(kernel: bool, filter: Result<(), String>) -> Layer {
    match filter {
        Ok(()) if kernel || filter::SEES_MAPPINGS => Ok("W^X"),
        Ok(()) => Ok("W^X (partial on this kernel)"),
        Err(_) if kernel => Ok("W^X"),
        Err(error) => Err(format!("W^X ({error})")),
    }
}

/// Takes all capabilities from this process, in every set.
fn drop_capabilities() -> Layer {
    // First the bounding set, which takes a capability itself. The kernel knows about 41 of 64.
    let numbers = (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number));
    for capability in numbers {
        if remove_capability_from_bounding_set(capability) == Err(Errno::INVAL) {
            break;
        }
    }
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    match set_capabilities(None, none).and_then(|()| capabilities(None)) {
        Ok(left) if left == none => Ok("no capabilities"),
        Ok(_) => Err("dropping of capabilities".into()),
        Err(error) => Err(format!("dropping of capabilities ({})", strerror(error))),
    }
}

/// Closes every descriptor but these and stderr: a hook has no access to what the command reads and writes.
pub fn close_fds_except(keep: &[i32]) {
    let mut keep = keep.to_vec();
    keep.push(libc::STDERR_FILENO);
    keep.sort_unstable();
    let mut next = 0;
    for fd in keep {
        close_range(next, fd - 1);
        next = fd + 1;
    }
    close_range(next, i32::MAX);
}

#[allow(unsafe_code)]
fn close_range(first: i32, last: i32) {
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
