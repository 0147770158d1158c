//! The runtime of a hook without the standard library: an allocator and a panic handler.
//!
//! An allocator hands out raw memory, and so has to be `unsafe`.
#![allow(unsafe_code)]

use crate::{log, text};
use core::{
    alloc::{GlobalAlloc, Layout},
    arch::wasm32,
    cell::Cell,
    panic::PanicInfo,
    ptr,
};

/// Bytes of a page, the unit in which WebAssembly's memory grows.
const PAGE: usize = 64 * 1024;

/// A bump allocator that never frees: a hook runs once.
///
/// The last block can grow and shrink in place, as a string does while it is built.
pub struct BumpAllocator {
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: a component has one thread.
unsafe impl Sync for BumpAllocator {}

impl BumpAllocator {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self { next: Cell::new(0), end: Cell::new(0) }
    }

    /// A block of `layout.size()` bytes. At the memory limit this logs an error and traps: handling the failure in the
    /// caller would need memory for the message.
    fn alloc_or_trap(&self, layout: Layout) -> *mut u8 {
        match self.try_alloc(layout) {
            Some(start) => start as *mut u8,
            None => {
                log::error("out of memory; --plugin-memory raises the limit");
                wasm32::unreachable()
            }
        }
    }

    /// The address of a block, or `None` at the memory limit.
    fn try_alloc(&self, layout: Layout) -> Option<usize> {
        let start = self.next.get().checked_next_multiple_of(layout.align())?;
        let end = start.checked_add(layout.size())?;
        if end <= self.end.get() {
            self.next.set(end);
            return Some(start);
        }
        // The new pages follow the old ones unless something else has grown the memory; then the rest of the old
        // ones is lost.
        let pages = layout.size().checked_add(layout.align())?.div_ceil(PAGE);
        let grown = wasm32::memory_grow::<0>(pages);
        if grown == usize::MAX {
            return None;
        }
        if grown * PAGE != self.end.get() {
            self.next.set(grown * PAGE);
        }
        self.end.set((grown + pages) * PAGE);
        self.try_alloc(layout)
    }
}

// SAFETY: every block lies between `next` and `end` when it is handed out, and `next` never goes back behind a
// block that is in use.
unsafe impl GlobalAlloc for BumpAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.alloc_or_trap(layout)
    }

    // Empty, so that the compiler leaves out code that only frees memory: an eighth of a small hook.
    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let last = block as usize + layout.size() == self.next.get();
        let end = (block as usize).checked_add(size).filter(|end| *end <= self.end.get());
        if let (true, Some(end)) = (last, end) {
            self.next.set(end);
            return block;
        }
        // SAFETY: the caller promises that `size` is not 0 and fits the alignment.
        let new = self.alloc_or_trap(unsafe { Layout::from_size_align_unchecked(size, layout.align()) });
        // SAFETY: the old block has `layout.size()` bytes, the new one `size`, and they do not overlap.
        unsafe { ptr::copy_nonoverlapping(block, new, size.min(layout.size())) };
        new
    }
}

/// The canonical ABI's allocator: the host calls it to place strings and lists in the hook's memory.
///
/// # Safety
///
/// Called by the host alone, with no block or one of `size` bytes from an earlier call.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(block: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8 {
    if new_size == 0 {
        return ptr::without_provenance_mut(align);
    }
    // SAFETY: as above; the ABI's alignments are powers of two.
    unsafe {
        match size {
            0 => alloc::alloc::alloc(Layout::from_size_align_unchecked(new_size, align)),
            _ => alloc::alloc::realloc(block, Layout::from_size_align_unchecked(size, align), new_size),
        }
    }
}

// memcpy, memcmp and the like; the linker takes nothing else of it.
#[link(name = "c")]
unsafe extern "C" {}

/// Logs the place and the message of a panic, then traps.
pub fn panicked(info: &PanicInfo) -> ! {
    let (file, line) = info.location().map_or(("?", 0), |place| (place.file(), place.line()));
    // Formatting a message with values takes `core::fmt`.
    let message = info.message().as_str().unwrap_or("(message not available without the feature `std`)");
    log::error(&text!("panicked at {file}:{line}: {message}"));
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
            static MEMORY: $crate::rt::BumpAllocator = $crate::rt::BumpAllocator::new();

            #[panic_handler]
            fn panicked(info: &::core::panic::PanicInfo) -> ! {
                $crate::rt::panicked(info)
            }
        };
    };
}
