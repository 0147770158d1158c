//! The file that a hook is read from: any size up to the limit, any owner, and changed or replaced while it is read.

use crate::harness::{Run, assert_took, eventually, guests, repository, wrapper, wrapper_for_everyone};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// A hook that works, made this large by a section that means nothing.
fn echo_of_size(size: usize) -> tempfile::TempPath {
    let mut bytes = fs::read(repository("hooks/dist/echo.wasm")).unwrap();
    // A custom section: id 0, its length as five bytes of LEB128, and a name of one letter.
    let content = size - bytes.len() - 6;
    bytes.push(0);
    bytes.extend((0..5).map(|index| (content >> (7 * index)) as u8 & 0x7f | if index < 4 { 0x80 } else { 0 }));
    bytes.extend([1, b'x']);
    bytes.resize(size, 0);
    guests::bytes(&bytes)
}

#[test]
fn a_hook_of_up_to_32_mib_runs_and_one_byte_more_is_refused() {
    for size in [1 << 20, 32 << 20] {
        let hook = echo_of_size(size);
        let done = wrapper().plugin(hook.as_os_str()).with(&["sh", "-c", "exit 7"]).done();
        assert_eq!(done.code(), 7, "{done:?}");
        assert!(done.line().contains(r#": "sh" exited with 7 after "#), "{done:?}");
    }
    let hook = echo_of_size((32 << 20) + 1);
    let done = wrapper().plugin(hook.as_os_str()).with(&["sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 125, "{done:?}");
    assert!(done.line().ends_with("larger than 32 MiB"), "{done:?}");
}

#[test]
fn no_more_is_read_than_the_limit_of_a_file_that_hides_its_size() {
    // A regular file of size 0 that holds eight bytes for every page of the address space.
    let done = wrapper().plugin("/proc/self/pagemap").with(&["sh", "-c", "exit 7"]).done();
    assert_eq!((done.code(), done.lines().len()), (125, 1), "{done:?}");
    assert_took(&done, 0.0, 30.0);
}

#[test]
fn an_unreadable_file_is_reported_with_the_systems_error() {
    let hook = guests::bytes(&fs::read(repository("hooks/dist/echo.wasm")).unwrap());
    let (_directory, program) = wrapper_for_everyone();
    for (mode, code, words) in [(0o600, 125, ": Permission denied"), (0o644, 7, "")] {
        fs::set_permissions(&hook, fs::Permissions::from_mode(mode)).unwrap();
        let mut run = Command::new(&program);
        if nix::unistd::getuid().is_root() {
            run.uid(65534).gid(65534);
        } else if mode == 0o600 {
            fs::set_permissions(&hook, fs::Permissions::from_mode(0o000)).unwrap();
        }
        run.current_dir("/");
        let done = run.plugin(hook.as_os_str()).with(&["sh", "-c", "exit 7"]).done();
        assert_eq!(done.code(), code, "{done:?}");
        assert!(done.line().ends_with(words), "{done:?}");
    }
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_is_the_old_one_the_new_one_or_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (hook, next, old, new) = (path("hook.wasm"), path("next"), path("old"), path("new"));
    fs::copy(repository("hooks/dist/echo.wasm"), &old).unwrap();
    fs::copy(repository("hooks/dist/istio-quit.wasm"), &new).unwrap();
    fs::copy(&old, &hook).unwrap();
    let (ended, replaced) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let fifo = path("fifo");
            nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
            for round in 0.. {
                match round % 3 {
                    // In place, so that a reader may meet half of it.
                    0 => drop(fs::copy(&new, &hook)),
                    1 => drop(fs::hard_link(&fifo, &next).and_then(|()| fs::rename(&next, &hook))),
                    _ => drop(fs::copy(&old, &next).and_then(|_| fs::rename(&next, &hook))),
                }
                replaced.store(true, Ordering::Relaxed);
                if ended.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        eventually("the file is being replaced", || replaced.load(Ordering::Relaxed));
        let runs = std::panic::catch_unwind(|| {
            for _ in 0..30 {
                let mut run = wrapper().plugin(&hook).with(&["sh", "-c", "exit 7"]);
                run.env("HOOK_ISTIO_QUIT_URL", "http://localhost:1/").env("HOOK_ISTIO_QUIT_STARTUP", "0");
                let done = run.done();
                let known =
                    ["exited with 7 after ", "istio-proxy is considered absent", "not a", "empty", "No such file"];
                assert!([7, 125].contains(&done.code()), "{done:?}");
                assert!(known.iter().any(|words| done.line().contains(words)), "{done:?}");
                assert_took(&done, 0.0, 30.0);
            }
        });
        ended.store(true, Ordering::Relaxed);
        runs.unwrap();
    });
}

/// A program that imports one function, which it calls.
fn importing(interface: &str, function: &str, result: &str, core: &str) -> tempfile::TempPath {
    guests::text(&format!(
        r#"(component
            (import "{interface}" (instance $host (export "{function}" (func {result}))))
            (alias export $host "{function}" (func $f))
            (core func $g (canon lower (func $f)))
            (core module $m
                (func $f (import "host" "f") {core})
                (func (export "run") (result i32) (drop (call $f)) i32.const 0))
            (core instance $i (instantiate $m (with "host" (instance (export "f" (func $g))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $interface (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $interface)))"#
    ))
}

#[test]
fn hooks_built_for_later_patch_versions_run() {
    for (interface, function, result, core) in [
        ("wasi:random/random@0.2.0", "get-random-u64", "(result u64)", "(result i64)"),
        ("wasi:random/random@0.2.99", "get-random-u64", "(result u64)", "(result i64)"),
        ("wasi:clocks/monotonic-clock@0.2.99", "now", "(result u64)", "(result i64)"),
        ("wrapper:hook/context@0.1.0", "get-uptime", "(result u64)", "(result i64)"),
        ("wrapper:hook/context@0.1.99", "get-uptime", "(result u64)", "(result i64)"),
    ] {
        let hook = importing(interface, function, result, core);
        let done = wrapper().plugin(hook.as_os_str()).with(&["sh", "-c", "exit 7"]).done();
        assert_eq!((done.code(), done.stderr.as_str()), (7, ""), "{interface}");
    }
}

#[test]
fn an_unknown_function_of_a_known_interface_is_found_before_the_command_starts() {
    for interface in ["wasi:random/random@0.2.0", "wasi:cli/exit@0.2.0", "wrapper:hook/context@0.1.0"] {
        let hook = importing(interface, "get-weather", "(result u64)", "(result i64)");
        let done = wrapper().plugin(hook.as_os_str()).with(&["sh", "-c", "echo started; exit 7"]).done();
        assert_eq!((done.code(), done.stdout.as_str()), (125, ""), "{interface}: {done:?}");
        assert!(done.line().contains("get-weather"), "{done:?}");
    }
}

#[test]
fn a_function_of_another_type_is_named_when_the_hook_runs() {
    for (interface, function) in
        [("wasi:random/random@0.2.0", "get-random-u64"), ("wrapper:hook/context@0.1.0", "get-uptime")]
    {
        let hook = importing(interface, function, "(result u32)", "(result i32)");
        let done = wrapper().plugin(hook.as_os_str()).with(&["sh", "-c", "exit 7"]).done();
        assert_eq!(done.code(), 7, "{done:?}");
        assert!(done.line().contains("cannot be linked: ") && done.line().contains(function), "{done:?}");
    }
}

#[test]
fn what_is_no_hook_is_refused_within_a_second() {
    // As large as it may be, and broken in its last byte, so that all of it is looked at.
    let hook = echo_of_size(32 << 20);
    let mut bytes = fs::read(&hook).unwrap();
    let last = bytes.len() - 1;
    bytes.truncate(last);
    fs::write(&hook, bytes).unwrap();
    let done = wrapper().plugin(hook.as_os_str()).with(&["sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 125, "{done:?}");
    assert!(done.line().contains("not a valid component"), "{done:?}");
    // A debug build beside other tests; alone and optimised it takes a hundredth of that.
    assert_took(&done, 0.0, 30.0);
}

#[test]
fn several_hooks_that_cannot_be_loaded_are_all_named() {
    let broken = guests::bytes(b"#!/bin/sh");
    let done = wrapper().plugin("/nosuch.wasm").plugin(broken.as_os_str()).with(&["sh", "-c", "exit 7"]).done();
    assert_eq!(done.code(), 125);
    let lines = done.lines();
    assert_eq!(lines.len(), 2, "{done:?}");
    assert!(lines[0].contains("No such file") && lines[1].contains("not WebAssembly"), "{done:?}");
}
