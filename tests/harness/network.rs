//! A network namespace of the test's own: every port is free, no other process listens or connects there, and all of it
//! ends with the test.

use super::skipped;
use nix::{
    libc,
    sched::{CloneFlags, unshare},
};
use std::{fs, io, sync::Once, thread};

/// Runs the test with nothing but loopback, or skips it where no network can be made. The network is that of the
/// test's thread, and of the threads, sockets and processes that begin there.
pub fn alone(test: impl FnOnce() + Send) {
    static TOLD: Once = Once::new();
    thread::scope(|threads| {
        let thread = thread::Builder::new().name(thread::current().name().unwrap_or("alone").into());
        let there = || match unshare(CloneFlags::CLONE_NEWNET) {
            Ok(()) => {
                set_loopback_up().unwrap();
                test();
            }
            Err(error) => TOLD.call_once(|| {
                skipped(&format!("what needs a network of its own, which only root can make: {error}"));
                assert!(std::env::var_os("CI").is_none(), "CI must test in a network of its own");
            }),
        };
        thread.spawn_scoped(threads, there).unwrap();
    });
}

/// The same as `ip link set lo up`, without the need for iproute2.
#[allow(unsafe_code)]
fn set_loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: zeros are a value of this structure of numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: this request reads a `struct ifreq`.
    match unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&socket), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Connections refused so far in the network of this thread (`AttemptFails` of TCP's counters, RFC 1213).
pub fn refusals() -> usize {
    let counters = fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut tcp = counters.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (tcp.next().unwrap(), tcp.next().unwrap());
    let found = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "AttemptFails");
    found.unwrap().1.parse().unwrap()
}
