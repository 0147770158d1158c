//! wrapper and its hooks work in a container without a user, files, capabilities or much memory.

use crate::harness::{
    Done, Run, assert_took, cgroup::Cgroup, guests, heavy, peer::Peer, programs::child, repository, skipped, wrapper,
    wrapper_for_everyone,
};
use nix::{
    libc,
    sys::{
        prctl::set_no_new_privs,
        resource::{Resource, setrlimit},
    },
    unistd::{Gid, Uid, chdir, chroot, geteuid, setgid, setgroups, setuid},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// A command of 7 after which the hook echo has spoken and nobody else has.
#[track_caller]
fn assert_works(done: &Done) {
    assert_eq!(done.code(), 7, "{done:?}");
    assert!(done.line().contains("wrapper: echo: "), "{done:?}");
}

fn exits_with_7(program: &Path) -> Command {
    let mut run = Command::new(program);
    run.env_clear().env("PATH", "/usr/bin:/bin");
    run.plugin("echo").with(&["sh", "-c", "exit 7"])
}

#[test]
fn an_arbitrary_user_without_a_name_or_a_home_is_enough() {
    if !geteuid().is_root() {
        return skipped("only root can become another user");
    }
    const OPENSHIFT: u32 = 1_000_650_000;
    let (_directory, program) = wrapper_for_everyone();
    let become_it = || {
        setgroups(&[])?;
        setgid(Gid::from_raw(0))?;
        Ok(setuid(Uid::from_raw(OPENSHIFT))?)
    };
    assert_works(&exits_with_7(&program).first(become_it).done());

    let mut run = Command::new(&program);
    run.env_clear().args(["/usr/bin/id", "-u"]);
    assert_eq!(run.first(become_it).done().stdout, format!("{OPENSHIFT}\n"));

    let peer = Peer::with_status(200);
    let mut run = Command::new(&program);
    run.env_clear().env("HOOK_ISTIO_QUIT_URL", peer.url("/")).args(["--plugin", "istio-quit", "/bin/true"]);
    assert_eq!(run.first(become_it).done().code(), 0);
    assert_eq!(peer.requests().len(), 1);
}

/// A root in which there is nothing but wrapper, which is a command too, and one hook.
fn empty_root() -> (tempfile::TempDir, Command) {
    let (directory, _) = wrapper_for_everyone();
    fs::copy(repository("hooks/dist/echo.wasm"), directory.path().join("echo.wasm")).unwrap();
    let root: PathBuf = directory.path().into();
    let mut run = Command::new("/wrapper");
    run.env_clear();
    let run = run.first(move || {
        chroot(&root)?;
        Ok(chdir("/")?)
    });
    (directory, run)
}

#[test]
fn no_file_is_needed_but_the_binary_and_the_hook() {
    if !geteuid().is_root() {
        return skipped("only root can change its root");
    }
    for hook in ["echo", "/echo.wasm"] {
        let (directory, run) = empty_root();
        let done = run.plugin(hook).with(&["/wrapper", "--version"]).done();
        assert_eq!(done.code(), 0, "{done:?}");
        assert!(done.stdout.starts_with("wrapper ") && done.line().contains("wrapper: echo: "), "{done:?}");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "something was left behind");
    }
}

#[test]
fn a_read_only_system_is_enough() {
    // A mount of this test's own; the machine's stays as it is.
    let script = r#"mount -o remount,bind,ro / && mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp &&
        ! touch /marker 2>/dev/null && ! touch /tmp/marker 2>/dev/null && exec "$0" --plugin echo sh -c 'exit 7'"#;
    let mut run = Command::new("unshare");
    run.args(["-m", "--propagation", "private", "sh", "-c", script, env!("CARGO_BIN_EXE_wrapper")]);
    let done = run.done();
    if done.status.code() != Some(7) && !geteuid().is_root() {
        return skipped("only root can mount");
    }
    assert_works(&done);
}

#[test]
fn nothing_is_opened_for_writing() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skipped("there is no strace");
    }
    let peer = Peer::with_status(200);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut run = Command::new("strace");
    run.args(["-f", "-o", log.path().to_str().unwrap(), "-e", "trace=%file"]);
    run.arg(env!("CARGO_BIN_EXE_wrapper")).env("HOOK_ISTIO_QUIT_URL", peer.url("/"));
    let done = run.with(&["--plugin", "echo", "--plugin", "istio-quit", "cat", "/dev/null"]).done();
    if done.status.code() != Some(0) && done.stderr.contains("ptrace") {
        return skipped("strace may not trace here");
    }
    assert_eq!(done.code(), 0, "{done:?}");
    let calls = fs::read_to_string(log.path()).unwrap();
    assert!(calls.contains("execve("), "{calls}");
    const CHANGES: [&str; 9] =
        ["O_WRONLY", "O_RDWR", "O_CREAT", "mkdir", "unlink", "rename", "symlink", "truncate", "chmod"];
    // Not a file but a question to the kernel: who is to die first.
    for call in calls.lines().filter(|call| !call.contains("/proc/self/oom_score_adj")) {
        assert!(!CHANGES.iter().any(|change| call.contains(change)), "{call}");
    }
}

#[test]
fn without_any_right_it_works() {
    let no_new_privs = || {
        set_no_new_privs()?;
        // System calls that older kernels and runtimes' profiles deny.
        refuse(&[libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal, libc::SYS_io_uring_setup], libc::EPERM)?;
        refuse(&[libc::SYS_clone3, libc::SYS_close_range, libc::SYS_openat2, libc::SYS_preadv2], libc::ENOSYS)?;
        refuse(&[libc::SYS_pwritev2], libc::ENOSYS)
    };
    assert_works(&exits_with_7(wrapper().get_program().as_ref()).first(no_new_privs).done());

    if !geteuid().is_root() {
        return skipped("only root has capabilities to drop");
    }
    let mut run = Command::new("setpriv");
    run.args(["--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs", env!("CARGO_BIN_EXE_wrapper")]);
    assert_works(&run.plugin("echo").with(&["sh", "-c", "exit 7"]).done());
}

#[test]
fn three_gigabytes_of_address_space_are_enough_for_a_hook() {
    for hook in ["echo".into(), guests::program("exit")] {
        let mut run = wrapper().plugin(&hook).with(&["sh", "-c", "exit 7"]);
        run.env("HOOK_EXIT", "0");
        let limit = 3_000_000 * 1024;
        let done = run.first(move || Ok(setrlimit(Resource::RLIMIT_AS, limit, limit)?)).done();
        assert_eq!(done.code(), 7);
        assert!(!done.stderr.contains("hook \""), "{done:?}");
    }
}

#[test]
fn where_code_cannot_be_mapped_the_hook_still_runs() {
    // As SELinux without execmem, or a strict profile: memory that was written cannot be executed.
    let refuse_code = || {
        set_no_new_privs()?;
        refuse_executable_mprotect()
    };
    let run = |hook: &Path| wrapper().with(&["--log", "debug"]).plugin(hook).with(&["sh", "-c", "exit 7"]);
    let component = guests::official("echo");
    for hook in [&component, Path::new("echo")] {
        let done = run(hook).first(refuse_code).done();
        assert_eq!(done.code(), 7, "{done:?}");
        assert!(done.stderr.contains("wrapper: echo: \"sh\" exited with 7"), "{done:?}");
        // It is compiled once, for the interpreter, and a built-in hook is compiled already.
        let interpreted = "executable memory is forbidden, interpreting the hook";
        assert_eq!(done.stderr.contains(interpreted), hook == component, "{done:?}");
        assert!(!done.stderr.contains("is not used"), "{done:?}");
    }
    let done = run(&component).done();
    assert!(!done.stderr.contains("interpreted"), "{done:?}");
}

#[test]
fn rusts_own_variables_change_nothing_in_the_lines() {
    let hook = guests::hook("panic_in_function");
    let lines = |variables: &[(&str, &str)]| {
        let mut run = wrapper().plugin("echo").plugin("nosuch.wasm").plugin(&hook).with(&["sh", "-c", "exit 7"]);
        run.envs(variables.iter().copied());
        let missing = run.done().stderr;
        let mut run = wrapper().plugin(&hook).with(&["sh", "-c", "exit 7"]);
        run.envs(variables.iter().copied());
        missing + &run.done().stderr
    };
    let plain = lines(&[]);
    assert!(plain.contains("trapped"), "{plain}");
    assert_eq!(lines(&[("RUST_BACKTRACE", "full"), ("RUST_LOG", "trace"), ("RUST_LIB_BACKTRACE", "1")]), plain);
}

/// A cgroup with so much memory, if the test may have one.
fn memory_of(bytes: u64, name: &str) -> Option<Cgroup> {
    let bytes = bytes.to_string();
    Cgroup::limited(name, "memory", ("memory.limit_in_bytes", &bytes), ("memory.max", &bytes))
}

fn peak(memory: &Cgroup) -> u64 {
    let peak = memory.read("memory.max_usage_in_bytes").or_else(|| memory.read("memory.peak"));
    peak.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[test]
fn a_container_of_64_mib_is_enough() {
    let Some(memory) = memory_of(64 << 20, "small") else {
        return skipped("no memory cgroup may be made here");
    };
    let done = memory.holding(wrapper().plugin("echo").with(&["sh", "-c", "exit 7"])).done();
    assert_works(&done);
    assert!(peak(&memory) > 0);
}

#[test]
fn a_command_that_the_kernel_kills_for_its_memory_is_137_and_the_hook_runs() {
    let Some(memory) = memory_of(96 << 20, "oom") else {
        return skipped("no memory cgroup may be made here");
    };
    // One line that never ends, all of it kept.
    let done = memory.holding(wrapper().plugin("echo").with(&["tail", "-n", "1", "/dev/zero"])).done();
    assert_eq!(done.code(), 137, "{done:?}");
    assert!(done.line().contains("was killed by signal 9"), "{done:?}");
    assert_took(&done, 0.0, 30.0);
    let done = wrapper().with(&[child(), "die", "9"]).done();
    assert_eq!(done.code(), 137, "the same as any other SIGKILL");
}

/// Holds that many MiB until it is wrapper's only process, or half a minute has gone.
const HOLDS: &str = "import os, sys, time
held = bytearray(int(sys.argv[1]) << 20)
wrapper = os.getppid()
end = time.monotonic() + 30
while time.monotonic() < end:
    with open(f'/proc/{wrapper}/task/{wrapper}/children') as children:
        if children.read().split() == [str(os.getpid())]:
            break
    time.sleep(0.02)
print('held', held[-1])";

#[test]
fn a_hook_that_takes_hundreds_of_mib_to_compile_does_not_get_the_command_killed() {
    let Some(memory) = memory_of(340 << 20, "hungry") else {
        return skipped("no memory cgroup may be made here");
    };
    let hungry = heavy::hungry_to_compile(330_000);
    let run = wrapper().with(&["--plugin-timeout", "3s"]).plugin(&*hungry).with(&["python3", "-c", HOLDS, "230"]);
    let done = memory.holding(run).done();
    assert_eq!((done.code(), done.stdout.as_str()), (0, "held 0\n"), "{done:?}");
}

#[test]
fn compiling_takes_a_quarter_of_what_the_container_has_left_and_with_little_left_nothing() {
    for (limit, compiles) in [(128 << 20, true), (24 << 20, false)] {
        let Some(memory) = memory_of(limit, "share") else {
            return skipped("no memory cgroup may be made here");
        };
        let hook = guests::program("nap");
        let wait = "until [ \"$(cat /proc/$PPID/task/$PPID/children)\" = \"$$ \" ]; do :; done; exit 7";
        let done = memory.holding(wrapper().with(&["--log", "debug"]).plugin(&hook).with(&["sh", "-c", wait])).done();
        assert_eq!(done.code(), 7, "{done:?}");
        assert!(done.stderr.contains("nap: slept"), "{done:?}");
        assert_eq!(
            !done.stderr.contains("compiling hooks only when they run: the container has little memory left"),
            compiles,
            "{done:?}"
        );
    }
}

/// Refuses system calls with an error from here on (seccomp(2)).
fn refuse(calls: &[libc::c_long], errno: i32) -> io::Result<()> {
    let refusal = libc::SECCOMP_RET_ERRNO | errno as u32;
    for call in calls {
        filter(&mut [load(0), jump_if_equal(*call as u32, 0, 1), give(refusal), give(libc::SECCOMP_RET_ALLOW)])?;
    }
    Ok(())
}

fn refuse_executable_mprotect() -> io::Result<()> {
    // The third argument's lower half, behind the number, the architecture, the address and two arguments.
    const PROTECTION: u32 = 16 + 2 * 8;
    filter(&mut [
        load(0),
        jump_if_equal(libc::SYS_mprotect as u32, 0, 3),
        load(PROTECTION),
        libc::sock_filter { code: 0x45, jt: 0, jf: 1, k: libc::PROT_EXEC as u32 },
        give(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        give(libc::SECCOMP_RET_ALLOW),
    ])
}

fn load(offset: u32) -> libc::sock_filter {
    libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: offset }
}

fn jump_if_equal(value: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: 0x15, jt, jf, k: value }
}

fn give(value: u32) -> libc::sock_filter {
    libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: value }
}

#[allow(unsafe_code)]
fn filter(program: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program is well formed and lives until the kernel has copied it.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
