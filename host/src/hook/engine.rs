//! Compiler and runner: the settings of the engine, the same for both: the runner loads only code made with its own.

use super::compiler::contract::FEATURES;
use crate::log;
use rustix::{
    io::Errno,
    mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap},
    param::page_size,
};
use std::ptr::null_mut;
use wasmtime::{Engine, ModuleVersionStrategy, OptLevel, Result, WasmBacktraceDetails, WasmFeatures};

/// The stack a hook's own code may use; recursion beyond it traps. wasmtime's default.
const WASM_STACK: usize = 512 * 1024;

/// That, and what the host's functions need on top when a hook calls them.
const STACK: usize = 1024 * 1024;

/// Form of the code that WebAssembly is compiled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This processor's own instructions.
    Machine,
    /// Instructions of wasmtime's interpreter, Pulley: for where no memory may be made executable.
    Interpreted,
}

impl Target {
    /// What hooks are compiled to unless the container forbids it.
    ///
    /// On RISC-V Cranelift copies sixteen bytes at a time with instructions of the vector extension, and panics on a
    /// processor that lacks it (wasmtime's issue 13959). 32-bit Arm is always interpreted.
    pub fn preferred() -> Self {
        match cfg!(target_arch = "riscv64") && !hardware_has(b'V') {
            true => Self::Interpreted,
            false => Self::Machine,
        }
    }

    /// What they are compiled to in this container. To be called before the sandbox is entered, which forbids
    /// executable memory itself.
    pub fn allowed() -> Self {
        match Self::preferred() {
            Self::Machine if executable_memory_is_forbidden() => {
                log::debug(|| "executable memory is forbidden, interpreting the hook".into());
                Self::Interpreted
            }
            preferred => preferred,
        }
    }
}

/// Whether it is, as by SELinux's execmem, a strict seccomp profile or PR_SET_MDWE: tries with one page what the engine
/// would do.
#[allow(unsafe_code)]
fn executable_memory_is_forbidden() -> bool {
    let (length, writable) = (page_size(), ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: the kernel chooses a place where nothing is mapped yet, and nothing is left there.
    unsafe {
        let Ok(page) = mmap_anonymous(null_mut(), length, writable, MapFlags::PRIVATE) else { return false };
        let result = mprotect(page, length, MprotectFlags::READ | MprotectFlags::EXEC);
        let _ = munmap(page, length);
        matches!(result, Err(Errno::ACCESS | Errno::PERM))
    }
}

/// Whether the kernel lists one of RISC-V's extensions, which have letters.
#[allow(unsafe_code)]
fn hardware_has(extension: u8) -> bool {
    // SAFETY: getauxval(3) reads the auxiliary vector.
    let listed = unsafe { libc::getauxval(libc::AT_HWCAP) };
    listed >> (extension - b'A') & 1 == 1
}

/// The interpreter for words of this length and byte order.
const INTERPRETER: &str = match (cfg!(target_pointer_width = "64"), cfg!(target_endian = "little")) {
    (true, true) => "pulley64",
    (true, false) => "pulley64be",
    (false, true) => "pulley32",
    (false, false) => "pulley32be",
};

/// For a hook with this many bytes of memory, where address space may be scarce (`ulimit -v`).
pub fn new(memory: usize, scarce_address_space: bool, target: Target) -> Result<Engine> {
    let mut config = config();
    if target == Target::Interpreted {
        config.target(INTERPRETER)?;
    }
    // A hook runs once, for milliseconds; optimising would cost more than it saves.
    config.cranelift_opt_level(OptLevel::None);
    // By itself wasmtime reserves all that a 32-bit index can reach, so that the processor stops what goes beyond and
    // code needs no checks: a third less to compile. Where address space is scarce (`ulimit -v`), what a hook may have
    // is reserved, in which it grows in place, while moving a memory would need it twice.
    if target == Target::Interpreted || scarce_address_space {
        config.memory_reservation(memory as u64).memory_reservation_for_growth(0).memory_guard_size(0);
    }
    // The compiler merges data segments into one image. Without this, each of them becomes code in one start function,
    // and thirty thousand, or those of Go's linker, which leaves out zeroes, take 400 MiB to compile. The image is
    // copied into the hook's memory, not mapped: see memfd_create in sandbox/filter.
    config.memory_init_cow(true);
    Engine::new(&config)
}

/// For running a built-in hook with this many bytes of memory on this machine.
pub fn for_built_in(memory: usize, scarce_address_space: bool) -> Result<Engine> {
    let mut config = interpreter(INTERPRETER)?;
    // A memory that outgrows its reservation is moved, once if there is address space for it. The code does not depend
    // on that.
    config.memory_reservation_for_growth(if scarce_address_space { 0 } else { memory as u64 });
    // 0.06 ms less.
    config.enable_compiler(false);
    Engine::new(&config)
}

/// For compiling built-in hooks for an interpreter, when the binary is built.
#[cfg(test)]
pub fn that_compiles_built_in(interpreter_of: &str) -> Result<Engine> {
    let mut config = interpreter(interpreter_of)?;
    config.memory_reservation_for_growth(0).cranelift_opt_level(OptLevel::SpeedAndSize);
    Engine::new(&config)
}

/// For built-in hooks, whose code depends neither on the machine it runs on nor on how much memory the hook may have.
fn interpreter(target: &str) -> Result<wasmtime::Config> {
    let mut config = config();
    config.target(target)?;
    // Code of another patch version would be taken otherwise, and could call other functions than it was compiled for.
    config.module_version(ModuleVersionStrategy::Custom(env!("WASMTIME_VERSION").into()))?;
    // These hooks start with little more than 1 MiB and grow by a few pages.
    config.memory_reservation(4 << 20).memory_guard_size(0);
    // An image of their data would be padded to the largest pages there are, twice 64 kB a hook.
    config.memory_init_cow(false);
    // Their components have no names that a trap could be reported with.
    config.generate_address_map(false).debug_symbols(false);
    Ok(config)
}

fn config() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config.wasm_features(WasmFeatures::all(), false).wasm_features(FEATURES, true);
    config.max_wasm_stack(WASM_STACK).async_stack_size(STACK);
    config.native_unwind_info(false);
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config
}
