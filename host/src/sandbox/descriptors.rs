//! Descriptors that a process inherits and has no use for.

/// Closes every descriptor but these and stderr: what the command reads and writes is not a hook's business.
pub fn close_fds_except(keep: &[i32]) {
    let mut keep = keep.to_vec();
    keep.push(libc::STDERR_FILENO);
    keep.sort_unstable();
    let mut next = 0;
    for fd in keep {
        close(next, fd - 1);
        next = fd + 1;
    }
    close(next, i32::MAX);
}

#[allow(unsafe_code)]
fn close(first: i32, last: i32) {
    /// Without close_range(2), before Linux 5.9, numbers are closed one by one up to here.
    const HIGHEST: i32 = 65_536;
    if first > last {
        return;
    }
    // SAFETY: the descriptors in between belong to values of the supervisor, of which this process is a copy that
    // never drops or uses them.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) != 0 {
            for fd in first..=last.min(HIGHEST) {
                libc::close(fd);
            }
        }
    }
}
