//! Runner: explains in one line why a hook failed. The engine's own errors are several lines, with the cause last.

use rustc_demangle::demangle;
use std::{
    fmt::Write,
    io::{self, ErrorKind},
};
use wasmtime::{Error, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// Functions of a trap's backtrace that are named: the innermost show where, the others how it got there.
const FRAMES: usize = 3;

/// Why a hook did not do its work.
pub enum Failure {
    /// With a message of wrapper: it trapped, say.
    Found(String),
    /// With a message of the hook.
    Failed(String),
    /// The same, and its settings have to be changed first.
    Misconfigured(String),
    /// Logged by the supervisor, because that takes memory.
    OutOfMemory,
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        if is_out_of_memory(&error) { Self::OutOfMemory } else { Self::Found(root_cause(&error)) }
    }
}

/// Functions of a language's own library, through which a panic goes on its way to the trap.
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
    // The engine's message when a hook starts with more than it may have.
    let mend =
        if cause.ends_with("exceeds memory limits") { format!("; {memory_by} gives it more") } else { String::new() };
    Some(cause + &mend + &backtrace(error))
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

/// The place where the hook failed, as far as the component says: function names are in its `name` section, source
/// lines in its debug information.
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
