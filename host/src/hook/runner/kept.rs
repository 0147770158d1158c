//! What the host keeps for a hook in wasmtime's implementation of WASI 0.2 (48.0), function by function. The last column
//! is how `tests/guests/examples/keeps.rs` calls it, or else the test in `tests/limits.rs`.
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
//! | `incoming-body.stream` | one frame of a response | `HEAD_LIMIT`, eight at once | `tests/peers.rs` |
//! | `request-options` | three numbers | `HANDLES` of all resources together | `options` |
//! | `pollable`, `error`, streams, sockets, terminals | a fixed size | `HANDLES` | `pollable` |
//! | writing to stdout or stderr | a line without its end | `LINE_LIMIT` for each | `the_first_64_kib…` |
//! | the arguments of any call | for as long as it takes | `CALL_BYTES` | `a_huge_message…` |
//! | `get-random-bytes` | for as long as the call takes | `RANDOM_BYTES` | `random_bytes…` |
//! | instances, with their globals and functions; tables | as long as the hook runs | `INSTANCES`, `TABLE_ELEMENTS` | `instances_count…` |
//!
//! Each of these limits is for one thing, and a hook can have many of them. All of it together, and whatever is missing
//! here, is counted by the allocator (`heap.rs`), and ends the hook when it exceeds the budget.

use super::State;
use wasmtime::{
    Result,
    component::{Linker, Resource},
};
use wasmtime_wasi_http::{
    WasiHttpView,
    p2::{
        bindings::http::types::{HostOutgoingRequest as _, Method},
        types::HostOutgoingRequest,
    },
};

/// The longest method registered with IANA has 17 letters.
const METHOD_BYTES: usize = 64;

/// A name of 253 letters, what stands before its `@`, and a port.
const AUTHORITY_BYTES: usize = 1024;

/// Replaces the functions that keep a string however long it is. One that is too long gets the same error as one that is
/// malformed.
pub fn limit_strings(linker: &mut Linker<State>) -> Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store, (request, method): (Resource<HostOutgoingRequest>, Method)| {
            Ok((match &method {
                Method::Other(name) if name.len() > METHOD_BYTES => Err(()),
                _ => store.data_mut().http().set_method(request, method)?,
            },))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store, (request, authority): (Resource<HostOutgoingRequest>, Option<String>)| {
            Ok((match &authority {
                Some(name) if name.len() > AUTHORITY_BYTES => Err(()),
                _ => store.data_mut().http().set_authority(request, authority)?,
            },))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
