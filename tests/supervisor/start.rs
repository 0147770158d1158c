//! Starting the command: every way to fail has its exit code and a line that says why.

use crate::harness::{
    Done, Run, executable, programs::child, role::in_both_roles, skipped, wrapper, wrapper_for_everyone,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{
    fs,
    os::unix::{
        ffi::OsStringExt,
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

const UNPRIVILEGED: u32 = 4_242_424;

/// wrapper's lines and nothing of Rust's: no panic, no backtrace.
#[track_caller]
fn assert_only_lines(done: &Done) {
    assert!(
        done.stderr.lines().all(|line| line.starts_with("wrapper: ") && !line.contains("internal error")),
        "{done:?}"
    );
}

#[test]
fn every_exit_code_is_the_commands() {
    for code in 0..=255 {
        assert_eq!(wrapper().with(&["sh", "-c", &format!("exit {code}")]).done().code(), code);
    }
}

#[test]
fn every_death_by_signal_is_128_and_its_number() {
    in_both_roles(|role| {
        for signal in [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13, 14, 15, 31, 34, 40, 64] {
            let run = role.wrapper().with(&[child(), "die", &signal.to_string()]);
            let done = run.first(|| Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)).done();
            assert_eq!(done.code(), 128 + signal, "{role:?}");
        }
    });
}

#[test]
fn a_core_dump_is_the_commands_and_never_ours() {
    let directory = tempfile::tempdir().unwrap();
    let mut run = wrapper().with(&["--plugin", "echo", child(), "die", "11"]);
    run.current_dir(&directory);
    let as_large_as_allowed = || {
        let (_, most) = getrlimit(Resource::RLIMIT_CORE)?;
        Ok(setrlimit(Resource::RLIMIT_CORE, most, most)?)
    };
    let done = run.first(as_large_as_allowed).done();
    assert_eq!(done.code(), 139);
    assert!(done.line().contains("was killed by signal 11"), "{done:?}");
    assert!(fs::read_dir(&directory).unwrap().count() <= 1, "more than the command's core");
}

#[test]
fn what_is_there_but_cannot_be_executed_is_126_and_the_hooks_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("no-x-bit"), "#!/bin/sh\n").unwrap();
    executable(&path("no-shebang"), "exit 0\n");
    symlink("loop", path("loop")).unwrap();
    for (name, words) in [
        ("", "Permission denied (it is a directory)"),
        ("no-x-bit", "Permission denied (it is not executable: chmod +x)"),
        ("no-shebang", "Exec format error (it has no #! line; a script needs one, such as #!/bin/sh)"),
        ("loop", "Too many levels of symbolic links"),
        ("no-shebang/below", "Not a directory"),
    ] {
        let done = wrapper().plugin("echo").with(&[path(name).to_str().unwrap()]).done();
        assert_eq!(done.code(), 126, "{done:?}");
        let lines = done.lines();
        assert_eq!(lines[0], format!("wrapper: cannot start {:?}: {words}", path(name)));
        assert!(lines.len() == 2 && lines[1].contains(&format!("was not started: {words}")), "{lines:?}");
    }
}

#[test]
fn arguments_that_are_too_long_for_the_command_are_126() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    // The kernel puts the interpreter and its argument in front of what just fitted.
    executable(&script, &format!("#!/bin/sh -{}\n", "e".repeat(200)));
    let start = |length: usize| {
        let run = wrapper().with(&[script.to_str().unwrap(), &"x".repeat(length)]);
        // A quarter of the stack is for arguments, at least 128 KiB (execve(2)).
        run.first(|| Ok(setrlimit(Resource::RLIMIT_STACK, 512 << 10, 512 << 10)?)).output()
    };
    let (mut fits, mut too_long) = (100_000, 131_072);
    while too_long - fits > 1 {
        let middle = (fits + too_long) / 2;
        if start(middle).is_ok() { fits = middle } else { too_long = middle }
    }
    let output = start(fits).unwrap();
    assert_eq!(output.status.code(), Some(126));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Argument list too long"), "{output:?}");
}

#[test]
fn a_script_whose_interpreter_is_missing_is_127_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    executable(&script, "#!/nosuch\n");
    let done = wrapper().with(&[script.to_str().unwrap()]).done();
    assert_eq!(done.code(), 127);
    assert!(done.line().contains("No such file or directory (the file exists, but"), "{done:?}");
}

/// A program's file, written like a script.
fn executable_bytes(path: &Path, bytes: &[u8]) {
    let octal: String = bytes.iter().map(|byte| format!("\\0{byte:03o}")).collect();
    let written =
        Command::new("sh").args(["-c", r#"printf %b "$1" > "$0" && chmod 755 "$0""#]).arg(path).arg(octal).status();
    assert!(written.unwrap().success());
}

/// The first bytes of a 64-bit ELF file.
fn elf(machine: u16, kind: u16) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(machine.to_le_bytes());
    bytes.resize(120, 0);
    bytes
}

#[test]
fn a_file_the_kernel_does_not_execute_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let here = Command::new("uname").arg("-m").output().unwrap();
    let here = String::from_utf8(here.stdout).unwrap();
    let here = here.trim();
    let other = format!("it is built for loongarch64, this machine is {here}");
    let unknown = format!("it is built for another CPU (ELF machine 4660), this machine is {here}");
    executable_bytes(&path("other-cpu"), &elf(258, 2));
    let of_interpreter = format!("#!{}\n", path("other-cpu").display());
    let its = format!("its interpreter {:?}: {other}", path("other-cpu"));
    for (name, bytes, words) in [
        ("script", b"echo hello\n".as_slice(), "it has no #! line; a script needs one, such as #!/bin/sh"),
        ("one-letter", b"x", "it has no #! line; a script needs one, such as #!/bin/sh"),
        // Text to its 64th byte, in the middle of a letter.
        ("letters", &[b"#".as_slice(), "ä".repeat(60).as_bytes()].concat(), "it has no #! line; a script needs one"),
        ("marked", b"\xef\xbb\xbf#!/bin/sh\n", "it starts with a byte order mark; save it without one"),
        ("empty", b"", "it is empty"),
        ("nameless", b"#!\nexit\n", "its #! line names no interpreter"),
        ("other-cpu", &elf(258, 2), &other),
        ("unknown-cpu", &elf(4660, 2), &unknown),
        ("by-other-cpu", of_interpreter.as_bytes(), &its),
        ("object", &elf(258, 1), "it is an object file, not a linked program"),
        ("cut", b"\x7fELF\x02\x01", "it is a truncated program"),
        ("windows", b"MZ\x90\0\x03", "it is a program for Windows"),
        ("macos", b"\xcf\xfa\xed\xfe\x07\0\0\x01", "it is a program for macOS"),
        ("hook.wasm", b"\0asm\x0d\0\x01\0", "it is WebAssembly; run a hook with --after"),
        ("data", b"\x01\0\xff\xfe", "it is neither a program for Linux nor a script"),
    ] {
        executable_bytes(&path(name), bytes);
        let done = wrapper().plugin("echo").with(&[path(name).to_str().unwrap()]).done();
        assert_eq!(done.code(), 126, "{done:?}");
        let start = format!("wrapper: cannot start {:?}: Exec format error ({words}", path(name));
        assert!(done.lines().len() == 2 && done.lines()[0].starts_with(&start), "{done:?}");
        // By its name, in the second directory of the path, behind one that cannot be executed.
        fs::create_dir_all(path("before").join(name)).unwrap();
        let mut run = wrapper().with(&[name]);
        run.env("PATH", format!("{}:{}", path("before").display(), directory.path().display()));
        let done = run.done();
        assert_eq!(done.code(), 126, "{done:?}");
        assert!(done.line().contains(&format!("Exec format error ({words}")), "{done:?}");
    }
}

#[test]
fn a_missing_interpreter_is_named_and_a_line_that_ends_as_on_windows() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    let start = "No such file or directory (the file exists, but the interpreter or loader it names does not";
    let long = "x".repeat(100);
    for (text, words) in [
        ("#!/nosuch/python -u\n", r#": "/nosuch/python")"#),
        ("#! /nosuch/python\n", r#": "/nosuch/python")"#),
        ("#!/bin/sh\r\nexit 0\r\n", ": its first line ends with a carriage return; use Unix line endings)"),
        // An interpreter that was not read completely is not named.
        (&format!("#!/{long}\n"), ")"),
    ] {
        executable(&script, text);
        let done = wrapper().with(&[script.to_str().unwrap()]).done();
        assert_eq!(done.code(), 127, "{done:?}");
        assert!(done.line().ends_with(&format!("{start}{words}")), "{done:?}");
    }
}

#[test]
fn a_missing_right_to_execute_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("text"), "").unwrap();
    executable(&path("by-text"), &format!("#!{}\n", path("text").display()));
    let done = wrapper().with(&[path("by-text").to_str().unwrap()]).done();
    assert_eq!(done.code(), 126, "{done:?}");
    let words = format!("Permission denied (its interpreter {:?} is not executable: chmod +x)", path("text"));
    assert!(done.line().ends_with(&words), "{done:?}");

    if !nix::unistd::geteuid().is_root() {
        return skipped("files of other users, and volumes, need root");
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    executable(&path("mine"), "#!/bin/sh\n");
    fs::set_permissions(path("mine"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut run = wrapper().with(&[path("mine").to_str().unwrap()]);
    run.uid(UNPRIVILEGED);
    let done = run.done();
    assert_eq!(done.code(), 126, "{done:?}");
    let words = format!("Permission denied (it is not executable for user {UNPRIVILEGED}: its mode is 700)");
    assert!(done.line().ends_with(&words), "{done:?}");

    let mut run = Command::new("unshare");
    let script = r#"mount --bind "$0" "$0" && mount -o remount,bind,noexec "$0" && exec "$@""#;
    run.args(["-m", "sh", "-c", script]).arg(directory.path());
    run.arg(env!("CARGO_BIN_EXE_wrapper")).arg(path("mine"));
    let output = run.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("unshare:") || stderr.contains("mount:") {
        return skipped("a volume without programs needs a mount namespace");
    }
    assert_eq!(output.status.code(), Some(126), "{stderr}");
    assert!(stderr.trim_end().ends_with("(it is on a volume that is mounted noexec)"), "{stderr}");
}

#[test]
fn a_file_that_is_open_for_writing_is_126_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    executable(&script, "#!/bin/sh\n");
    let _open = fs::File::options().append(true).open(&script).unwrap();
    let done = wrapper().with(&[script.to_str().unwrap()]).done();
    assert_eq!(done.code(), 126, "{done:?}");
    assert!(done.line().ends_with("Text file busy (it is open for writing)"), "{done:?}");
}

#[test]
fn a_name_is_looked_for_in_every_directory_of_the_path() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["empty", "forbidden", "good"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    fs::write(directory.path().join("forbidden/tool"), "").unwrap();
    let path =
        |names: &[&str]| names.iter().map(|name| format!("{}/{name}", directory.path().display())).collect::<Vec<_>>();
    let run = |names: &[&str]| {
        let mut run = wrapper().with(&["tool"]);
        run.env("PATH", path(names).join(":"));
        run.done().code()
    };
    assert_eq!(run(&["empty"]), 127);
    assert_eq!(run(&["empty", "forbidden"]), 126);
    executable(&directory.path().join("good/tool"), "#!/bin/sh\nexit 5\n");
    assert_eq!(run(&["empty", "forbidden", "good"]), 5);
}

#[test]
fn without_a_path_the_usual_directories_are_searched() {
    let mut run = wrapper().with(&["true"]);
    run.env_clear();
    assert_eq!(run.done().code(), 0);
}

#[test]
fn a_fork_that_fails_is_125_and_reported_in_one_line_each() {
    if !nix::unistd::geteuid().is_root() {
        return skipped("only root can become a user without processes");
    }
    let (_directory, program) = wrapper_for_everyone();
    for hook in [&[][..], &["--plugin", "echo"]] {
        let mut run = Command::new(&program);
        run.env_clear().uid(UNPRIVILEGED).args(hook).arg("true");
        let done = run.first(|| Ok(setrlimit(Resource::RLIMIT_NPROC, 1, 1)?)).done();
        assert_eq!(done.code(), 125, "{done:?}");
        assert_only_lines(&done);
        assert!(done.stderr.contains("Resource temporarily unavailable"), "{done:?}");
        if hook.is_empty() {
            assert_eq!(done.line(), r#"wrapper: cannot start "true": Resource temporarily unavailable"#);
        }
    }
}

#[test]
fn with_few_descriptors_it_runs_or_reports_in_one_line_why_not() {
    for hook in [&[][..], &["--plugin", "echo"]] {
        for limit in 3..=12 {
            let run = wrapper().with(hook).with(&["sh", "-c", "exit 7"]);
            let done = run.first(move || Ok(setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?)).done();
            assert_only_lines(&done);
            // The hook's own message about it varies.
            let ours = done.lines().into_iter().filter(|line| !line.starts_with("wrapper: echo: ")).count();
            match done.code() {
                7 => assert!(ours <= 1, "{limit}: {done:?}"),
                125 => assert_eq!(ours, 1, "{limit}: {done:?}"),
                code => panic!("{code} with {limit}: {done:?}"),
            }
            if limit >= 8 && hook.is_empty() {
                assert_eq!(done.code(), 7, "{limit}: {done:?}");
            }
        }
    }
}

#[test]
fn arguments_and_variables_reach_the_command_byte_for_byte() {
    let bytes = |text: &[u8]| std::ffi::OsString::from_vec(text.to_vec());
    let seen = |mut run: Command| {
        run.args(["sh", "-c", "cat /proc/$$/cmdline /proc/$$/environ", "", "--plugin"]);
        run.arg(bytes(b"not \xff UTF-8")).arg("").arg(bytes(b"\n\x01 'quoted' \"$HOME\"")).arg("");
        run.env("EMPTY", "").env("BYTES", bytes(b"\xfe\xff")).env(bytes(b"NAME\xff"), "x").env("WRAPPER_LOG", "info");
        run.output().unwrap().stdout
    };
    let mut plain = Command::new("env");
    plain.env_clear().envs(wrapper().get_envs().filter_map(|(name, value)| Some((name, value?))));
    let (expected, found) = (seen(plain), seen(wrapper()));
    assert!(expected.len() > 100 && expected.contains(&0xff));
    assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected));
    assert!(found == expected);
}

#[test]
fn the_shortest_command_five_hundred_times_never_hangs() {
    for _ in 0..500 {
        let status = wrapper().arg("true").status().unwrap();
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn a_wrapper_inside_a_wrapper_runs_each_hook_once() {
    in_both_roles(|role| {
        let inner = wrapper().get_program().to_str().unwrap().to_owned();
        let done = role.wrapper().plugin("echo").with(&[&inner, "--plugin", "echo", "sh", "-c", "exit 3"]).done();
        assert_eq!(done.code(), 3);
        let lines = done.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains(r#""sh" exited with 3"#) && lines[1].contains(r#"" exited with 3"#), "{lines:?}");
    });
}
