//! What a hook without the standard library needs to run: memory, and a last word when it panics.
//!
//! An allocator hands out raw memory; all of this crate's own `unsafe` is here.
#![allow(unsafe_code)]

use crate::{log, text::push_number};
use alloc::string::String;
use core::{
    alloc::{GlobalAlloc, Layout},
    arch::wasm32,
    cell::Cell,
    panic::PanicInfo,
    ptr,
};

/// WebAssembly grows its memory in pages of this many bytes.
const PAGE: usize = 64 * 1024;

/// An allocator that only goes forward: a hook runs once, and its memory goes with it.
///
/// The last allocation can still grow in place and be taken back, which is what a string being built needs.
pub struct Forward {
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: a component has one thread.
unsafe impl Sync for Forward {}

impl Forward {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { next: Cell::new(0), end: Cell::new(0) }
    }

    /// The address of `layout.size()` free bytes, or nothing when the memory limit is reached.
    fn take(&self, layout: Layout) -> Option<usize> {
        let start = self.next.get().checked_next_multiple_of(layout.align())?;
        let end = start.checked_add(layout.size())?;
        if end <= self.end.get() {
            self.next.set(end);
            return Some(start);
        }
        // The new pages follow the old ones unless something else has grown the memory meanwhile; then the rest
        // of the old ones is given up.
        let pages = layout.size().checked_add(layout.align())?.div_ceil(PAGE);
        let grown = wasm32::memory_grow::<0>(pages);
        if grown == usize::MAX {
            return None;
        }
        if grown * PAGE != self.end.get() {
            self.next.set(grown * PAGE);
        }
        self.end.set((grown + pages) * PAGE);
        self.take(layout)
    }
}

// SAFETY: every block lies between `next` and `end` when it is handed out, and `next` never goes back behind a
// block that is in use.
unsafe impl GlobalAlloc for Forward {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout).map_or(ptr::null_mut(), |start| start as *mut u8)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if block as usize + layout.size() == self.next.get() {
            self.next.set(block as usize);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let last = block as usize + layout.size() == self.next.get();
        let end = (block as usize).checked_add(size).filter(|end| *end <= self.end.get());
        if let (true, Some(end)) = (last, end) {
            self.next.set(end);
            return block;
        }
        // SAFETY: the caller promises that `size` is not 0 and fits the alignment.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: the old block has `layout.size()` bytes, the new one `size`, and they do not overlap.
            unsafe { ptr::copy_nonoverlapping(block, new, size.min(layout.size())) };
        }
        new
    }
}

/// The canonical ABI's allocator: the host calls it to place strings and lists in the hook's memory.
///
/// # Safety
///
/// Called by the host alone, which passes what it was given: no block, or one of `size` bytes from an earlier call.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(block: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8 {
    if new_size == 0 {
        return ptr::without_provenance_mut(align);
    }
    // SAFETY: as above; the ABI's alignments are powers of two.
    let new = unsafe {
        match size {
            0 => alloc::alloc::alloc(Layout::from_size_align_unchecked(new_size, align)),
            _ => alloc::alloc::realloc(block, Layout::from_size_align_unchecked(size, align), new_size),
        }
    };
    match new.is_null() {
        true => wasm32::unreachable(),
        false => new,
    }
}

// Comparing and moving memory; the linker takes these functions and nothing else of it.
#[link(name = "c")]
unsafe extern "C" {}

/// Writes a panic's place and message to the log, then traps.
pub fn panicked(info: &PanicInfo) -> ! {
    let mut line = String::from("panicked");
    if let Some(place) = info.location() {
        line.push_str(" at ");
        line.push_str(place.file());
        line.push(':');
        push_number(&mut line, place.line().into());
    }
    // A message with values in it could only be shown with `core::fmt`.
    if let Some(message) = info.message().as_str() {
        line.push_str(": ");
        line.push_str(message);
    }
    log::error(&line);
    wasm32::unreachable()
}

/// Defines the allocator and the panic handler in the hook's own crate.
#[doc(hidden)]
#[macro_export]
macro_rules! __runtime {
    () => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            #[global_allocator]
            static MEMORY: $crate::rt::Forward = $crate::rt::Forward::new();

            #[panic_handler]
            fn panicked(info: &::core::panic::PanicInfo) -> ! {
                $crate::rt::panicked(info)
            }
        };
    };
}
