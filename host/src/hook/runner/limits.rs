//! Runner: limits on the host's resources that a hook can use. The supervisor limits the time; everything else is
//! limited here, with numbers far above what an ordinary hook needs.
//!
//! What the host keeps in wasmtime's implementation of WASI 0.2 (48.0), function by function. The last column is how
//! `tests/guests/examples/limits_host_memory.rs` calls it, or else the test in `tests/sandbox/limits.rs`.
//!
//! | function | what is kept | limit | tested as |
//! | --- | --- | --- | --- |
//! | `fields`: constructor, `set`, `append` | names and values, in a table up to three times as large | `HEADER_BYTES` each | `value`, `names` |
//! | `fields.from-list`, `fields.clone` | the same | the same | `list`, `clones` |
//! | `outgoing-request.set-method` | `other(…)` | [`METHOD_BYTES`] | `method` |
//! | `outgoing-request.set-scheme` | `other(…)` | 64 bytes, by the crate `http` | `scheme` |
//! | `outgoing-request.set-authority` | the string | [`AUTHORITY_BYTES`] | `authority` |
//! | `outgoing-request.set-path-with-query` | the string | 65,534 bytes, by the crate `http` | `path` |
//! | `outgoing-request.body`, `output-stream.write`, `splice` | two pieces that are not sent yet | `BODY_CHUNK` each | `body` |
//! | `outgoing-body.finish` | trailers, which are `fields` | `HEADER_BYTES` | `body` |
//! | `outgoing-response` | headers and body, as of a request | the same | `response` |
//! | `outgoing-handler.handle` | the request until it is sent, eight at once; the response's headers | `HEAD_LIMIT` each | `answer` |
//! | `incoming-body.stream` | one frame of a response | `HEAD_LIMIT`, eight at once | `tests/http/peers.rs` |
//! | `request-options` | three numbers | `HANDLES` of all resources together | `options` |
//! | `pollable`, `error`, streams, sockets, terminals | a fixed size | `HANDLES` | `pollable` |
//! | writing to stdout or stderr | a line without its end | `LINE_LIMIT` for each | `the_first_64_kib…` |
//! | the arguments of any call | for as long as it takes | `CALL_BYTES` | `a_huge_message…` |
//! | `get-random-bytes` | for as long as the call takes | `RANDOM_BYTES` | `random_bytes…` |
//! | `probe` | a task and a result for each target, while the call takes | `TARGETS`, 8 connections at once | `probes` |
//! | instances, with their globals and functions; tables | as long as the hook runs | `INSTANCES`, `TABLE_ELEMENTS` | `instances_count…` |
//!
//! Each of these limits is for one thing, and a hook can have many of them. All of it together, and anything missing
//! here, is counted by the allocator (`sandbox/heap.rs`), and ends the hook when it exceeds the budget.

use crate::sandbox::{MEMORIES, heap};
use wasmtime::{ResourceLimiter, Result, component::ResourceTable};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi_http::WasiHttpCtx;

/// Core instances and tables, each: more than any toolchain makes of one component, adapters included. A component of
/// a JavaScript engine has about ten.
const INSTANCES: usize = 100;

/// Entries of all tables together, eight bytes each: an interpreter of 12 MB has 20,000.
const TABLE_ELEMENTS: usize = 200_000;

/// Things the host keeps for a hook at one time: streams, requests, pollables.
pub const HANDLES: usize = 2048;

/// Bytes of the headers of one message, as they are in memory. Servers take 8 KiB or 16 KiB on the wire.
const HEADER_BYTES: usize = 32 * 1024;

/// The longest method registered with IANA has 17 letters.
pub const METHOD_BYTES: usize = 64;

/// A name of 253 letters, what stands before its `@`, and a port.
pub const AUTHORITY_BYTES: usize = 1024;

/// Bytes that one call may hand to the host: strings and lists.
pub const CALL_BYTES: usize = 8 << 20;

/// Bytes of randomness one call may ask for; a seed has 32.
const RANDOM_BYTES: u64 = 64 * 1024;

/// The memory a hook has left, and what else is counted while it runs.
pub struct Limits {
    memory: usize,
    table_elements: usize,
}

impl Limits {
    /// Limits with this many bytes of linear memory, over all memories of the component.
    pub fn new(memory: usize) -> Self {
        Self { memory, table_elements: TABLE_ELEMENTS }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, most: Option<usize>) -> Result<bool> {
        let before = self.memory;
        let fits = take(&mut self.memory, current, desired, most);
        if fits && !heap::take(before - self.memory) {
            self.memory = before;
            return Ok(false);
        }
        Ok(fits)
    }

    fn table_growing(&mut self, current: usize, desired: usize, most: Option<usize>) -> Result<bool> {
        Ok(take(&mut self.table_elements, current, desired, most))
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }

    fn tables(&self) -> usize {
        INSTANCES
    }
}

/// Takes what is needed to grow, if that much is left, and if it is not going to be refused for its own maximum.
fn take(left: &mut usize, current: usize, desired: usize, most: Option<usize>) -> bool {
    if most.is_some_and(|most| desired > most) {
        return false;
    }
    match left.checked_sub(desired.saturating_sub(current)) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

/// A table of the host's things that holds only so many.
pub fn table() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(HANDLES);
    table
}

pub fn limit_wasi(wasi: &mut WasiCtxBuilder) {
    wasi.max_random_size(RANDOM_BYTES).allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
}

pub fn http() -> WasiHttpCtx {
    let mut http = WasiHttpCtx::new();
    http.set_field_size_limit(HEADER_BYTES);
    http
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdk_values::FORBIDDEN_HEADERS;
    use wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS;

    #[test]
    fn the_headers_that_are_refused_at_the_start_are_those_that_the_engine_refuses_and_the_length() {
        let engines = DEFAULT_FORBIDDEN_HEADERS;
        let mut refused: Vec<_> = engines.iter().map(|name| name.as_str()).chain(["content-length"]).collect();
        refused.sort_unstable();
        assert_eq!(FORBIDDEN_HEADERS, *refused);
    }

    #[test]
    fn memories_share_one_limit() {
        let mut limits = Limits::new(100);
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(limits.memory_growing(0, 40, None).unwrap());
        assert!(!limits.memory_growing(60, 61, None).unwrap());
    }

    #[test]
    fn growth_beyond_a_memorys_own_maximum_is_not_counted() {
        let mut limits = Limits::new(100);
        assert!(!limits.memory_growing(0, 100, Some(50)).unwrap());
        assert!(limits.memory_growing(0, 100, Some(100)).unwrap());
    }
}
