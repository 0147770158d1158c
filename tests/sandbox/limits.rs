//! Bounds of what a hook can make wrapper spend: time, memory and log output. The command's exit code is kept whatever
//! a hook tries.

use crate::harness::{
    Done, Run, assert_took,
    guests::{self, as_program},
    memory::peak,
    peer::Peer,
    processes::command_of,
    wrapper,
};
use nix::sys::resource::{Resource, setrlimit};
use std::{
    ffi::OsStr,
    io::Write,
    os::fd::{AsFd, AsRawFd},
    process::{Command, Stdio},
    thread,
};

/// Resident memory of a debug build of wrapper besides a hook's own memory, with a margin.
const BASE_MIB: u64 = 60;

/// The default of --plugin-memory.
const MEMORY_MIB: u64 = 64;

/// Memory that wrapper keeps for a hook beside that.
const KEPT_MIB: u64 = 16;

fn command(hook: impl AsRef<OsStr>, options: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut run = wrapper().with(options).plugin(hook).with(&["sh", "-c", "exit 7"]);
    run.envs(variables.iter().copied());
    run
}

#[track_caller]
fn assert_kept(done: &Done) {
    assert_eq!((done.code(), done.stdout.as_str()), (7, ""), "{done:?}");
}

#[track_caller]
fn run(hook: impl AsRef<OsStr>, options: &[&str], variables: &[(&str, &str)]) -> Done {
    let done = command(&hook, options, variables).done();
    assert_kept(&done);
    done
}

/// Runs it and says how many MiB wrapper needed at most.
#[track_caller]
fn run_measured(hook: impl AsRef<OsStr>, options: &[&str], variables: &[(&str, &str)]) -> (Done, u64) {
    let (done, mib) = peak(command(&hook, options, variables));
    assert_kept(&done);
    (done, mib)
}

#[track_caller]
fn assert_timed_out(done: &Done, seconds: u32) {
    let last = done.lines().last().copied().unwrap_or_default();
    let words = format!(": timed-out after {seconds}s; raise --plugin-timeout");
    assert!(last.ends_with(&words), "{done:?}");
    assert_took(done, seconds.into(), f64::from(seconds) + 20.0);
}

/// The failure of a hook whose only words are wrapper's.
#[track_caller]
fn assert_fails(done: &Done, words: &str) {
    assert!(done.line().starts_with("wrapper: hook ") && done.line().contains(words), "{words:?}: {done:?}");
}

#[test]
fn a_trap_is_named_in_one_line() {
    for (code, words) in [
        ("unreachable", "trapped: wasm `unreachable` instruction executed in oops"),
        ("i32.const 1 i32.const 0 i32.div_s drop", "trapped: integer divide by zero in oops"),
        ("i32.const 0x80000000 i32.const -1 i32.div_s drop", "trapped: integer overflow in oops"),
        ("i32.const 65533 i32.load drop", "trapped: out of bounds memory access in oops"),
        ("i32.const -1 i32.load drop", "trapped: out of bounds memory access in oops"),
        ("i32.const 9 call_indirect (type 0)", "trapped: undefined element: out of bounds table access in oops"),
        ("i32.const 0 call_indirect (type 0)", "trapped: uninitialized element in oops"),
        ("call $oops", "trapped: call stack exhausted in oops"),
    ] {
        let module = format!(
            r#"(type (func)) (memory 1) (table 1 funcref) (func $oops {code}) (func (export "run") (result i32) call $oops i32.const 0)"#
        );
        assert_fails(&run(as_program(&module), &[], &[]), words);
    }
    let fine = r#"(memory 1) (func (export "run") (result i32) i32.const 65532 i32.load drop i32.const 0)"#;
    assert_eq!(run(as_program(fine), &[], &[]).stderr, "");
    let fails = r#"(func (export "run") (result i32) i32.const 1)"#;
    assert_fails(&run(as_program(fails), &[], &[]), "its main function returned an error");
}

#[test]
fn a_loop_in_a_start_function_is_killed_at_the_timeout() {
    let module = |body: &str| {
        as_program(&format!(r#"(func $start {body}) (start $start) (func (export "run") (result i32) i32.const 0)"#))
    };
    assert_timed_out(&run(module("loop br 0 end"), &["--plugin-timeout", "1s"], &[]), 1);
    assert_eq!(run(module(""), &["--plugin-timeout", "20s"], &[]).stderr, "");
}

#[test]
fn a_hook_that_calls_the_host_for_ever_is_killed_at_the_timeout() {
    let hook = guests::hook("limits_host_calls");
    thread::scope(|scope| {
        for call in ["clock", "random", "environment", "fields", "poll", "sleep", "log", "debug"] {
            let hook = &hook;
            scope.spawn(move || assert_timed_out(&run(hook, &["--plugin-timeout", "1s"], &[("HOOK_CALL", call)]), 1));
        }
    });
}

#[test]
fn a_hook_may_use_nine_tenths_of_its_time_and_not_eleven() {
    let hook = guests::hook("limits_sleep");
    thread::scope(|scope| {
        for percent in ["90", "110"] {
            let hook = &hook;
            scope.spawn(move || {
                let variables = [("HOOK_TIME_MS", "5000"), ("HOOK_PERCENT", percent)];
                let done = run(hook, &["--plugin-timeout", "5s"], &variables);
                match percent {
                    "90" => {
                        assert_eq!(done.line(), "wrapper: limits_sleep: awake");
                        assert_took(&done, 4.5, 25.0);
                    }
                    _ => assert_timed_out(&done, 5),
                }
            });
        }
    });
}

#[test]
fn what_takes_too_long_to_compile_is_killed_at_the_timeout_too() {
    // Each local is live in each of the loops around. What is checked in milliseconds takes a second to compile for each
    // function.
    let module = |functions: usize| {
        let locals = "i64 ".repeat(200);
        let counts: String =
            (0..200).map(|local| format!("(local.set {local} (i64.add (local.get {local}) (i64.const 1)))")).collect();
        let loops = format!("{}{counts}{}", "(loop ".repeat(100), "(br_if 0 (i32.const 0)))".repeat(100));
        let functions = format!("(func (local {locals}) {loops})").repeat(functions);
        as_program(&format!(r#"{functions} (func (export "run") (result i32) i32.const 0)"#))
    };
    let (done, mib) = run_measured(module(20), &["--plugin-timeout", "1s"], &[]);
    assert_timed_out(&done, 1);
    assert!(mib < 1024, "{mib} MiB");
    assert_eq!(run(module(0), &["--plugin-timeout", "20s"], &[]).stderr, "");
}

#[test]
fn memory_may_grow_up_to_its_limit_and_no_further() {
    let hook = guests::program("limits_allocate");
    for (options, fits, least, most) in [
        (&[][..], "58", 58, 64),
        (&["--plugin-memory", "16MiB"], "12", 12, 16),
        (&["--plugin-memory", "96MiB"], "90", 90, 96),
    ] {
        assert_eq!(
            run(&hook, options, &[("HOOK_MIB", fits)]).line(),
            format!("wrapper: limits_allocate: has {fits} MiB")
        );
        let done = run(&hook, options, &[]);
        let refused =
            done.stderr.lines().find_map(|line| line.strip_prefix("wrapper: limits_allocate: refused after "));
        let mib: u32 = refused.and_then(|rest| rest.strip_suffix(" MiB")).unwrap_or_default().parse().unwrap();
        assert!((least..most).contains(&mib), "{mib} MiB of {options:?}");
    }
}

#[test]
fn a_memory_larger_than_the_limit_from_the_start_is_refused() {
    let module =
        |pages: u32| as_program(&format!(r#"(memory {pages}) (func (export "run") (result i32) i32.const 0)"#));
    assert_eq!(run(module(1024), &[], &[]).stderr, "");
    let message = |mib| format!("a memory of {mib} MiB exceeds its total memory limit; raise --plugin-memory");
    assert_fails(&run(module(1025), &[], &[]), &message("64.1"));
    assert_fails(&run(module(65536), &[], &[]), &message("4096.0"));
    assert_eq!(run(module(1025), &["--plugin-memory", "65MiB"], &[]).stderr, "");
}

#[test]
fn the_memories_of_one_hook_share_its_limit() {
    let in_one_module = |count: usize| {
        as_program(&format!(r#"{} (func (export "run") (result i32) i32.const 0)"#, "(memory 300) ".repeat(count)))
    };
    assert_eq!(run(in_one_module(3), &[], &[]).stderr, "");
    assert_fails(&run(in_one_module(4), &[], &[]), "exceeds its total memory limit");

    let in_instances = |count: usize| {
        guests::text(&format!(
            r#"(component
                (core module $large (memory 300))
                {}
                (core module $m (func (export "run") (result i32) i32.const 0))
                (core instance $i (instantiate $m))
                (func $run (result (result)) (canon lift (core func $i "run")))
                (instance $interface (export "run" (func $run)))
                (export "wasi:cli/run@0.2.0" (instance $interface)))"#,
            "(core instance (instantiate $large)) ".repeat(count)
        ))
    };
    assert_eq!(run(in_instances(3), &[], &[]).stderr, "");
    assert_fails(&run(in_instances(4), &[], &[]), "exceeds its total memory limit");

    // Each grows by 16 MiB at a time until it is refused; together they never had more than the limit.
    let growing = r#"(memory $a 0) (memory $b 0) (memory $c 0)
        (func (export "run") (result i32)
            (loop (br_if 0 (i32.ne (memory.grow $a (i32.const 256)) (i32.const -1))))
            (loop (br_if 0 (i32.ne (memory.grow $b (i32.const 256)) (i32.const -1))))
            (loop (br_if 0 (i32.ne (memory.grow $c (i32.const 256)) (i32.const -1))))
            (i32.gt_u
                (i32.add (i32.add (memory.size $a) (memory.size $b)) (memory.size $c))
                (i32.const 1024)))"#;
    assert_eq!(run(as_program(growing), &[], &[]).stderr, "");
}

#[test]
fn what_is_resident_is_the_hooks_memory_and_little_more() {
    let hook = guests::program("limits_allocate");
    let (done, mib) = run_measured(&hook, &[], &[("HOOK_MIB", "60"), ("HOOK_STAY_MS", "300")]);
    assert_eq!(done.line(), "wrapper: limits_allocate: has 60 MiB");
    assert!((60..MEMORY_MIB + BASE_MIB).contains(&mib), "{mib} MiB");
    let (_, mib) = run_measured(&hook, &[], &[("HOOK_MIB", "1"), ("HOOK_STAY_MS", "300")]);
    assert!(mib < BASE_MIB, "{mib} MiB");
}

#[test]
fn tables_grow_up_to_a_limit_and_no_further() {
    let starting_with = |elements: u32| {
        as_program(&format!(r#"(table {elements} funcref) (func (export "run") (result i32) i32.const 0)"#))
    };
    assert_eq!(run(starting_with(200_000), &[], &[]).stderr, "");
    assert_fails(&run(starting_with(200_001), &[], &[]), "table limit");
    assert_fails(&run(starting_with(10_000_000), &[], &[]), "table limit");

    let growing = r#"(table $t 0 funcref)
        (func (export "run") (result i32)
            (loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
            (i32.ne (table.size $t) (i32.const 200000)))"#;
    assert_eq!(run(as_program(growing), &[], &[]).stderr, "");
}

#[test]
fn the_tables_of_one_hook_share_its_limit() {
    let tables = |count: usize| {
        as_program(&format!(
            r#"{} (func (export "run") (result i32) i32.const 0)"#,
            "(table 10000 funcref) ".repeat(count)
        ))
    };
    assert_eq!(run(tables(20), &[], &[]).stderr, "");
    for count in [21, 99] {
        let (done, mib) = run_measured(tables(count), &[], &[]);
        assert_fails(&done, "table limit");
        assert!(mib < BASE_MIB, "{mib} MiB");
    }
}

/// A component that instantiates a module `of_each` times in a component that is instantiated as often in another …
fn nested_instances(of_each: usize, depth: usize) -> tempfile::TempPath {
    let mut inner = "(core module $m) ".to_owned() + &"(core instance (instantiate $m)) ".repeat(of_each);
    for _ in 1..depth {
        inner = format!("(component $c {inner}) ") + &"(instance (instantiate $c)) ".repeat(of_each);
    }
    guests::text(&format!(
        r#"(component {inner}
            (core module $last (func (export "run") (result i32) i32.const 0))
            (core instance $i (instantiate $last))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $interface (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $interface)))"#
    ))
}

#[test]
fn a_hook_may_have_as_many_instances_as_toolchains_make_and_not_thousands() {
    assert_eq!(run(nested_instances(90, 1), &[], &[]).stderr, "");
    assert_eq!(run(nested_instances(9, 2), &[], &[]).stderr, "");
    for (of_each, depth) in [(110, 1), (11, 2), (900, 1), (10, 4)] {
        let (done, mib) = run_measured(nested_instances(of_each, depth), &[], &[]);
        assert_fails(&done, "instance");
        assert!(mib < MEMORY_MIB + BASE_MIB, "{of_each}^{depth}: {mib} MiB");
    }
}

#[test]
fn a_small_file_that_unfolds_to_a_billion_instances_is_stopped() {
    let (done, mib) = run_measured(nested_instances(10, 9), &["--plugin-timeout", "1s"], &[]);
    assert!(done.lines().len() == 1, "{done:?}");
    assert_took(&done, 0.0, 30.0);
    assert!(mib < 1024, "{mib} MiB");
}

#[test]
fn endless_recursion_exhausts_the_hooks_own_stack() {
    let hook = guests::program("limits_recurse");
    assert_eq!(run(&hook, &[], &[("HOOK_DEPTH", "1000")]).line(), "wrapper: limits_recurse: came back with 1000");
    let done = run(&hook, &[], &[]);
    assert_fails(&done, "trapped: call stack exhausted in limits_recurse::down");
    assert_took(&done, 0.0, 30.0);
}

#[test]
fn random_bytes_come_in_portions() {
    let hook = guests::hook("limits_random_bytes");
    let done = run(&hook, &[], &[("HOOK_BYTES", "65536")]);
    assert_eq!(done.line(), "wrapper: limits_random_bytes: got 65536");
    for bytes in ["65537", "60000000", "1073741824", "18446744073709551615"] {
        let (done, mib) = run_measured(&hook, &[], &[("HOOK_BYTES", bytes)]);
        assert_fails(&done, "exceeds limit");
        assert!(mib < BASE_MIB, "{bytes} bytes: {mib} MiB");
        assert_took(&done, 0.0, 30.0);
    }
}

#[test]
fn a_huge_message_costs_no_more_than_the_memory_it_is_in() {
    let hook = guests::hook("log_message");
    let done = run(&hook, &[], &[("HOOK_MIB", "1")]);
    assert_eq!(done.stderr.matches("output truncated").count(), 1);
    let letters: usize =
        done.stderr.lines().filter_map(|line| line.strip_prefix("wrapper: log_message: ")).map(str::len).sum();
    assert!((65_000..=65_536).contains(&letters), "{letters}");
    let (done, mib) = run_measured(&hook, &[], &[("HOOK_MIB", "50"), ("HOOK_TIMES", "5")]);
    assert!(done.stderr.len() < 70_000, "{} bytes", done.stderr.len());
    assert!(mib < MEMORY_MIB + BASE_MIB, "{mib} MiB");
}

#[test]
fn a_flood_of_empty_lines_fills_the_log_no_more_than_one_of_long_lines() {
    let done = run(guests::hook("log_message"), &[], &[("HOOK_MIB", "1"), ("HOOK_NEWLINES", "1")]);
    assert!(done.stderr.len() < 4 * 64 * 1024, "{} bytes", done.stderr.len());
    let done = run(guests::program("print"), &[], &[("HOOK_LINES", "1000000"), ("HOOK_WIDTH", "2")]);
    assert!(done.stderr.len() < 4 * 64 * 1024, "{} bytes", done.stderr.len());
}

#[test]
fn what_a_hook_hoards_in_the_host_is_bounded() {
    let hook = guests::hook("limits_open_handles");
    for (count, bytes) in [("1000", "0"), ("10", "30000")] {
        let done = run(&hook, &[], &[("HOOK_COUNT", count), ("HOOK_BYTES", bytes)]);
        assert_eq!(done.line(), format!("wrapper: limits_open_handles: has {count}"));
    }
    for (count, bytes) in [("1000000", "0"), ("1000000", "100"), ("1000000", "10000"), ("1000000", "100000")] {
        let (done, mib) = run_measured(&hook, &[], &[("HOOK_COUNT", count), ("HOOK_BYTES", bytes)]);
        assert_eq!(done.lines().len(), 1, "{count} × {bytes}: {done:?}");
        assert!(mib < MEMORY_MIB + BASE_MIB, "{count} × {bytes}: {mib} MiB");
    }
}

fn keeping<'a>(what: &'a str, count: &'a str, bytes: &'a str) -> [(&'a str, &'a str); 3] {
    [("HOOK_WHAT", what), ("HOOK_COUNT", count), ("HOOK_BYTES", bytes)]
}

#[test]
fn a_string_that_is_too_long_for_a_request_is_refused_like_a_malformed_one() {
    let hook = guests::hook("limits_host_memory");
    // A path has a slash before its text.
    for (what, fits, too_long) in [
        ("method", "64", "65"),
        ("method", "17", "7000000"),
        ("scheme", "64", "65"),
        ("authority", "1024", "1025"),
        ("path", "65533", "65534"),
    ] {
        assert_eq!(run(&hook, &[], &keeping(what, "3", fits)).line(), "wrapper: limits_host_memory: has 3", "{what}");
        assert_eq!(
            run(&hook, &[], &keeping(what, "3", too_long)).line(),
            "wrapper: limits_host_memory: refused after 0",
            "{what}"
        );
    }
}

#[test]
fn what_wrapper_keeps_for_a_hook_counts_for_its_memory() {
    let hook = guests::hook("limits_host_memory");
    // The limit reached first is that of their number or of their total size.
    let ends = ["limit exceeded", "no free keys", "out of memory: "];
    for (what, bytes) in [
        ("pollable", "0"),
        ("options", "0"),
        ("scheme", "64"),
        ("authority", "1024"),
        ("path", "65000"),
        ("value", "30000"),
        ("list", "30000"),
        ("names", "0"),
        ("clones", "0"),
        ("response", "0"),
        ("body", "32768"),
    ] {
        assert_eq!(
            run(&hook, &[], &keeping(what, "20", bytes)).line(),
            "wrapper: limits_host_memory: has 20",
            "{what}"
        );
        for (memory, mib) in [("2MiB", 2), ("16MiB", 16)] {
            let options = ["--plugin-timeout", "40s", "--plugin-memory", memory];
            let (done, peak) = run_measured(&hook, &options, &keeping(what, "1000000", bytes));
            assert!(ends.iter().any(|end| done.line().contains(end)), "{what}: {done:?}");
            assert!(peak < mib + KEPT_MIB + BASE_MIB, "{what}: {peak} MiB of {memory}");
        }
    }
}

#[test]
fn one_call_probes_so_many_targets_and_what_they_take_counts_for_the_hooks_memory() {
    let hook = guests::hook("probe_targets");
    let probing = |times: &str, memory: &str| {
        let options = ["--plugin-timeout", "40s", "--plugin-memory", memory];
        run_measured(&hook, &options, &[("HOOK_TARGETS", "dns://localhost"), ("HOOK_TIMES", times)])
    };
    let count = |done: &Done, end: &str| done.lines().iter().filter(|line| line.ends_with(end)).count();
    let (done, _) = probing("64", "2MiB");
    assert_eq!(count(&done, "dns://localhost Ok(())"), 64, "{done:?}");
    let (done, _) = probing("65", "2MiB");
    assert_eq!(count(&done, "Err(Invalid(\"more than 64 targets at once\"))"), 65, "{done:?}");
    let (done, peak) = probing("1000000", "512MiB");
    assert_eq!(count(&done, " Ok(())"), 0, "{done:?}");
    assert!(done.line().contains("limit exceeded") || done.line().contains("fuel"), "{done:?}");
    assert!(peak < 512, "{peak} MiB");
}

#[test]
fn more_memory_lets_a_hook_have_more_kept() {
    let hook = guests::hook("limits_host_memory");
    // Some 40 MiB.
    let variables = keeping("path", "600", "65000");
    assert_eq!(run(&hook, &["--plugin-memory", "64MiB"], &variables).line(), "wrapper: limits_host_memory: has 600");
    let done = run(&hook, &["--plugin-memory", "8MiB"], &variables);
    let words = "failed: out of memory: its memory and what wrapper holds for it (requests, headers, bodies) exceed 24 MiB; \
        raise --plugin-memory";
    assert_eq!(done.line(), format!("wrapper: hook \"limits_host_memory\": {words}"));
    let done = run(&hook, &["--plugin-memory", "8MiB", "--log-format", "json"], &variables);
    let line: serde_json::Value = serde_json::from_str(done.line()).unwrap();
    assert_eq!((&line["message"], &line["verdict"]), (&words.into(), &"failed".into()));
}

#[test]
fn answers_that_a_hook_does_not_let_go_of_count_for_its_memory() {
    let filler = "x".repeat(14_000);
    let peer = Peer::answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Filler: {filler}\r\n\r\n"));
    let authority = format!("127.0.0.1:{}", peer.port());
    let hook = guests::hook("limits_host_memory");
    let run = |count: &str| {
        let allowed = format!("http://{authority}");
        let options = ["--plugin-timeout", "50s", "--plugin-memory", "2MiB", "--allow-http", &allowed];
        let mut variables = keeping("answer", count, "0").to_vec();
        variables.push(("HOOK_AUTHORITY", &authority));
        run_measured(&hook, &options, &variables)
    };
    let (done, _) = run("100");
    assert_eq!(done.line(), "wrapper: limits_host_memory: has 100");
    let (done, mib) = run("3000");
    assert!(done.line().contains("out of memory: "), "{done:?}");
    assert!(mib < 2 + KEPT_MIB + BASE_MIB, "{mib} MiB");
}

#[test]
fn instances_count_for_a_hooks_memory() {
    // Each of them has 16 bytes for every global.
    let globals = |count: usize| {
        let (globals, instances) =
            ("(global (mut i64) (i64.const 1))".repeat(count), "(core instance (instantiate $g)) ");
        guests::text(&format!(
            r#"(component
                (core module $g {globals})
                {}
                (core module $m (func (export "run") (result i32) i32.const 0))
                (core instance $i (instantiate $m))
                (func $run (result (result)) (canon lift (core func $i "run")))
                (instance $interface (export "run" (func $run)))
                (export "wasi:cli/run@0.2.0" (instance $interface)))"#,
            instances.repeat(90)
        ))
    };
    assert_eq!(run(globals(1000), &[], &[]).stderr, "");
    let (done, mib) = run_measured(globals(300_000), &["--plugin-timeout", "40s"], &[]);
    assert!(done.line().contains("out of memory: "), "{done:?}");
    assert!(mib < MEMORY_MIB + KEPT_MIB + BASE_MIB, "{mib} MiB");
}

/// A program with this many data segments of a byte each, in a memory of its own or of another module.
fn data_segments(count: usize, own: bool) -> tempfile::TempPath {
    let segments: String = (0..count).map(|index| format!(r#"(data (i32.const {}) "d")"#, index * 16)).collect();
    let pages = (count * 16).div_ceil(65_536).max(1);
    if own {
        return as_program(&format!(r#"(memory {pages}) {segments} (func (export "run") (result i32) i32.const 0)"#));
    }
    guests::text(&format!(
        r#"(component
            (core module $o (memory (export "m") {pages}))
            (core instance $o (instantiate $o))
            (core module $m (memory (import "o" "m") {pages}) {segments} (func (export "run") (result i32) i32.const 0))
            (core instance $i (instantiate $m (with "o" (instance $o))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $interface (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $interface)))"#
    ))
}

#[test]
fn thousands_of_data_segments_are_compiled_in_little_memory() {
    // As Go's linker makes them, which leaves out zeroes.
    let hook = data_segments(30_000, true);
    for prepare in ["on", "off"] {
        let (done, mib) = run_measured(&hook, &["--plugin-prepare", prepare, "--plugin-timeout", "40s"], &[]);
        assert_eq!(done.stderr, "");
        assert!(mib < 100, "{prepare}: {mib} MiB");
    }
}

#[test]
fn data_segments_put_their_bytes_where_they_belong() {
    // The first byte, one in the middle, the last byte of the memory; a later segment lies over an earlier one.
    let module = r#"(memory 3)
        (data (i32.const 0) "a") (data (i32.const 70000) "xyz") (data (i32.const 196607) "c") (data (i32.const 70001) "b")
        (func (export "run") (result i32)
            (if (i32.ne (i32.load8_u (i32.const 0)) (i32.const 97)) (then unreachable))
            (if (i32.ne (i32.load8_u (i32.const 1)) (i32.const 0)) (then unreachable))
            (if (i32.ne (i32.load (i32.const 70000)) (i32.const 0x7a6278)) (then unreachable))
            (if (i32.ne (i32.load8_u (i32.const 196607)) (i32.const 99)) (then unreachable))
            i32.const 0)"#;
    for prepare in ["on", "off"] {
        assert_eq!(run(as_program(module), &["--plugin-prepare", prepare], &[]).stderr, "");
    }
    let outside = r#"(memory 1) (data (i32.const 65535) "ab") (func (export "run") (result i32) i32.const 0)"#;
    assert_fails(&run(as_program(outside), &[], &[]), "out of bounds memory access");
}

/// Runs a hook that takes several hundred MiB to compile.
fn run_out_of_memory(options: &[&str], limit: Option<Resource>) -> (Done, String) {
    let hook = data_segments(80_000, false);
    let options = [&["--plugin-prepare", "off", "--plugin-timeout", "50s"], options].concat();
    let mut run = command(&hook, &options, &[]);
    if let Some(limit) = limit {
        run = run.first(move || Ok(setrlimit(limit, 200 << 20, 200 << 20)?));
    }
    let done = run.done();
    assert_kept(&done);
    (done, hook.display().to_string())
}

#[test]
fn a_hook_that_is_too_large_to_compile_is_reported_with_the_limit() {
    let (done, hook) = run_out_of_memory(&["--plugin-memory", "2MiB"], None);
    let name = std::path::Path::new(&hook).file_stem().unwrap().to_str().unwrap();
    let words = "failed: out of memory: loading it takes more than 520 MiB; raise --plugin-memory";
    assert_eq!(done.line(), format!("wrapper: hook \"{name}\": {words}"));
    let (done, _) = run_out_of_memory(&["--plugin-memory", "2MiB", "--log-format", "json"], None);
    let line: serde_json::Value = serde_json::from_str(done.line()).unwrap();
    assert_eq!((&line["message"], &line["verdict"]), (&words.into(), &"failed".into()));
}

#[test]
fn a_memory_limit_from_outside_is_named() {
    let (done, _) = run_out_of_memory(&[], Some(Resource::RLIMIT_DATA));
    let words = ": out of memory: loading it takes more than 200 MiB; raise ulimit -d";
    assert!(done.line().ends_with(words), "{done:?}");
    let words = ": out of memory: loading it takes more address space than ulimit -v allows; raise that or lower \
        --plugin-memory";
    let (done, _) = run_out_of_memory(&[], Some(Resource::RLIMIT_AS));
    assert!(done.line().ends_with(words), "{done:?}");
    // Its memory alone is too much.
    let run = |memory: &str| {
        let run = command(guests::program("exit"), &["--plugin-memory", memory], &[("HOOK_EXIT", "0")]);
        run.first(|| Ok(setrlimit(Resource::RLIMIT_AS, 400 << 20, 400 << 20)?)).done()
    };
    let done = run("1GiB");
    assert!(done.line().ends_with(words), "{done:?}");
    assert_eq!(run("64MiB").stderr, "");
}

#[test]
fn a_compiler_that_runs_out_of_memory_beside_the_command_logs_nothing() {
    let hook = data_segments(80_000, false);
    let options = ["--plugin-on", "success", "--log-format", "json", "--", "sh", "-c", "echo ready; exec sleep 400"];
    let mut running = wrapper().plugin(&hook).with(&options).running();
    running.until_stdout_has("ready");
    // The compiler ends in its own time.
    command_of(running.pid());
    running.signal(15);
    let done = running.done();
    assert_eq!(done.code(), 143);
    for line in done.stderr.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("{line:?} of {done:?}"));
    }
}

/// The number of a hook's own letters in the log, and of the lines that say it was cut.
fn printed(done: &Done) -> (usize, usize) {
    let own = done.stderr.lines().filter_map(|line| line.strip_prefix("wrapper: print: "));
    (own.map(|line| line.len()).sum(), done.stderr.matches("output truncated").count())
}

#[test]
fn the_first_64_kib_of_what_a_hook_prints_are_shown() {
    let hook = guests::program("print");
    let print = |lines: &str, width: &str, rest: &str| {
        let variables = [("HOOK_LINES", lines), ("HOOK_WIDTH", width), ("HOOK_REST", rest)];
        printed(&run(&hook, &["--plugin-timeout", "30s"], &variables))
    };
    // A line of 64 bytes is 63 letters and its end.
    assert_eq!(print("1023", "64", "0"), (1023 * 63, 0));
    assert_eq!(print("1024", "64", "0"), (1024 * 63, 0));
    assert_eq!(print("1025", "64", "0"), (1024 * 63, 1));
    assert_eq!(print("0", "0", "10"), (10, 0));
    // Without line ends there is no more than the limit either.
    for rest in ["65537", "104857600"] {
        let (letters, cuts) = print("0", "0", rest);
        assert!((65_000..=65_536).contains(&letters) && cuts == 1, "{letters} {cuts}");
    }
}

#[test]
fn a_gibibyte_of_output_is_cut_and_costs_no_memory() {
    let variables = [("HOOK_LINES", "16777216"), ("HOOK_WIDTH", "64")];
    let (done, mib) = run_measured(guests::program("print"), &["--plugin-timeout", "6s"], &variables);
    assert_eq!(printed(&done), (1024 * 63, 1));
    assert_took(&done, 0.0, 30.0);
    assert!(mib < BASE_MIB, "{mib} MiB");
}

#[test]
fn a_log_reader_that_has_stalled_does_not_keep_a_printing_hook() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // Filled to the brim: the next to write blocks.
    let flags = nix::fcntl::fcntl(writer.as_fd(), nix::fcntl::FcntlArg::F_GETFL).unwrap();
    let nonblocking = nix::fcntl::OFlag::from_bits_retain(flags) | nix::fcntl::OFlag::O_NONBLOCK;
    nix::fcntl::fcntl(writer.as_fd(), nix::fcntl::FcntlArg::F_SETFL(nonblocking)).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    while writer.write(b".").is_ok() {}
    nix::fcntl::fcntl(writer.as_fd(), nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::from_bits_retain(flags)))
        .unwrap();
    for (name, variables) in [("print", &[("HOOK_LINES", "100000"), ("HOOK_WIDTH", "64")][..]), ("loop_forever", &[])] {
        let start = std::time::Instant::now();
        let mut run = command(guests::program(name), &["--plugin-timeout", "2s"], variables);
        run.stdout(Stdio::null()).stderr(writer.try_clone().unwrap());
        assert_eq!(run.status().unwrap().code(), Some(7), "{name}");
        assert!(start.elapsed().as_secs_f64() < 30.0, "{name}: {:?}", start.elapsed());
    }
    assert!(reader.as_raw_fd() >= 0, "the reader was there all the time");
}
