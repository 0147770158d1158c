//! The program of a Job's image: one static file with exact manners. Built by harness/programs.rs; not a crate.
//!
//! `my-job exit CODE` prints `ready` and `done TIME`, in nanoseconds since 1970, and exits with CODE.
//! `my-job until-stopped CODE` prints `ready`, at SIGTERM `stopping`, a second later `done TIME`, and exits with CODE.
//! `my-job deaf` prints `ready` and does nothing at SIGTERM.
//! `my-job third-time FILE CODE` prints `ready` and `done TIME`, and exits with CODE, the third time with 0. FILE counts.
//! `my-job fill FILE MIB` writes so many MiB to FILE, and goes on as deaf.
//! `my-job eat` prints `ready` and takes memory until it is killed.
//! `my-job confined` prints `ready`, /proc/self/status and what comes of writing to the root, and exits with 0.
//! `my-job pause` keeps a pod until SIGTERM.
//! `my-job`, with other words or none, is a job that succeeds.

use std::{
    env, fs, hint,
    process::exit,
    ptr, thread,
    time::{Duration, SystemTime},
};

/// A `sigset_t`, as glibc and musl have it on every Linux, with SIGTERM in it.
#[repr(C)]
struct Set([u64; 16]);

const SIGTERM: Set = Set([1 << (15 - 1), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
const SIG_BLOCK: i32 = 0;

unsafe extern "C" {
    fn sigprocmask(how: i32, set: *const Set, old: *mut Set) -> i32;
    fn sigwait(set: *const Set, signal: *mut i32) -> i32;
}

fn main() {
    // SAFETY: the set is a live value of the right type, and the old one is not asked for.
    unsafe { sigprocmask(SIG_BLOCK, &SIGTERM, ptr::null_mut()) };
    println!("ready");
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["exit", code] => done(code),
        ["until-stopped", code] => when_stopped(code),
        ["fill", file, mib] => {
            fs::write(file, vec![b'.'; mib.parse::<usize>().expect("a number") << 20]).unwrap();
            deaf();
        }
        ["deaf"] => deaf(),
        ["third-time", file, code] => {
            let starts = fs::read(file).unwrap_or_default().len();
            fs::write(file, vec![b'.'; starts + 1]).unwrap();
            done(if starts < 2 { code } else { "0" });
        }
        ["eat"] => {
            let mut eaten = Vec::new();
            loop {
                eaten.push(hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        ["confined"] => {
            print!("{}", fs::read_to_string("/proc/self/status").unwrap());
            println!("write: {:?}", fs::write("/file", "").map_err(|error| error.kind()));
            done("0");
        }
        ["pause"] => until_stopped(),
        _ => done("0"),
    }
}

fn deaf() -> ! {
    loop {
        until_stopped();
    }
}

fn when_stopped(code: &str) -> ! {
    until_stopped();
    println!("stopping");
    thread::sleep(Duration::from_secs(1));
    done(code)
}

fn until_stopped() {
    let mut signal = 0;
    // SAFETY: both pointers are to live values of the right types.
    unsafe { sigwait(&SIGTERM, &mut signal) };
}

fn done(code: &str) -> ! {
    println!("done {}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos());
    exit(code.parse().expect("an exit code"))
}
