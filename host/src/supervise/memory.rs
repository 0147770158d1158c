//! Supervisor: releases the memory that only the start needed.

use rustix::{
    mm::{Advice, madvise},
    param::page_size,
};

/// Gives back the memory that only the start needed.
pub fn release_memory() {
    release_code_pages();
    trim_heap();
    release_stack();
}

/// Gives back the pages of our own code and constants, most of which only the start needs: a thousandth of them is
/// enough for waiting. They stay in the page cache, and what is used again is mapped again.
#[allow(unsafe_code)]
fn release_code_pages() {
    // Where the linker says that the program begins and its code ends. The pages between are never written to.
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let (start, end) = (&raw const __executable_start, &raw const etext);
    let length = end.addr().saturating_sub(start.addr());
    // SAFETY: for unwritten pages of a file the advice (madvise(2)) changes nothing but when they are mapped.
    let _ = unsafe { madvise(start.cast_mut().cast(), length, Advice::LinuxDontNeed) };
}

/// Gives back the memory that the start has freed, most of it the command line's parser's, which the allocator would
/// keep.
#[allow(unsafe_code)]
fn trim_heap() {
    // SAFETY: it takes a number and knows what is free (malloc_trim(3)).
    #[cfg(target_env = "gnu")]
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Gives back the pages of the stack below this frame, which the command line's parser reached: 12 kB.
#[allow(unsafe_code)]
#[inline(never)]
fn release_stack() {
    /// As far as Linux maps a stack from the start.
    const DEPTH: usize = 128 * 1024;
    let here = 0_u8;
    let page = page_size();
    // With a page left for the call below.
    let end = ((&raw const here).addr() & !(page - 1)).saturating_sub(page);
    let start = (&raw const here).with_addr(end.saturating_sub(DEPTH)).cast_mut();
    // SAFETY: no frame of this thread, the only one, is that deep, and a page of the stack can be fetched anew at any
    // time.
    let _ = unsafe { madvise(start.cast(), DEPTH, Advice::LinuxDontNeed) };
}
