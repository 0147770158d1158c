//! Runner: explains in one line why a hook failed. The engine's own errors have several lines, with the cause last.

use rustc_demangle::demangle;
use std::{
    fmt::Write,
    io::{self, ErrorKind},
};
use wasmtime::{Error, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// Functions of a trap's backtrace in the message: the innermost ones.
const FRAMES: usize = 3;

/// Reason why a hook failed.
pub enum RunError {
    /// Detected by wrapper, such as a trap, with wrapper's message.
    Detected(String),
    /// Reported by the hook, with its message.
    Reported(String),
    /// The same, because of its settings.
    Misconfigured(String),
    /// Logged by the supervisor, because logging takes memory.
    OutOfMemory,
}

impl From<wasmtime::Error> for RunError {
    fn from(error: wasmtime::Error) -> Self {
        if is_out_of_memory(&error) { Self::OutOfMemory } else { Self::Detected(root_cause(&error)) }
    }
}

/// Functions of a language's standard library between a panic and its trap.
const RUNTIME_FRAMES: [&str; 9] =
    ["std::", "core::", "alloc::", "__rust", "rust_", "<std::", "<core::", "<alloc::", "abort"];

/// Explains the end of a call to the hook; nothing if it was an exit with 0. `memory_by` is the setting of its memory.
pub fn explain(error: &Error, memory_by: &str) -> Option<String> {
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return (*code != 0).then(|| format!("exited with {code}"));
    }
    let cause = match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => "trapped: call stack exhausted".into(),
        Some(trap) => format!("trapped: {}", trap.to_string().trim_start_matches("wasm trap: ")),
        None => root_cause(error),
    };
    Some(too_much_memory(&cause, memory_by).unwrap_or(cause) + &backtrace(error))
}

/// The engine's message for a hook that starts with more memory than it may have, with a size in place of pages.
fn too_much_memory(cause: &str, memory_by: &str) -> Option<String> {
    let pages = cause.strip_prefix("memory minimum size of ")?.strip_suffix(" pages exceeds memory limits")?;
    let kib = pages.parse::<u64>().ok()?.checked_mul(64)?;
    Some(format!("a memory of {:.1} MiB exceeds its total memory limit; raise {memory_by}", kib as f64 / 1024.0))
}

/// The root cause, without the layers that led to it.
pub fn root_cause(error: &Error) -> String {
    let cause = error.root_cause().to_string();
    cause.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Whether the system had no memory, or no address space, for something.
pub fn is_out_of_memory(error: &Error) -> bool {
    is(error, ErrorKind::OutOfMemory)
}

fn is(error: &Error, kind: ErrorKind) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        let errno = cause.downcast_ref::<rustix::io::Errno>().map(|errno| errno.kind());
        io.or(errno) == Some(kind)
    })
}

/// The place where the hook failed, if the component has it: function names are in its `name` section, source lines in
/// its debug information.
fn backtrace(error: &Error) -> String {
    let mut text = String::new();
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return text };
    let named = backtrace.frames().iter().filter_map(|frame| {
        let symbol = frame.symbols().first();
        let name = symbol.and_then(|symbol| symbol.name()).or_else(|| frame.func_name())?;
        // Without the hash at the end of Rust's names, which means nothing to a reader.
        Some((format!("{:#}", demangle(name)), symbol))
    });
    let own = named.filter(|(name, _)| !RUNTIME_FRAMES.iter().any(|start| name.starts_with(start)));
    for (index, (name, symbol)) in own.take(FRAMES).enumerate() {
        text.push_str(if index == 0 { " in " } else { ", called from " });
        text.push_str(&name);
        if let Some((file, line)) = symbol.and_then(|symbol| Some((symbol.file()?, symbol.line()?))) {
            let _ = write!(text, " ({file}:{line})");
        }
    }
    text
}
