//! What a hook can make the host spend. Time is the supervisor's business; everything else is counted here, in numbers
//! that no honest hook comes near.

use super::State;
use crate::{hook::settings::Settings, sandbox::heap};
use wasmtime::{ResourceLimiter, Result, Store, component::ResourceTable};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi_http::WasiHttpCtx;

/// Core instances and tables, each: more than any toolchain makes of one component, adapters included. A component of
/// a JavaScript engine has about ten.
const INSTANCES: usize = 100;

/// Memories, each of which reserves address space for all the hook may have. Toolchains make one, and composing
/// components one for each.
pub const MEMORIES: usize = 4;

/// Entries of all tables together, eight bytes each: an interpreter of 12 MB has 20,000.
const TABLE_ELEMENTS: usize = 200_000;

/// Things the host keeps for a hook at one time: streams, requests, pollables.
const HANDLES: usize = 2048;

/// Bytes of the headers of one message, as they are in memory. Servers take 8 KiB or 16 KiB on the wire.
const HEADER_BYTES: usize = 32 * 1024;

/// Bytes that the host may keep for a hook even if the hook's own memory takes all of --plugin-memory. The arguments of
/// one call are at most half of it; an ordinary hook needs 100 kB.
pub const KEPT: usize = 16 << 20;

/// Bytes that one call may hand to the host: strings and lists.
const CALL_BYTES: usize = 8 << 20;

/// Bytes of randomness one call may ask for; a seed has 32.
const RANDOM_BYTES: u64 = 64 * 1024;

/// Bytes for a hook's own memory and for what the host keeps for it (see `kept.rs`) together. As the former grows, less is
/// left for the latter.
pub fn budget(settings: &Settings) -> usize {
    settings.memory.value.saturating_add(KEPT)
}

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

pub fn limit_store(store: &mut Store<State>) {
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(CALL_BYTES);
    store.set_max_component_handles(HANDLES);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_share_one_limit() {
        let mut limits = Limits::new(100);
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(limits.memory_growing(0, 40, None).unwrap());
        assert!(!limits.memory_growing(60, 61, None).unwrap());
    }

    #[test]
    fn what_a_memory_refuses_itself_costs_nothing() {
        let mut limits = Limits::new(100);
        assert!(!limits.memory_growing(0, 100, Some(50)).unwrap());
        assert!(limits.memory_growing(0, 100, Some(100)).unwrap());
    }
}
