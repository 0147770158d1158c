//! Supervisor: the C entry point, and what every process of wrapper inherits from it: open streams, panics in one line.

use crate::{log, memfd};
use rustix::{
    io::{Errno, fcntl_getfd},
    stdio::{stderr, stdin, stdout},
};
use std::{ffi::c_int, mem::forget, panic::set_hook};

/// Called by the C runtime. Rust's own entry point would change what the command must inherit before it can be saved:
/// it ignores SIGPIPE and opens closed streams. It also reads `/proc/self/maps` to find the stack's guard page,
/// which takes longer than all that is done here before the command starts.
#[cfg_attr(test, expect(dead_code, reason = "the tests have an entry of their own"))]
#[cfg_attr(not(test), allow(unsafe_code, reason = "the name is the C runtime's"), unsafe(no_mangle))]
extern "C" fn main() -> c_int {
    reserve_closed_stdio();
    report_panics_in_one_line();
    crate::run().into()
}

/// Occupies the descriptors of closed standard streams. Otherwise the next file we open would get such a number and
/// receive our log. The command still finds them closed, as it would without wrapper.
fn reserve_closed_stdio() {
    for fd in [stdin(), stdout(), stderr()] {
        if fcntl_getfd(fd) != Err(Errno::BADF) {
            continue;
        }
        // Empty, not writable, and independent of /dev/null. The kernel assigns the lowest free number, which is that
        // of the closed stream.
        if let Ok(placeholder) = memfd::create("closed") {
            let _ = memfd::seal(&placeholder);
            forget(placeholder);
        }
    }
}

/// Reports a panic, which is a bug in wrapper, in one line, whatever `RUST_BACKTRACE` is.
fn report_panics_in_one_line() {
    set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("panic");
        let place = panic.location().map(|place| format!(" ({}:{})", place.file(), place.line()));
        log::error(format!("internal error, please report it: {text}{}", place.unwrap_or_default()));
    }));
}

#[cfg(all(no_unwind_tables, panic = "unwind"))]
compile_error!("a profile that inherits `release` and unwinds needs the tables that build.rs leaves out");

/// Replaces the unwinder's own function in a program without its tables, see `build.rs`: there is no frame.
#[cfg(no_unwind_tables)]
#[allow(unsafe_code, reason = "the name is the linker's, for --wrap")]
#[unsafe(no_mangle)]
extern "C" fn __wrap__Unwind_Backtrace() -> c_int {
    /// `_URC_END_OF_STACK` of unwind.h.
    const URC_END_OF_STACK: c_int = 5;
    URC_END_OF_STACK
}
