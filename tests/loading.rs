//! What cannot be a hook is found before the command starts: 125, one line, and the command is not started. The
//! after-hooks that can run do, so that a sidecar is not left behind.

use crate::support::{Run, digest, guests, repository, with_source, wrapper};
use std::{ffi::OsStr, fs, os::unix::fs::symlink, path::Path};

/// Runs a command that leaves a mark, and returns wrapper's only line.
#[track_caller]
fn refusal(hook: impl AsRef<OsStr>) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("started");
    let done = wrapper().plugin(hook).with(&["touch", mark.to_str().unwrap()]).done();
    assert_eq!(done.code(), 125, "{done:?}");
    assert!(!mark.exists(), "the command was started: {done:?}");
    done.line().to_owned()
}

#[test]
fn a_file_that_cannot_be_read_is_told_in_the_systems_words() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    symlink("nowhere", path("dangling.wasm")).unwrap();
    symlink("loop.wasm", path("loop.wasm")).unwrap();
    for (name, words) in [
        ("missing.wasm", "No such file or directory"),
        ("dangling.wasm", "No such file or directory"),
        ("loop.wasm", "Too many levels of symbolic links"),
    ] {
        let line = refusal(path(name));
        assert_eq!(line, format!("wrapper: hook {}: {words}", with_source(&path(name))));
    }
}

#[test]
fn what_is_not_a_regular_file_is_refused_without_waiting_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo.wasm");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let socket = directory.path().join("socket.wasm");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [directory.path(), &fifo, &socket, Path::new("/dev/zero"), Path::new("/dev/null")] {
        assert!(refusal(path).ends_with("not a regular file"), "{path:?}");
    }
}

#[test]
fn an_empty_file_is_refused_and_so_is_one_of_proc() {
    let empty = guests::bytes(b"");
    assert!(refusal(empty.as_os_str()).ends_with(": empty"));
    assert!(refusal("/proc/self/environ").contains("not WebAssembly"));
}

#[test]
fn a_file_over_32_mib_is_refused_by_its_size_even_if_it_is_sparse() {
    let sparse = guests::bytes(b"");
    fs::File::options().write(true).open(&sparse).unwrap().set_len(10 << 30).unwrap();
    assert!(refusal(sparse.as_os_str()).ends_with("larger than 32 MiB"));
}

#[test]
fn what_people_mount_by_mistake_is_named() {
    let module = wat::parse_str("(module)").unwrap();
    let mut cwasm = b"\x7fELF\x02\x01\x01\xc8".to_vec();
    cwasm.resize(64, 0);
    for (bytes, words) in [
        (module.as_slice(), "not a component but a core module; build it for wasm32-wasip2"),
        (b"\x7fELF\x02\x01\x01\x00rest of a plugin", "native code (ELF), as Wrapper4's plugins were"),
        (&cwasm, "machine code compiled from a component, which is never trusted"),
        (b"\x1f\x8b\x08\x00", "compressed with gzip; unpack it"),
        (b"  (component)", "WebAssembly text, not binary"),
        (b"\0asm\x0d\0\x02\0", "a kind of WebAssembly that is not known here"),
        (b"#!/bin/sh", "not WebAssembly"),
        (b"\0asm\x0d\0\x01\0\xff\xff\xff", "not a valid component"),
    ] {
        let file = guests::bytes(bytes);
        let line = refusal(file.as_os_str());
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn a_component_without_a_run_of_the_right_form_is_refused() {
    for (component, words) in [
        ("(component)", "does not export run: nothing of that name"),
        (
            r#"(component
                (core module $m (func (export "run")))
                (core instance $i (instantiate $m))
                (func $run (canon lift (core func $i "run")))
                (export "run" (func $run)))"#,
            "does not export run: its bare `run` is not in a versioned interface",
        ),
        (
            r#"(component
                (core module $m (func (export "run") (param i32)))
                (core instance $i (instantiate $m))
                (func $run (param "x" u32) (canon lift (core func $i "run")))
                (instance $run-interface (export "run" (func $run)))
                (export "wrapper:hook/run@0.1.0" (instance $run-interface)))"#,
            "does not export run: its `run` has another signature",
        ),
        (
            r#"(component
                (core module $m (func (export "run")))
                (core instance $i (instantiate $m))
                (func $run (canon lift (core func $i "run")))
                (instance $run-interface (export "run" (func $run)))
                (export "wrapper:hook/run@0.2.0" (instance $run-interface)))"#,
            "built for wrapper:hook 0.2.0, this wrapper serves 0.1.0; use a newer wrapper",
        ),
    ] {
        let file = guests::text(component);
        let line = refusal(file.as_os_str());
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn an_import_that_hooks_are_not_given_is_named() {
    for (import, words) in [
        (r#"(import "wasi:keyvalue/store@0.2.0" (instance))"#, r#"imports "wasi:keyvalue/store@0.2.0""#),
        (r#"(import "secret" (func))"#, r#"imports "secret", which hooks are not given"#),
        (
            r#"(import "wrapper:hook/context@0.1.9" (instance (export "get-weather" (func))))"#,
            "built for wrapper:hook 0.1.9, this wrapper serves 0.1.0; use a newer wrapper; it needs \
             wrapper:hook/context.get-weather",
        ),
    ] {
        let file = guests::text(&format!("(component {import})"));
        let line = refusal(file.as_os_str());
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn hooks_that_can_run_do_when_another_cannot_be_loaded() {
    let done = wrapper().plugin("/nosuch.wasm").plugin("echo").with(&["true"]).done();
    assert_eq!(done.code(), 125);
    assert_eq!(
        done.lines(),
        [
            r#"wrapper: hook "nosuch" (/nosuch.wasm): No such file or directory"#,
            r#"wrapper: echo: Echo demo plugin: "true" was not started: hook "nosuch" (/nosuch.wasm) cannot be loaded"#,
        ]
    );
}

#[test]
fn a_name_that_no_built_in_hook_has_is_told_and_the_others_run() {
    let done = wrapper().plugin("istio-quitt").plugin("echo").with(&["true"]).done();
    assert_eq!(done.code(), 125);
    let [told, echo] = done.lines().try_into().unwrap();
    let mut names: Vec<String> = fs::read_dir(repository("hooks/dist"))
        .unwrap()
        .filter_map(|file| Some(file.unwrap().file_name().to_str()?.strip_suffix(".wasm")?.to_owned()))
        .collect();
    names.sort();
    let all = names.join(", ");
    let start = format!("wrapper: hook \"istio-quitt\": no such built-in hook (there are: {all})");
    assert!(told.starts_with(&start), "{told}");
    assert!(echo.contains(r#"was not started: hook "istio-quitt" cannot be loaded"#));
}

#[test]
fn a_digest_is_compared_with_the_bytes_that_run() {
    let echo = repository("hooks/dist/echo.wasm");
    let right = &digest("echo");
    let wrong = "0".repeat(64);
    for hook in [echo.as_os_str(), OsStr::new("echo")] {
        let done = wrapper().with(&["--plugin-sha256", right]).plugin(hook).with(&["true"]).done();
        assert_eq!(done.code(), 0, "{done:?}");
        let done = wrapper().with(&["--plugin-sha256", &wrong]).plugin(hook).with(&["true"]).done();
        assert_eq!(done.code(), 125, "{done:?}");
        assert!(done.line().contains(&format!("its SHA-256 is {right}, not the one of --plugin-sha256")), "{done:?}");
    }
    let done = wrapper().with(&["--plugin-sha256", right]).with(&["true"]).done();
    assert!(done.code() == 125 && done.line().contains("1 digests for 0 hooks"), "{done:?}");
}

#[test]
fn a_hook_is_found_by_any_path() {
    let directory = tempfile::tempdir().unwrap();
    let hook = repository("hooks/dist/echo.wasm");
    let named = |name: &[u8]| directory.path().join(std::os::unix::ffi::OsStrExt::from_bytes(name) as &OsStr);
    for name in [&b"with space.wasm"[..], b"no-ending", b"not-utf8-\xff.wasm"] {
        fs::copy(&hook, named(name)).unwrap();
        let done = wrapper().plugin(named(name)).with(&["true"]).done();
        assert!(done.code() == 0 && done.stderr.contains("Echo demo plugin"), "{done:?}");
    }
    let mut relative = wrapper().plugin("with space.wasm").with(&["true"]);
    relative.current_dir(directory.path());
    assert!(relative.done().stderr.contains("Echo demo plugin"));
}

#[test]
fn the_bytes_that_were_there_at_the_start_are_the_ones_that_run() {
    let directory = tempfile::tempdir().unwrap();
    let hook = directory.path().join("hook.wasm");
    fs::copy(repository("hooks/dist/echo.wasm"), &hook).unwrap();
    let script = format!("echo broken > '{}'", hook.display());
    let done = wrapper().plugin(&hook).with(&["sh", "-c", &script]).done();
    assert!(done.code() == 0 && done.stderr.contains("Echo demo plugin"), "{done:?}");
}
