//! Tests: the filter, interpreted as the kernel would.

use super::{
    bpf::{
        Machine, assemble,
        interpreter::{Call, run},
    },
    *,
};

const COMPILER: Role = Role::Compiler { report: 9 };
const TCP: Role = Role::Runner { lookups: false, may_map_code: true };
const LOOKUPS: Role = Role::Runner { lookups: true, may_map_code: true };
const BUILT_IN: Role = Role::Runner { lookups: true, may_map_code: false };
const ALL: [Role; 4] = [COMPILER, TCP, LOOKUPS, BUILT_IN];
const NETWORK: [Role; 3] = [TCP, LOOKUPS, BUILT_IN];
const MAY_MAP_CODE: [Role; 2] = [TCP, LOOKUPS];

/// The answer's code and how many instructions it took, in either order of bytes.
fn ask(rules: &Rules, otherwise: Answer, number: libc::c_long, arguments: &[i64]) -> (u32, usize) {
    let mut all = [0; 6];
    all.iter_mut().zip(arguments).for_each(|(to, from)| *to = from.cast_unsigned());
    let call = Call { token: cpu::MACHINE.token, number: number as u32, arguments: all };
    let [first, second] = [false, true].map(|big_endian| {
        let machine = Machine { big_endian, ..cpu::MACHINE };
        run(&assemble(rules, otherwise, &machine).unwrap(), &call, &machine)
    });
    assert_eq!(first, second);
    first
}

fn allows(role: Role, number: libc::c_long, arguments: &[i64]) -> bool {
    ask(&rules(role), Answer::Refuse, number, arguments).0 == libc::SECCOMP_RET_ALLOW
}

#[track_caller]
fn judge(roles: &[Role], number: libc::c_long, allowed: &[&[i64]], refused: &[&[i64]]) {
    for role in ALL {
        for arguments in allowed {
            assert_eq!(allows(role, number, arguments), roles.contains(&role), "{number}{arguments:x?}");
        }
        for arguments in refused {
            assert!(!allows(role, number, arguments), "{number}{arguments:x?}");
        }
    }
}

/// Beyond what the kernel reads of an int.
const UPPER: i64 = 7 << 32;

#[test]
fn memory_is_private_and_counted_and_in_the_compiler_never_executable() {
    use libc::{
        MAP_ANONYMOUS, MAP_FIXED, MAP_GROWSDOWN, MAP_HUGETLB, MAP_LOCKED, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED,
    };
    let map = |protection: i32, flags: i32| [0, 4096, protection.into(), flags.into(), -1, 0];
    let own = MAP_PRIVATE | MAP_ANONYMOUS;
    let read = libc::PROT_READ;
    let code = read | libc::PROT_EXEC;
    let allowed = [map(read, own), map(0, own | MAP_FIXED | MAP_NORESERVE)];
    let wrong = [MAP_SHARED | MAP_ANONYMOUS, 3 | MAP_ANONYMOUS, MAP_PRIVATE, own | MAP_GROWSDOWN, own | MAP_LOCKED];
    let refused = wrong.iter().chain(&[own | MAP_HUGETLB]).map(|flags| map(read, *flags)).collect::<Vec<_>>();
    if SEES_MAPPINGS {
        judge(&ALL, cpu::MMAP, &[&allowed[0], &allowed[1]], &refused.iter().map(|r| &r[..]).collect::<Vec<_>>());
        judge(&MAY_MAP_CODE, cpu::MMAP, &[&map(code, own)], &[]);
    }
    judge(&ALL, libc::SYS_mprotect, &[&[0, 4096, read.into()]], &[]);
    judge(&MAY_MAP_CODE, libc::SYS_mprotect, &[&[0, 4096, code.into()]], &[]);
    judge(&ALL, libc::SYS_madvise, &[&[0, 4096, 4]], &[&[0, 4096, 12], &[0, 4096, 14]]);
    assert_eq!(ask(&rules(TCP), Answer::Refuse, libc::SYS_memfd_create, &[]).0 & 0xffff, libc::ENOSYS as u32);
}

#[test]
fn standard_error_is_appended_to_and_nothing_else() {
    judge(&ALL, libc::SYS_write, &[&[2, 0, 1]], &[]);
    judge(&ALL, libc::SYS_writev, &[&[2, 0, 1]], &[]);
    let current = [2, 0, 1, usize::MAX as i64, usize::MAX as i64, libc::RWF_NOWAIT.into()];
    let with = |index: usize, value: i64| {
        let mut arguments = current;
        arguments[index] = value;
        arguments
    };
    let no_append = i64::from(libc::RWF_NOWAIT | 0x20);
    judge(&ALL, libc::SYS_pwritev2, &[&current], &[&with(3, 0), &with(3, -1 << 32), &with(5, 0), &with(5, no_append)]);
    for call in [libc::SYS_read, libc::SYS_readv, libc::SYS_pread64, cpu::FSTAT[0]] {
        judge(&ALL, call, &[&[3], &[0]], &[&[2], &[UPPER | 2]]);
    }
    for call in [libc::SYS_connect, libc::SYS_shutdown, libc::SYS_recvfrom, libc::SYS_sendto] {
        judge(&NETWORK, call, &[&[3]], &[&[2], &[UPPER | 2]]);
    }
    judge(&[LOOKUPS, BUILT_IN], libc::SYS_bind, &[&[3]], &[&[2]]);
    for command in [1, 2, 3, libc::F_DUPFD_CLOEXEC, libc::F_GET_SEALS, libc::F_ADD_SEALS].map(i64::from) {
        judge(&ALL, cpu::FCNTL[0], &[&[3, command]], &[&[2, command]]);
    }
    judge(&[COMPILER], cpu::FCNTL[0], &[&[3, cpu::LOCK[0].into()]], &[&[2, cpu::LOCK[0].into()]]);
    for command in [libc::F_DUPFD, libc::F_SETFL, libc::F_SETOWN, libc::F_SETLK, libc::F_SETPIPE_SZ].map(i64::from) {
        judge(&[], cpu::FCNTL[0], &[], &[&[3, command], &[3, UPPER | command]]);
    }
}

#[test]
fn a_call_that_takes_a_pid_takes_ones_own() {
    let own = i64::from(std::process::id());
    judge(&ALL, libc::SYS_tgkill, &[&[own, own, 6]], &[&[own + 1, own, 6], &[-1], &[0], &[1]]);
    judge(&[COMPILER], libc::SYS_prlimit64, &[&[0, 2, 1, 0]], &[]);
    judge(&ALL, libc::SYS_prlimit64, &[&[0, 3, 0, 1]], &[&[own, 3, 0, 1], &[1, 3], &[0, 3, 1, 0], &[0, 3, UPPER, 0]]);
    judge(&ALL, libc::SYS_sched_getaffinity, &[&[0]], &[&[1], &[own]]);
    for call in [libc::SYS_getpriority, libc::SYS_setpriority] {
        // Process groups and users are 1 and 2.
        judge(&[COMPILER], call, &[&[0, 0, 19]], &[&[0, 1, 19], &[1, 0, 19], &[2, 0, 19]]);
    }
    // What clock_getcpuclockid(3) makes of a pid.
    let clock_of = |pid: i64| (!pid << 3) | 2;
    for call in cpu::CLOCKS {
        judge(&ALL, *call, &[&[0], &[1], &[2]], &[&[clock_of(1)], &[clock_of(own)], &[clock_of(1) & 0xffff_ffff]]);
    }
    for call in [libc::SYS_kill, libc::SYS_tkill, libc::SYS_ptrace, libc::SYS_clone, libc::SYS_process_vm_readv] {
        judge(&[], call, &[], &[&[own], &[0]]);
    }
}

#[test]
fn sockets_are_of_tcp_or_where_names_are_looked_up_of_udp() {
    const FLAGS: i64 = 0o2_004_000;
    let (inet, inet6, stream, datagram) = (2, 10, 1, 2);
    for family in [inet, inet6] {
        let others: [&[i64]; 4] = [&[family, 3, 0], &[family, 5, 0], &[family, stream, 262], &[family, stream, 132]];
        judge(&NETWORK, libc::SYS_socket, &[&[family, stream, 0], &[family, stream | FLAGS, 0]], &others);
        judge(&[LOOKUPS, BUILT_IN], libc::SYS_socket, &[&[family, datagram | FLAGS, 0]], &[&[family, datagram, 1]]);
    }
    // Unix, netlink, packet, VM and Bluetooth sockets.
    for family in [1, 16, 17, 40, 31] {
        judge(&[], libc::SYS_socket, &[], &[&[family, stream, 0], &[family, datagram, 0], &[family, 3, 0]]);
    }
    let other: [&[i64]; 4] = [&[3, 1, 9], &[3, 1, 15], &[3, 6, 30], &[3, 0, 1]];
    judge(&NETWORK, libc::SYS_setsockopt, &[&[3, 6, 1]], &[&other[..], &[&[2, 6, 1]]].concat());
    judge(&NETWORK, libc::SYS_getsockopt, &[&[3, 1, 4]], &[&[3, 1, 17], &[2, 1, 4]]);
    let (fast_open, to_an_address) = ([3, 0, 1, 0x2000_0000], [3, 0, 1, 0, UPPER]);
    judge(&NETWORK, libc::SYS_sendto, &[&[3, 0, 1, 0x4000]], &[&fast_open, &to_an_address]);
    judge(&[COMPILER], libc::SYS_sendmsg, &[&[9]], &[&[2], &[3], &[10]]);
    for call in [libc::SYS_listen, libc::SYS_accept4, libc::SYS_socketpair, libc::SYS_sendmmsg, libc::SYS_recvmsg] {
        judge(&[], call, &[], &[&[9], &[3], &[2]]);
    }
}

#[test]
fn one_more_filter_takes_the_right_to_map_code_and_to_filters() {
    let listener = 8;
    judge(&MAY_MAP_CODE, libc::SYS_seccomp, &[&[1, 0, 1]], &[&[1, listener, 1], &[0, 0], &[2, 0], &[1, UPPER]]);
    judge(&MAY_MAP_CODE, libc::SYS_prctl, &[&[65, 1]], &[&[4, 1], &[15, 1], &[38, 1], &[1, 0]]);
    let allowed = |call, arguments: &[i64]| {
        ask(&no_executable_memory(), Answer::Allow, call, arguments).0 == libc::SECCOMP_RET_ALLOW
    };
    assert!(!allowed(libc::SYS_mprotect, &[0, 1, 5]) && allowed(libc::SYS_mprotect, &[0, 1, 3]));
    assert!(!SEES_MAPPINGS || !allowed(cpu::MMAP, &[0, 1, 4]) && allowed(cpu::MMAP, &[0, 1, 3]));
    assert!(!allowed(libc::SYS_seccomp, &[1, 0]) && !allowed(libc::SYS_prctl, &[65, 1]));
    assert!(allowed(libc::SYS_write, &[2]));
}

#[test]
fn nobody_inherits_priorities_or_requeues() {
    for call in cpu::FUTEX {
        judge(&ALL, *call, &[&[0, 0], &[0, 1 | 128], &[0, 9 | 128 | 256], &[0, 10]], &[&[0, 6], &[0, 11], &[0, 3]]);
    }
}

#[test]
fn what_no_rule_names_is_refused() {
    let named = [libc::SYS_openat, libc::SYS_execve, libc::SYS_ioctl, libc::SYS_io_uring_setup, libc::SYS_bpf];
    for number in named.into_iter().chain([-1, 0x3fff_ffff, 1000]) {
        judge(&[], number, &[], &[&[0], &[3]]);
    }
}

#[test]
fn a_call_is_judged_in_few_steps() {
    for role in ALL {
        for call in CALLS {
            let (answer, steps) = ask(&rules(role), Answer::Refuse, *call, &[]);
            assert_eq!(answer, libc::SECCOMP_RET_ALLOW);
            assert!(steps <= 14, "{call}: {steps}");
        }
    }
}
