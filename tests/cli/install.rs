//! --install copies the binary to a path, so that an init container can bring it into another image.

use crate::harness::{Done, Run, processes::blocks_sigterm, wrapper};
use nix::{
    libc,
    sys::resource::{Resource, setrlimit},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::Command,
    time::Duration,
};

/// The files of a directory.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn installer(path: &Path) -> Command {
    let mut command = wrapper();
    command.arg("--install").arg(path);
    command
}

#[track_caller]
fn install_to(path: &Path) {
    let done = installer(path).done();
    assert_eq!((done.code(), done.stdout.as_str(), done.stderr.as_str()), (0, "", ""));
}

/// Runs a script, for which `$0` is wrapper and `$1` a directory, where it may mount what it likes.
fn after_mounting(script: &str, directory: &Path) -> Done {
    let mut run = Command::new("unshare");
    run.args(["-m", "--propagation", "private", "sh", "-c", script, env!("CARGO_BIN_EXE_wrapper")]).arg(directory);
    run.done()
}

/// Fails unless the file is the program that is tested, and works.
#[track_caller]
fn assert_works(program: &Path) {
    assert_eq!(fs::metadata(program).unwrap().permissions().mode() & 0o7777, 0o755);
    assert!(fs::read(program).unwrap() == fs::read(env!("CARGO_BIN_EXE_wrapper")).unwrap(), "the bytes differ");
    let done = Command::new(program).with(&["--plugin", "echo", "sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 7);
    assert!(done.stderr.contains("exited with 7"), "{done:?}");
}

#[test]
fn the_installed_program_is_the_same_and_runs() {
    let directory = tempfile::tempdir().unwrap();
    install_to(&directory.path().join("init"));
    assert_works(&directory.path().join("init"));
    assert_eq!(names(directory.path()), ["init"]);
}

#[test]
fn in_a_directory_it_is_called_wrapper() {
    let directory = tempfile::tempdir().unwrap();
    install_to(directory.path());
    assert_works(&directory.path().join("wrapper"));
}

#[test]
fn any_user_may_execute_it_whatever_the_umask() {
    let directory = tempfile::tempdir().unwrap();
    let run = installer(directory.path()).first(|| {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o777));
        Ok(())
    });
    assert_eq!(run.done().code(), 0);
    assert_works(&directory.path().join("wrapper"));
}

#[test]
fn installing_again_replaces_it_as_a_whole_even_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("wrapper");
    install_to(&program);
    let first = fs::metadata(&program).unwrap().ino();
    let mut running = Command::new(&program).with(&["sh", "-c", "echo ready; read line"]);
    running.stdin(std::process::Stdio::piped());
    let mut running = running.running();
    running.until_stdout_has("ready");

    install_to(&program);
    assert_ne!(fs::metadata(&program).unwrap().ino(), first, "it was written in place");
    assert_works(&program);
    assert_eq!(names(directory.path()), ["wrapper"]);
    drop(running.child.stdin.take());
    assert_eq!(running.done().code(), 1);
}

#[test]
fn a_link_is_replaced_and_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (target, link) = (directory.path().join("target"), directory.path().join("link"));
    fs::write(&target, "precious").unwrap();
    symlink(&target, &link).unwrap();
    install_to(&link);
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert_works(&link);
}

#[test]
fn several_that_install_at_once_leave_one_whole_program() {
    let directory = tempfile::tempdir().unwrap();
    // As in containers that share a volume of the node: each is process 1.
    let installer = || {
        let mut run = Command::new("unshare");
        run.args(["-pf", env!("CARGO_BIN_EXE_wrapper"), "--install"]).arg(directory.path());
        run.running()
    };
    let running: Vec<_> = (0..8).map(|_| installer()).collect();
    for run in running {
        let done = run.done();
        assert_eq!((done.code(), done.stderr.as_str()), (0, ""));
        assert_works(&directory.path().join("wrapper"));
    }
    assert_eq!(names(directory.path()), ["wrapper"]);
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let done = installer(&fifo).done();
    assert_eq!(done.code(), 125);
    assert!(done.line().ends_with(": not a regular file"), "{done:?}");
    assert!(!fs::metadata(&fifo).unwrap().is_file());
}

#[test]
fn it_works_without_proc() {
    let directory = tempfile::tempdir().unwrap();
    let done = after_mounting(r#"mount -t tmpfs none /proc && exec "$0" --install "$1""#, directory.path());
    assert_eq!((done.code(), done.stderr.as_str()), (0, ""));
    assert_works(&directory.path().join("wrapper"));
}

#[test]
fn nothing_else_has_to_be_writable() {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"mount --bind "$1" "$1" && mount -o remount,bind,ro / && ! touch /wrapper-was-here 2>/dev/null &&
        exec "$0" --install "$1""#;
    let done = after_mounting(script, directory.path());
    assert_eq!((done.code(), done.stderr.as_str()), (0, ""));
    assert_works(&directory.path().join("wrapper"));
}

#[test]
fn what_cannot_be_written_is_125_in_one_line_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for (path, words) in [
        (directory.path().join("missing/wrapper"), "/missing\" does not exist"),
        (file.join("wrapper"), "Not a directory"),
        ("/proc/wrapper".into(), "cannot install to \"/proc/wrapper\""),
        ("/dev/full/wrapper".into(), "Not a directory"),
    ] {
        let done = installer(&path).done();
        assert_eq!(done.code(), 125, "{path:?}");
        assert!(done.line().starts_with("wrapper: cannot install to "), "{done:?}");
        assert!(done.line().contains(words), "{done:?}");
    }
    assert_eq!(names(directory.path()), ["file"]);
}

#[test]
fn a_disk_that_is_full_leaves_the_program_that_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=64k none "$1" && echo before > "$1/wrapper" && ! "$0" --install "$1" &&
        ls "$1" && cat "$1/wrapper""#;
    let done = after_mounting(script, directory.path());
    assert_eq!((done.code(), done.stdout.as_str()), (0, "wrapper\nbefore\n"), "{done:?}");
    assert!(done.line().ends_with("No space left on device"), "{done:?}");
}

#[test]
fn it_takes_no_command_and_no_option() {
    let directory = tempfile::tempdir().unwrap();
    for other in [&["--", "true"][..], &["--log", "loud"], &["--plugin", "echo"]] {
        let done = installer(directory.path()).with(other).done();
        assert_eq!(done.code(), 125, "{other:?}");
        assert!(done.line().contains("--install takes no command and no other option"), "{done:?}");
        assert_eq!(names(directory.path()), [""; 0]);
    }
}

#[test]
fn variables_meant_for_the_job_do_not_stop_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut run = installer(directory.path());
    run.env("WRAPPER_PLUGIN_PATH", "/nowhere.wasm").env("WRAPPER_LOG", "loud");
    assert_eq!(run.done().code(), 0);
    assert_works(&directory.path().join("wrapper"));
}

#[test]
fn a_signal_in_the_middle_does_not_interrupt_it() {
    for round in 0..30 {
        let directory = tempfile::tempdir().unwrap();
        let mut run = installer(directory.path()).running();
        // From here on none has its default effect.
        while !blocks_sigterm(run.pid()) && !run.has_ended() {}
        let moment = Duration::from_millis(fastrand::u64(..40));
        std::thread::sleep(moment);
        [libc::SIGTERM, libc::SIGINT, libc::SIGHUP].iter().for_each(|signal| run.signal(*signal));
        let done = run.done();
        assert_eq!((done.code(), names(directory.path())), (0, vec!["wrapper".to_owned()]), "{round}, {moment:?}");
    }
}

#[test]
fn where_a_file_may_not_become_that_large_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let run = installer(directory.path()).first(|| Ok(setrlimit(Resource::RLIMIT_FSIZE, 100_000, 100_000)?));
    let done = run.done();
    assert_eq!((done.code(), names(directory.path())), (125, vec![]), "{done:?}");
    assert!(done.line().ends_with("File too large"), "{done:?}");
}

#[test]
fn a_directory_that_does_not_exist_is_named_also_with_a_slash_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let missing = format!("{}/new/", directory.path().display());
    let done = installer(Path::new(&missing)).done();
    assert_eq!(done.code(), 125);
    let message = format!("wrapper: cannot install to {missing:?}: the directory {missing:?} does not exist");
    assert_eq!(done.line(), message);
    assert_eq!(names(directory.path()), [""; 0]);
    // One that exists is meant with and without it.
    fs::create_dir(&missing).unwrap();
    install_to(Path::new(&missing));
    assert_works(&directory.path().join("new/wrapper"));
}
