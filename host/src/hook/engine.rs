//! How WebAssembly is compiled: the same settings in `prepare`, which makes machine code, and in the runner, which
//! accepts only code that was made with them.

use super::check::FEATURES;
use crate::cli::Config;
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

pub fn new(wanted: &Config, code: Code) -> Result<Engine> {
    let mut config = wasmtime::Config::new();
    if code == Code::Interpreted {
        config.target("pulley64")?;
    }
    config.wasm_features(WasmFeatures::all(), false).wasm_features(FEATURES, true);
    // A hook runs for milliseconds, once: what optimising costs is never won back.
    config.cranelift_opt_level(OptLevel::None);
    // By itself wasmtime reserves all that a 32-bit index can reach, so that the processor stops what goes beyond and
    // code needs no checks: a third less to compile. Where address space is scarce (`ulimit -v`), what a hook may have
    // is reserved, in which it grows in place, while moving a memory would need it twice.
    if code == Code::Interpreted || !wanted.roomy {
        config.memory_reservation(wanted.hook_memory as u64).memory_reservation_for_growth(0).memory_guard_size(0);
    }
    // Copy-on-write images pay when a module is instantiated often.
    config.memory_init_cow(false);
    config.max_wasm_stack(WASM_STACK).async_stack_size(STACK);
    config.native_unwind_info(false);
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    Engine::new(&config)
}
