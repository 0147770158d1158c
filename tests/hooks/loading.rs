//! A file that cannot be a hook is rejected before the command starts: exit code 125, one line, and the command does
//! not run. The other after-hooks still do, so that no sidecar is left behind.

use crate::harness::{Run, digest, guests, repository, with_source, wrapper};
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
fn a_file_that_cannot_be_read_is_reported_with_the_systems_error() {
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
    assert!(refusal(empty.as_os_str()).ends_with(": the file is empty"));
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
        (b"\x7fELF\x02\x01\x01\x00rest of a plugin", "native code (ELF), such as a plugin of Wrapper4"),
        (&cwasm, "machine code compiled from a component, which is never trusted"),
        (b"\x1f\x8b\x08\x00", "compressed with gzip; unpack it"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "compressed with zstd; unpack it"),
        (b"\xfd7zXZ\x00", "compressed with xz; unpack it"),
        (b"PK\x03\x04", "a zip archive; unpack it"),
        (b"AGFzbQ0AAQA=\n", "base64 text, not the decoded bytes; decode it (in a ConfigMap use binaryData"),
        (b"\n<!DOCTYPE html><title>404</title>", "a web page, perhaps of a failed download"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the file itself"),
        (b"  (component)", "WebAssembly text, not binary"),
        (b"\0asm\x0d\0\x02\0", "an unknown version of WebAssembly"),
        (b"#!/bin/sh", "not WebAssembly"),
        (b"\0asm\x0d\0\x01\0\xff\xff\xff", "not a valid component"),
    ] {
        let file = guests::bytes(bytes);
        let line = refusal(file.as_os_str());
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn the_message_for_a_component_for_a_later_wasi_explains_how_to_build_it_for_this_one() {
    let told = "built for WASI 0.3, which wrapper does not support yet; build it for WASI 0.2 (componentize-qjs: --sync; \
                Rust: target wasm32-wasip2, ";
    for component in [
        r#"(import "wasi:clocks/system-clock@0.3.0" (instance))"#,
        r#"(import "wasi:cli/stdout@0.3.0-rc-2025-09-16" (instance))"#,
        r#"(instance $run) (export "wasi:cli/run@0.3.2" (instance $run))"#,
        // Without a name of WASI, as tools do that build every component for async.
        r#"(core func (canon context.get i32 0))"#,
        r#"(core func (canon backpressure.inc))"#,
        r#"(core func (canon error-context.drop))"#,
        r#"(import "say" (func async))"#,
        r#"(import "lines" (func (result (stream u8))))"#,
        r#"(import "answer" (func (result (future u8))))"#,
        r#"(import "why" (func (result error-context)))"#,
        // Whatever else it needs.
        r#"(core module (memory i64 1)) (import "answer" (func (result (future u8))))"#,
    ] {
        let file = guests::text(&format!("(component {component})"));
        let line = refusal(file.as_os_str());
        assert!(line.contains(told), "{component}: {line}");
    }
    let file = guests::text(r#"(component (import "wasi:http/types@1.4.0" (instance)))"#);
    assert!(refusal(file.as_os_str()).contains("built for WASI 1.4, which wrapper does not support yet"));
}

#[test]
fn what_is_not_of_a_later_wasi_is_not_called_so() {
    for (component, words) in [
        (
            r#"(import "wasi:cli/nothing@0.2.30" (instance))"#,
            r#"imports "wasi:cli/nothing@0.2.30", which hooks cannot"#,
        ),
        (r#"(import "other:clocks/clock@0.3.0" (instance))"#, r#"imports "other:clocks/clock@0.3.0", which hooks"#),
        (
            r#"(import "wasi:http/types@0.2.0-rc-2023-11-10" (instance))"#,
            r#"imports "wasi:http/types@0.2.0-rc-2023-11-10", a draft of WASI 0.2; build it with tools of 2024 or later"#,
        ),
    ] {
        let file = guests::text(&format!("(component {component})"));
        let line = refusal(file.as_os_str());
        assert!(line.contains(words) && !line.contains("built for WASI"), "{line}");
    }
}

#[test]
fn a_component_that_is_damaged_is_so_whatever_it_was_built_for() {
    let whole = wat::parse_str(r#"(component (import "wasi:cli/x@0.3.0" (func (result (future u8)))))"#).unwrap();
    let cut = guests::bytes(&whole[..whole.len() - 1]);
    let line = refusal(cut.as_os_str());
    assert!(line.ends_with("not a valid component: unexpected end-of-file; it is truncated, copy it again"), "{line}");
    // A core module that returns nothing where a number is due, beside something of WASI 0.3.
    let module = "(core module (func (result i32)))";
    let file = guests::text(&format!(r#"(component (import "answer" (func (result (future u8)))) {module})"#));
    let line = refusal(file.as_os_str());
    assert!(line.contains("not a valid component: type mismatch"), "{line}");
}

#[test]
fn a_proposal_that_hooks_are_not_given_is_named_and_what_leaves_it_out() {
    for (component, words) in [
        ("(core module (type (struct)))", "garbage collection"),
        ("(core module (func (param externref)))", "garbage collection"),
        ("(core module (type $f (func)) (func (param (ref $f))))", "garbage collection"),
        ("(core module (tag))", "exception handling, a proposal that hooks cannot use; build it with -fno-exceptions"),
        ("(core module (func try catch_all end))", "exception handling"),
        ("(core module (memory i64 1))", "64-bit memory, a proposal that hooks cannot use; build it for wasm32"),
        ("(core module (memory 1 1 shared))", "threads, a proposal that hooks cannot use; build it without -pthread"),
        ("(core module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))", "threads"),
        ("(core module (memory 1 (pagesize 1)))", "custom page sizes"),
        (
            "(core module (func (param i64) (result i64 i64) (i64.mul_wide_s (local.get 0) (local.get 0))))",
            "wide arithmetic",
        ),
        ("(core module (type $f (func)) (type (cont $f)))", "stack switching"),
        (r#"(import "list" (func (param "l" (list u8 4))))"#, "fixed-length lists"),
        (r#"(import "map" (func (param "m" (map string u8))))"#, "maps"),
        (r#"(import "v" (value $v string)) (export "w" (value $v))"#, "component values"),
        // Two, of which one is reported.
        ("(core module (memory i64 1) (tag))", "exception handling"),
    ] {
        let file = guests::text(&format!("(component {component})"));
        let line = refusal(file.as_os_str());
        assert!(line.contains(&format!("uses {words}")) && line.contains("hooks cannot use; "), "{component}: {line}");
    }
}

#[test]
fn the_message_for_a_core_module_explains_how_to_make_it_a_component() {
    let start = "not a component but a core module; build it for wasm32-wasip2, or ";
    let wasi = r#"(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))"#;
    let typed = r#"(@custom "component-type:hook" "")"#;
    for (module, words) in [
        (
            wasi,
            "where the compiler has no such target (Go, Zig, AssemblyScript) convert it with `wasm-tools component \
             new --adapt wasi_snapshot_preview1.command.wasm`",
        ),
        ("", "for WASI 0.1, and convert that with `wasm-tools component new --adapt wasi_snap"),
        (r#"(import "gojs" "runtime.wasmExit" (func))"#, "this one is for JavaScript: set GOOS=wasip1, not js"),
        (r#"(import "env" "abort" (func))"#, "this one imports env.abort: build AssemblyScript with"),
        (
            &format!(r#"{wasi} (import "env" "emscripten_resize_heap" (func))"#),
            r#"this one imports "env.emscripten_resize_heap", which is not part of WASI"#,
        ),
        (typed, "convert it with `wasm-tools component new`"),
        (&format!("{wasi} {typed}"), "--adapt wasi_snapshot_preview1.reactor.wasm`"),
    ] {
        let file = guests::text(&format!("(module {module})"));
        let line = refusal(file.as_os_str());
        assert!(line.contains(start) && line.contains(words), "{module}: {line}");
    }
}

#[test]
fn a_component_without_a_run_of_the_right_form_is_refused() {
    for (component, words) in [
        ("(component)", "does not export run: there is no such export"),
        (
            r#"(component
                (core module $m (func (export "run")))
                (core instance $i (instantiate $m))
                (func $run (canon lift (core func $i "run")))
                (export "run" (func $run)))"#,
            "does not export run: its `run` is not in a versioned interface",
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
                (core module $m (func (export "run") (result i32) (i32.const 0)))
                (core instance $i (instantiate $m))
                (func $run (result u32) (canon lift (core func $i "run")))
                (instance $run-interface (export "run" (func $run)))
                (export "wasi:cli/run@0.2.0" (instance $run-interface)))"#,
            "does not export run: its `run` has another signature",
        ),
        (
            r#"(component
                (core module $m (func (export "run") (result i32) (i32.const 0)))
                (core instance $i (instantiate $m))
                (func $run (result (result)) (canon lift (core func $i "run")))
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
            "built for wrapper:hook 0.2.0, this wrapper supports 0.1.0; use a newer wrapper",
        ),
        (
            r#"(component (instance $run) (export "wasi:cli/run@0.2.0-rc-2023-12-05" (instance $run)))"#,
            r#"exports "wasi:cli/run@0.2.0-rc-2023-12-05", a draft of WASI 0.2; build it with tools of 2024 or later"#,
        ),
        (
            r#"(component (instance $run) (export "wasi:cli/run@0.1.0" (instance $run)))"#,
            "does not export run: its `run` is of another version of WASI",
        ),
        (
            r#"(component (instance $handler) (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#,
            "does not export run: it is an HTTP server",
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
        (r#"(import "secret" (func))"#, r#"imports "secret", which hooks cannot use"#),
        (
            r#"(import "wrapper:hook/context@0.1.9" (instance (export "get-weather" (func))))"#,
            r#"imports get-weather of "wrapper:hook/context@0.1.9", which this wrapper does not have; use a newer wrapper"#,
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
            r#"wrapper: echo: "true" was not started: hook "nosuch" (/nosuch.wasm) cannot be run"#,
        ]
    );
}

#[test]
fn an_unknown_built_in_hook_is_reported_and_the_others_run() {
    let done = wrapper().plugin("istio-quitt").plugin("echo").with(&["true"]).done();
    assert_eq!(done.code(), 125);
    let [told, echo] = done.lines().try_into().unwrap();
    let mut names: Vec<String> = fs::read_dir(repository("hooks/dist"))
        .unwrap()
        .filter_map(|file| Some(file.unwrap().file_name().to_str()?.strip_suffix(".wasm")?.to_owned()))
        .collect();
    names.sort();
    let all = names.join(", ");
    let start =
        format!("wrapper: hook \"istio-quitt\": no such built-in hook; did you mean istio-quit? (there are: {all};");
    assert!(told.starts_with(&start), "{told}");
    assert!(echo.contains(r#"was not started: hook "istio-quitt" cannot be run"#));
}

#[test]
fn the_message_for_a_hook_that_is_not_found_has_the_name_that_was_meant_or_a_hint() {
    for (hook, message) in [
        ("ISTIO_QUIT", "no such built-in hook; did you mean istio-quit? (there are: "),
        ("linkerd-quit", "no such built-in hook; did you mean linkerd-ready or linkerd-shutdown? (there are: "),
        ("istio", "did you mean istio-quit or istio-ready? (there are: "),
        ("Vault", "did you mean vault-quit? (there are: "),
        ("cloud-sql", "did you mean cloudsql-quit? (there are: "),
        ("“echo”", "no such built-in hook; the name begins with a typographic quotation mark (U+201C) ("),
        ("slack", "no such built-in hook (there are: "),
        // Of a URL in the variable, which is split at colons.
        ("https", "no such built-in hook; hooks are not downloaded (there are: "),
        ("https://a.example/x.wasm", "No such file or directory; hooks are not downloaded; put "),
        ("echo,http", "several are separated by \":\" in the variable, or the option is repeated (there are: "),
        ("x=y=http", "NAME=HOOK takes a NAME of letters, digits, - and _ (there are: "),
        ("echo.wasm", "No such file or directory; the built-in hook is called echo"),
        ("./echo.wasm", "No such file or directory (relative to /"),
    ] {
        let line = refusal(hook);
        assert!(line.contains(message), "{line}");
        assert_eq!(line.contains("did you mean"), message.contains("did you mean"), "{line}");
        assert_eq!(line.contains("is called"), message.contains("is called"), "{line}");
    }
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
        assert!(
            done.line().contains(&format!("its SHA-256 is {right}, but --plugin-sha256 expects {wrong}")),
            "{done:?}"
        );
    }
    let done = wrapper().with(&["--plugin-sha256", right]).with(&["true"]).done();
    assert!(done.code() == 125 && done.line().contains("1 digest for 0 hooks"), "{done:?}");
}

#[test]
fn a_hook_is_found_by_any_path() {
    let directory = tempfile::tempdir().unwrap();
    let hook = repository("hooks/dist/echo.wasm");
    let named = |name: &[u8]| directory.path().join(std::os::unix::ffi::OsStrExt::from_bytes(name) as &OsStr);
    for name in [&b"with space.wasm"[..], b"no-ending", b"not-utf8-\xff.wasm"] {
        fs::copy(&hook, named(name)).unwrap();
        let done = wrapper().plugin(named(name)).with(&["true"]).done();
        assert!(done.code() == 0 && done.stderr.contains(r#": "true" exited with 0 "#), "{done:?}");
    }
    let mut relative = wrapper().plugin("with space.wasm").with(&["true"]);
    relative.current_dir(directory.path());
    assert!(relative.done().stderr.contains(r#": "true" exited with 0 "#));
}

#[test]
fn the_bytes_that_were_there_at_the_start_are_the_ones_that_run() {
    let directory = tempfile::tempdir().unwrap();
    let hook = directory.path().join("hook.wasm");
    fs::copy(repository("hooks/dist/echo.wasm"), &hook).unwrap();
    let script = format!("echo broken > '{}'", hook.display());
    let done = wrapper().plugin(&hook).with(&["sh", "-c", &script]).done();
    assert!(done.code() == 0 && done.stderr.contains(r#"wrapper: hook: "sh" exited with 0 "#), "{done:?}");
}
