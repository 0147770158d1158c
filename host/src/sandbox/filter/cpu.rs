//! Compiler and runner: the kernel's audit token of each CPU, and system calls that differ between CPUs.

use super::bpf::{Condition, Machine};
use libc::c_long;

/// The token of an ELF machine: its number and two flags (linux/audit.h).
const fn token(number: u32) -> u32 {
    let wide = if cfg!(target_pointer_width = "64") { 0x8000_0000 } else { 0 };
    let little_endian = if cfg!(target_endian = "little") { 0x4000_0000 } else { 0 };
    number | wide | little_endian
}

/// The numbers of ELF machines are from linux/elf-em.h.
pub const MACHINE: Machine = Machine {
    #[cfg(target_arch = "x86_64")]
    token: token(62),
    #[cfg(target_arch = "aarch64")]
    token: token(183),
    #[cfg(target_arch = "riscv64")]
    token: token(243),
    #[cfg(target_arch = "s390x")]
    token: token(22),
    #[cfg(target_arch = "arm")]
    token: token(40),
    // The calls of x32, a second table under the same token.
    other_table: if cfg!(target_arch = "x86_64") { Some(0x4000_0000) } else { None },
    big_endian: cfg!(target_endian = "big"),
};

/// On s390x the arguments of mmap(2) are in memory, where a filter cannot read them (`sys_old_mmap`).
pub const MMAP_IS_OPAQUE: bool = cfg!(target_arch = "s390x");

/// The offset -1, "where the file is", from this argument on: it takes two of 32 bits each, or one and another that the
/// kernel does not look at.
pub fn at_current_offset(argument: u8) -> Vec<Condition> {
    let here = |argument| Condition::Word(argument, usize::MAX as u64);
    if cfg!(target_pointer_width = "64") { vec![here(argument)] } else { vec![here(argument), here(argument + 1)] }
}

#[cfg(not(target_arch = "arm"))]
pub const MMAP: c_long = libc::SYS_mmap;
#[cfg(target_arch = "arm")]
pub const MMAP: c_long = libc::SYS_mmap2;

#[cfg(not(target_arch = "arm"))]
pub const FSTAT: &[c_long] = &[libc::SYS_fstat];
#[cfg(target_arch = "arm")]
pub const FSTAT: &[c_long] = &[libc::SYS_fstat64];

#[cfg(not(target_arch = "arm"))]
pub const FCNTL: &[c_long] = &[libc::SYS_fcntl];
#[cfg(target_arch = "arm")]
pub const FCNTL: &[c_long] = &[libc::SYS_fcntl64];

/// fcntl(2)'s command to wait for a lock.
#[cfg(not(target_arch = "arm"))]
pub const LOCK: &[libc::c_int] = &[libc::F_SETLKW];
#[cfg(target_arch = "arm")]
pub const LOCK: &[libc::c_int] = &[libc::F_SETLKW, F_SETLKW64];

/// Each takes a clock first. On 32-bit CPUs there are two of each since 2038 became an issue; a C library tries the new
/// one first.
#[cfg(not(target_arch = "arm"))]
pub const CLOCKS: &[c_long] = &[libc::SYS_clock_getres, libc::SYS_clock_gettime, libc::SYS_clock_nanosleep];
#[cfg(target_arch = "arm")]
pub const CLOCKS: &[c_long] = &[
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    CLOCK_GETRES_TIME64,
    CLOCK_GETTIME64,
    CLOCK_NANOSLEEP_TIME64,
];

#[cfg(not(target_arch = "arm"))]
pub const FUTEX: &[c_long] = &[libc::SYS_futex];
#[cfg(target_arch = "arm")]
pub const FUTEX: &[c_long] = &[libc::SYS_futex, FUTEX_TIME64];

/// What waits for descriptors.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
pub const POLL: &[c_long] = &[libc::SYS_ppoll];
#[cfg(any(target_arch = "s390x", target_arch = "x86_64"))]
pub const POLL: &[c_long] = &[libc::SYS_poll, libc::SYS_ppoll];
#[cfg(target_arch = "arm")]
pub const POLL: &[c_long] = &[libc::SYS_poll, libc::SYS_ppoll, PPOLL_TIME64];

#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
pub const EPOLL_WAIT: &[c_long] = &[libc::SYS_epoll_pwait];
#[cfg(any(target_arch = "arm", target_arch = "s390x", target_arch = "x86_64"))]
pub const EPOLL_WAIT: &[c_long] = &[libc::SYS_epoll_pwait, libc::SYS_epoll_wait];

/// recv(2) and send(2) without an address.
#[cfg(not(target_arch = "arm"))]
pub const RECV_SEND: [&[c_long]; 2] = [&[], &[]];
#[cfg(target_arch = "arm")]
pub const RECV_SEND: [&[c_long]; 2] = [&[libc::SYS_recv], &[libc::SYS_send]];

/// The end of a signal handler without siginfo.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "x86_64"))]
pub const SIGRETURN: &[c_long] = &[];
#[cfg(any(target_arch = "arm", target_arch = "s390x"))]
pub const SIGRETURN: &[c_long] = &[libc::SYS_sigreturn];

/// How the engine makes new code visible to a CPU whose caches are not coherent.
#[cfg(target_arch = "aarch64")]
pub const MAP_CODE: &[c_long] = &[libc::SYS_membarrier];
#[cfg(target_arch = "riscv64")]
pub const MAP_CODE: &[c_long] = &[RISCV_FLUSH_ICACHE];
#[cfg(not(any(target_arch = "aarch64", target_arch = "riscv64")))]
pub const MAP_CODE: &[c_long] = &[];

// Numbers that the crate libc does not have.
#[cfg(target_arch = "riscv64")]
const RISCV_FLUSH_ICACHE: c_long = 259;
#[cfg(target_arch = "arm")]
const CLOCK_GETTIME64: c_long = 403;
#[cfg(target_arch = "arm")]
const CLOCK_GETRES_TIME64: c_long = 406;
#[cfg(target_arch = "arm")]
const CLOCK_NANOSLEEP_TIME64: c_long = 407;
#[cfg(target_arch = "arm")]
const PPOLL_TIME64: c_long = 414;
#[cfg(target_arch = "arm")]
const FUTEX_TIME64: c_long = 422;
#[cfg(target_arch = "arm")]
const F_SETLKW64: libc::c_int = 14;
