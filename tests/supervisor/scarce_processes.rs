//! A container may have a limit of processes, and for a moment none may be left for a hook. The fork is retried within
//! the hook's time: a sidecar that is never asked to quit keeps the pod running for ever.

use crate::harness::{
    Done, LOOK, Run, Running, eventually, guests, kill, processes::Process, skipped, wrapper_for_everyone,
};
use nix::{
    libc::SIGUSR1,
    sys::resource::{Resource, setrlimit},
};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// A user of whom there are no other processes.
const USER: u32 = 54_322;

/// Long enough for two tries, which are a tenth of a second apart.
const SCARCE: Duration = Duration::from_millis(350);

/// Sets how many processes the user of this process may have.
fn allow_processes(pid: i32, most: u64) {
    let mut set = Command::new("prlimit");
    // The same user needs no capability for it.
    let set = set.args(["--pid", &pid.to_string(), &format!("--nproc={most}:")]).uid(USER).gid(USER).output().unwrap();
    assert!(set.status.success(), "{set:?}");
}

/// wrapper as that user, with a copy of a hook that the user can read.
fn as_user(test: impl FnOnce(&dyn Fn() -> Command, &Path)) {
    if !nix::unistd::geteuid().is_root() {
        return skipped("the limit on processes is none for root, and only root can be somebody else");
    }
    let (directory, program) = wrapper_for_everyone();
    let hook = directory.path().join("nap.wasm");
    fs::copy(guests::program("nap"), &hook).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o644)).unwrap();
    let run = || {
        let mut run = Command::new(&program);
        run.env_clear().env("PATH", "/usr/bin:/bin").uid(USER).gid(USER).args(["--plugin-prepare", "off"]);
        run
    };
    test(&run, &hook);
}

/// Lets the time pass in which nothing may happen.
fn while_scarce(run: &mut Running) {
    let end = Instant::now() + SCARCE;
    while Instant::now() < end {
        assert!(!run.has_ended(), "it did not try again: {}", run.stderr_so_far());
        thread::sleep(LOOK);
    }
}

#[test]
fn a_hook_that_cannot_be_forked_for_a_moment_runs_later_within_its_time_and_not_after_it() {
    as_user(|run, _| {
        for more_come in [true, false] {
            let script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.02; done";
            let options = ["--plugin", "echo", "--plugin-timeout", if more_come { "20s" } else { "1s" }];
            let mut run = run().with(&options).with(&["sh", "-c", script]).running();
            run.until_stdout_has("ready\n");
            let command = Process::children(run.pid())[0].pid;
            allow_processes(run.pid(), 1);
            kill(command, SIGUSR1);
            while_scarce(&mut run);
            if more_come {
                allow_processes(run.pid(), 1000);
            }
            let done: Done = run.done();
            assert_eq!(done.code(), 7, "{done:?}");
            assert_eq!(done.stderr.contains("exited with 7"), more_come, "{done:?}");
            assert_eq!(done.stderr.contains("cannot fork: Resource temporarily unavailable"), !more_come, "{done:?}");
        }
    });
}

#[test]
fn a_hook_that_cannot_be_checked_for_a_moment_is_checked_later() {
    as_user(|run, hook| {
        let run =
            run().plugin(hook).with(&["sh", "-c", "exit 7"]).first(|| Ok(setrlimit(Resource::RLIMIT_NPROC, 1, 1000)?));
        let mut run = run.running();
        eventually("it is wrapper", || {
            fs::read_to_string(format!("/proc/{}/comm", run.pid())).is_ok_and(|it| it == "wrapper\n")
        });
        while_scarce(&mut run);
        allow_processes(run.pid(), 1000);
        let done = run.done();
        assert_eq!((done.code(), done.lines()), (7, vec!["wrapper: nap: sleeping", "wrapper: nap: slept"]));
    });
}
