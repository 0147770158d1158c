//! Standard streams that were closed when the wrapper was started.

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::{Errno, fcntl_getfd},
    stdio::{stderr, stdin, stdout},
};
use std::mem::forget;

/// Puts something in the place of streams that are closed, or the next file we open would be taken for one of them and
/// get our log. The command still finds them closed, as it would without us.
pub fn hold_standard_streams() {
    for fd in [stdin(), stdout(), stderr()] {
        if fcntl_getfd(fd) != Err(Errno::BADF) {
            continue;
        }
        // Reads as empty, refuses to be written, and needs no /dev/null. The kernel gives it the lowest free number,
        // which is the one that is missing.
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Before Linux 6.3 the flag is unknown; since then a node may demand it (sysctl vm.memfd_noexec).
        let placeholder = memfd_create("closed", flags | MemfdFlags::NOEXEC_SEAL);
        if let Ok(placeholder) = placeholder.or_else(|_| memfd_create("closed", flags)) {
            let _ = fcntl_add_seals(&placeholder, SealFlags::WRITE | SealFlags::GROW);
            forget(placeholder);
        }
    }
}
