//! The command's standard streams are wrapper's own, and the exit code is kept whatever state they are in.

use crate::harness::{
    Run, assert_took, processes::command_of, repository, role::in_both_roles, skipped, wrapper, wrapper_for_everyone,
};
use std::{
    fs::{self, File},
    io::{PipeReader, PipeWriter, Write, pipe},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    time::Instant,
};

/// A shell in which `$0` with its arguments is wrapper.
fn shell(script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.env_clear().envs(wrapper().get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.args(["-c", script, env!("CARGO_BIN_EXE_wrapper")]).stdin(Stdio::null());
    shell
}

#[test]
fn stdin_reaches_the_command() {
    in_both_roles(|role| {
        let mut run = role.wrapper().with(&["--plugin", "echo", "sh"]);
        run.stdin(Stdio::piped());
        let mut run = run.running();
        run.child.stdin.take().unwrap().write_all(b"exit 3").unwrap();
        assert_eq!(run.done().code(), 3, "{role:?}");
    });
}

#[test]
fn the_commands_streams_are_the_wrappers_own() {
    in_both_roles(|role| {
        let mut run = role.wrapper().with(&["--plugin", "echo", "sh", "-c", "echo ready; read x"]);
        run.stdin(Stdio::piped());
        let mut run = run.running();
        run.until_stdout_has("ready\n");
        let wrapper = role.pid(&run);
        let command = command_of(wrapper).pid;
        for fd in 0..=2 {
            let stream = |pid: i32| fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
            assert_eq!(stream(command), stream(wrapper), "{role:?}");
            assert!(stream(command).to_str().unwrap().starts_with("pipe:"));
        }
        // Nothing else is open in the command, but what cargo has left open in all of us.
        let streams = |pid: i32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let ours: Vec<_> = streams(std::process::id() as i32).flat_map(|entry| fs::read_link(entry.path())).collect();
        for entry in streams(command).filter(|entry| !["0", "1", "2"].contains(&entry.file_name().to_str().unwrap())) {
            assert!(ours.contains(&fs::read_link(entry.path()).unwrap()), "{entry:?}");
        }
        drop(run.child.stdin.take());
        assert_eq!(run.done().code(), 1);
    });
}

#[test]
fn a_gigabyte_passes() {
    let done = shell(r#"head -c 1G /dev/zero | "$0" --plugin echo cat | wc -c"#).done();
    assert_eq!(done.stdout.trim(), (1u64 << 30).to_string());
    assert!(done.line().contains("exited with 0"), "{done:?}");
}

#[test]
fn with_closed_streams_the_code_is_kept() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"] {
        for hook in ["", "--plugin echo --log debug"] {
            let done = shell(&format!(r#"exec "$0" {hook} sh -c 'exit 7' {closed}"#)).done();
            assert_eq!(done.code(), 7, "{closed} {hook}");
            assert_eq!(done.stdout, "", "{closed} {hook}");
            assert!(done.stderr.lines().all(|line| line.starts_with("wrapper: ")), "{closed} {hook}: {done:?}");
        }
    }
}

#[test]
fn a_stream_that_is_closed_is_closed_in_the_command_and_one_that_is_open_is_not() {
    for (fd, closed) in [(0, "<&-"), (1, ">&-"), (2, "2>&-")] {
        let script = format!("test -L /proc/$$/fd/{fd} && exit 1; exit 7");
        let run = |closed: &str| shell(&format!(r#"exec "$0" --plugin echo sh -c '{script}' {closed}"#)).done().code();
        assert_eq!((run(closed), run("")), (7, 1), "{fd}");
    }
}

/// Runs a command of 100 ms whose hook and wrapper have much to say to this stderr.
fn talking_to(stderr: impl Into<Stdio>) -> (Option<i32>, f64) {
    let start = Instant::now();
    let mut run =
        wrapper().with(&["--log", "debug", "--plugin", "echo", "--plugin", "echo", "sh", "-c", "sleep 0.1; exit 7"]);
    let mut child = run.stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    // Else a copy of the pipe's end stays open here.
    drop(run);
    (child.wait().unwrap().code(), start.elapsed().as_secs_f64())
}

/// A pipe in which no byte has room, and the end from which nobody reads.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let size = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    writer.write_all(&vec![b'x'; size as usize]).unwrap();
    (reader, writer)
}

#[test]
fn a_log_reader_that_has_gone_costs_neither_code_nor_time() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let (code, elapsed) = talking_to(writer);
    assert_eq!(code, Some(7));
    assert!((0.1..5.0).contains(&elapsed), "{elapsed}");
}

#[test]
fn a_log_reader_that_has_stalled_costs_no_code_and_little_time() {
    let (reader, writer) = full_pipe();
    let (code, elapsed) = talking_to(writer);
    assert_eq!(code, Some(7));
    assert!((0.1..5.0).contains(&elapsed), "{elapsed}");
    drop(reader);
}

#[test]
fn a_full_disk_under_the_log_costs_nothing() {
    let (code, elapsed) = talking_to(File::options().write(true).open("/dev/full").unwrap());
    assert_eq!(code, Some(7));
    assert!(elapsed < 5.0, "{elapsed}");
}

#[test]
fn stderr_is_left_blocking_for_the_command() {
    let (_reader, writer) = full_pipe();
    talking_to(writer.try_clone().unwrap());
    let nonblocking = nix::fcntl::OFlag::O_NONBLOCK.bits();
    assert_eq!(nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETFL).unwrap() & nonblocking, 0);
}

#[test]
fn a_working_directory_that_is_gone_or_closed_does_not_matter() {
    let directory = tempfile::tempdir().unwrap();
    let hook = directory.path().join("hook.wasm");
    fs::copy(repository("hooks/dist/echo.wasm"), &hook).unwrap();
    let gone = directory.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let script = format!(
        r#"cd '{0}' && rmdir '{0}' && exec "$0" --plugin '{1}' sh -c 'exit 7'"#,
        gone.display(),
        hook.display()
    );
    let done = shell(&script).done();
    assert_eq!(done.code(), 7);
    assert!(done.stderr.contains(r#"wrapper: hook: "sh" exited with 7"#), "{done:?}");

    if !nix::unistd::geteuid().is_root() {
        return skipped("only root can leave a user in a directory that is closed to it");
    }
    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let (_kept, program) = wrapper_for_everyone();
    let mut run = Command::new("setpriv");
    run.args(["--reuid", "4242424", "--regid", "4242424", "--clear-groups"]).arg(program);
    let mut run = run.plugin(&hook).with(&["sh", "-c", "exit 7"]);
    run.current_dir(&closed);
    let done = run.done();
    assert_eq!(done.code(), 7, "{done:?}");
    assert!(done.stderr.contains(r#"wrapper: hook: "sh" exited with 7"#), "{done:?}");
    assert_took(&done, 0.0, 20.0);
}
