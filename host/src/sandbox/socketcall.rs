//! All processes: socket functions for s390x. Its C library makes all calls for sockets through socketcall(2), whose
//! arguments are in memory, where a filter cannot read them. Since Linux 4.3 each has a number of its own there as
//! well; these functions take the place of the C library's in a static program.

use libc::{c_int, c_void, size_t, sockaddr, socklen_t, ssize_t, syscall};

macro_rules! by_number {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty = $number:ident($($passed:expr),*);)*) => {$(
        #[allow(unsafe_code, clippy::cast_possible_truncation, reason = "the C library's function, see socket(2)")]
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $kind),*) -> $result {
            // SAFETY: what the kernel is given is what the caller of the C library's function has to answer for.
            unsafe { syscall(libc::$number, $($passed),*) as $result }
        }
    )*};
}

by_number! {
    socket(family: c_int, kind: c_int, protocol: c_int) -> c_int = SYS_socket(family, kind, protocol);
    bind(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int = SYS_bind(fd, address, length);
    connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int = SYS_connect(fd, address, length);
    getsockname(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int
        = SYS_getsockname(fd, address, length);
    getpeername(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int
        = SYS_getpeername(fd, address, length);
    getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut socklen_t) -> c_int
        = SYS_getsockopt(fd, level, name, value, length);
    setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, length: socklen_t) -> c_int
        = SYS_setsockopt(fd, level, name, value, length);
    shutdown(fd: c_int, how: c_int) -> c_int = SYS_shutdown(fd, how);
    send(fd: c_int, bytes: *const c_void, length: size_t, flags: c_int) -> ssize_t
        = SYS_sendto(fd, bytes, length, flags, 0_usize, 0_usize);
    recv(fd: c_int, bytes: *mut c_void, length: size_t, flags: c_int) -> ssize_t
        = SYS_recvfrom(fd, bytes, length, flags, 0_usize, 0_usize);
    sendto(
        fd: c_int, bytes: *const c_void, length: size_t, flags: c_int, address: *const sockaddr, size: socklen_t
    ) -> ssize_t = SYS_sendto(fd, bytes, length, flags, address, size);
    recvfrom(
        fd: c_int, bytes: *mut c_void, length: size_t, flags: c_int, address: *mut sockaddr, size: *mut socklen_t
    ) -> ssize_t = SYS_recvfrom(fd, bytes, length, flags, address, size);
    sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int) -> ssize_t = SYS_sendmsg(fd, message, flags);
    recvmsg(fd: c_int, message: *mut libc::msghdr, flags: c_int) -> ssize_t = SYS_recvmsg(fd, message, flags);
}
