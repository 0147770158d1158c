//! Compiler and runner: the settings of the engine, the same for both: the runner loads only code made with its own.

use super::compiler::contract::FEATURES;
use wasmtime::{Engine, OptLevel, Result, WasmBacktraceDetails, WasmFeatures};

/// The stack a hook's own code may use; recursion beyond it traps. wasmtime's default.
const WASM_STACK: usize = 512 * 1024;

/// That, and what the host's functions need on top when a hook calls them.
const STACK: usize = 1024 * 1024;

/// What becomes of WebAssembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// This processor's own instructions.
    Machine,
    /// Instructions of wasmtime's interpreter, Pulley: for where no memory may be made executable.
    Interpreted,
}

impl Code {
    /// What hooks are compiled to unless the container forbids it.
    ///
    /// On RISC-V Cranelift copies sixteen bytes at a time with instructions of the vector extension, and panics on a
    /// processor that lacks it (wasmtime's issue 13959). 32-bit Arm is interpreted whatever is said here.
    pub fn usual() -> Self {
        match cfg!(target_arch = "riscv64") && !hardware_has(b'V') {
            true => Self::Interpreted,
            false => Self::Machine,
        }
    }
}

/// Whether the kernel lists one of RISC-V's extensions, which have letters.
#[allow(unsafe_code)]
fn hardware_has(extension: u8) -> bool {
    // SAFETY: getauxval(3) reads what the kernel told the process when it started.
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
pub fn new(memory: usize, scarce_address_space: bool, code: Code) -> Result<Engine> {
    let mut config = wasmtime::Config::new();
    if code == Code::Interpreted {
        config.target(INTERPRETER)?;
    }
    config.wasm_features(WasmFeatures::all(), false).wasm_features(FEATURES, true);
    // A hook runs for milliseconds, once: what optimising costs is never won back.
    config.cranelift_opt_level(OptLevel::None);
    // By itself wasmtime reserves all that a 32-bit index can reach, so that the processor stops what goes beyond and
    // code needs no checks: a third less to compile. Where address space is scarce (`ulimit -v`), what a hook may have
    // is reserved, in which it grows in place, while moving a memory would need it twice.
    if code == Code::Interpreted || scarce_address_space {
        config.memory_reservation(memory as u64).memory_reservation_for_growth(0).memory_guard_size(0);
    }
    // The compiler merges data segments into one image. Without this, each of them becomes code in one start function,
    // and thirty thousand, or those of Go's linker, which leaves out zeroes, take 400 MiB to compile. The image is
    // copied into the hook's memory, not mapped: see memfd_create in sandbox/filter.
    config.memory_init_cow(true);
    config.max_wasm_stack(WASM_STACK).async_stack_size(STACK);
    config.native_unwind_info(false);
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    Engine::new(&config)
}
