//! A command with exact manners, where a shell's are only roughly known. Built by harness/programs.rs; not a crate.
//!
//! `child report NAME LAST CODE` prints `NAME ready`, then `NAME N` for every signal N that it gets, and exits with
//! CODE at signal LAST. No signal has its default effect on it.
//! `child die N` dies of signal N.

use std::{env, process::exit, ptr};

/// A `sigset_t`, as glibc and musl have it on every Linux.
#[repr(C)]
struct Set([u64; 16]);

const ALL: Set = Set([u64::MAX; 16]);
const NONE: Set = Set([0; 16]);

const SIG_SETMASK: i32 = 2;
const SIG_DFL: usize = 0;

unsafe extern "C" {
    fn sigprocmask(how: i32, set: *const Set, old: *mut Set) -> i32;
    fn sigwait(set: *const Set, signal: *mut i32) -> i32;
    fn signal(signal: i32, handler: usize) -> usize;
    fn raise(signal: i32) -> i32;
}

fn main() {
    let args: Vec<String> = env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        ["report", name, last, code] => report(name, number(last), number(code)),
        ["die", signal] => die(number(signal)),
        _ => panic!("not known: {args:?}"),
    }
}

fn number(text: &str) -> i32 {
    text.parse().expect("a number")
}

fn report(name: &str, last: i32, code: i32) -> ! {
    block(&ALL);
    println!("{name} ready");
    loop {
        let mut signal = 0;
        // SAFETY: both pointers are to live values of the right types.
        if unsafe { sigwait(&ALL, &mut signal) } == 0 {
            println!("{name} {signal}");
        }
        if signal == last {
            exit(code);
        }
    }
}

fn die(number: i32) {
    block(&NONE);
    // SAFETY: both take numbers; no handler is set.
    unsafe {
        signal(number, SIG_DFL);
        raise(number);
    }
}

fn block(set: &Set) {
    // SAFETY: the set is a live value of the right type, and the old one is not asked for.
    unsafe { sigprocmask(SIG_SETMASK, set, ptr::null_mut()) };
}
