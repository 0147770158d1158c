//! All processes: the global allocator, here because it enforces the limits on memory: the system's, plus a limit in
//! the processes that handle hooks, and an exit code of their own when memory runs out. Rust's default there is to
//! print two lines that are not in the log's format and to abort, which looks like a bug.
//!
//! The process that runs out does not log it: that takes memory. The supervisor does (`hook::report::out_of_memory`).

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ptr::null_mut,
    sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed},
};

/// Exit code of a process that had too little memory to check, compile or load a hook.
pub const OUT_OF_MEMORY: u8 = 121;

/// Exit code of a process whose hook exceeded its memory budget: see [`limit`].
pub const TOO_MUCH_KEPT: u8 = 122;

/// Bytes that the host may keep for a hook even if the hook's own memory takes all of --plugin-memory. The arguments of
/// one call are at most half of it; an ordinary hook needs 100 kB.
const KEPT: usize = 16 << 20;

/// Bytes in use, with the allocator's overhead. Exact with one thread, and each of our processes has one.
static USED: AtomicUsize = AtomicUsize::new(0);

/// The limit for that.
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Exit code when an allocation fails; 0: the caller gets a null pointer.
static END: AtomicU8 = AtomicU8::new(0);

pub struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

/// Bytes for a hook's own memory and for what the host keeps for it (see hook/runner/limits.rs) together. As the former
/// grows, less is left for the latter.
pub fn budget(memory: usize) -> usize {
    memory.saturating_add(KEPT)
}

/// From now on the process exits with [`OUT_OF_MEMORY`] when an allocation fails.
pub fn end_when_exhausted() {
    END.store(OUT_OF_MEMORY, Relaxed);
}

/// From now on it exits with [`TOO_MUCH_KEPT`] when this many more bytes are in use than now.
pub fn limit(more: usize) {
    MOST.store(USED.load(Relaxed).saturating_add(more), Relaxed);
    END.store(TOO_MUCH_KEPT, Relaxed);
}

/// Lowers the limit by this many bytes, which something else uses; false if they are not left.
pub fn take(bytes: usize) -> bool {
    let most = MOST.load(Relaxed);
    match most.checked_sub(bytes).filter(|rest| *rest >= USED.load(Relaxed)) {
        _ if most == usize::MAX => true,
        Some(rest) => {
            MOST.store(rest, Relaxed);
            true
        }
        None => false,
    }
}

/// Removes the limit, so that a test meets those of the operating system.
#[cfg(debug_assertions)]
pub fn without_limit() {
    MOST.store(usize::MAX, Relaxed);
    END.store(0, Relaxed);
}

/// Bytes that an allocation really takes in glibc: a word more, rounded up to 16, at least 32. musl is close to that.
fn cost(size: usize) -> usize {
    (size.saturating_add(8 + 15) & !15).max(32)
}

/// The bytes in use when `wanted` of them replace others, if that is within the limit. Plain loads and stores, because
/// compiling a hook makes a hundred thousand allocations.
fn room(instead_of: usize, wanted: usize) -> Option<usize> {
    let used = USED.load(Relaxed).saturating_sub(instead_of).saturating_add(wanted);
    (used <= MOST.load(Relaxed)).then_some(used)
}

#[cold]
fn none() -> *mut u8 {
    match END.load(Relaxed) {
        0 => null_mut(),
        code => crate::supervise::exit_now(code),
    }
}

fn count(used: usize, block: *mut u8) -> *mut u8 {
    if block.is_null() {
        return none();
    }
    USED.store(used, Relaxed);
    block
}

// SAFETY: every call is passed on to the system's allocator unchanged. Counting does not allocate.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match room(0, cost(layout.size())) {
            // SAFETY: the caller guarantees for the layout.
            Some(used) => count(used, unsafe { System.alloc(layout) }),
            None => none(),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match room(0, cost(layout.size())) {
            // SAFETY: as above.
            Some(used) => count(used, unsafe { System.alloc_zeroed(layout) }),
            None => none(),
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match room(cost(layout.size()), cost(size)) {
            // SAFETY: the block came from here, and so from the system allocator, with this layout.
            Some(used) => count(used, unsafe { System.realloc(block, layout, size) }),
            None => none(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        USED.store(USED.load(Relaxed).saturating_sub(cost(layout.size())), Relaxed);
        // SAFETY: as for realloc.
        unsafe { System.dealloc(block, layout) }
    }
}
