//! What a hook could do if WebAssembly did not hold it: attempts on the operating system's walls, made from inside a
//! runner. Only in debug builds, and only when the tests ask for it.

use crate::log;
use rustix::{
    fs::{Mode, OFlags, open},
    mm::{MapFlags, ProtFlags, mmap_anonymous},
    process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit},
};
use std::{env, net::TcpStream, process::Command, ptr};

/// Names the attempts, with a space between several.
const ATTEMPTS: &str = "TEST_BREACH";

/// Set to anything, the runner stays out of its jail: the twin that shows that the attempts are real.
const NO_JAIL: &str = "WRAPPER_TEST_NO_JAIL";

pub fn without_jail() -> bool {
    env::var_os(NO_JAIL).is_some()
}

pub fn attempt() {
    for attempt in env::var(ATTEMPTS).unwrap_or_default().split_ascii_whitespace() {
        let (what, argument) = attempt.split_once('=').unwrap_or((attempt, ""));
        let result: Result<(), String> = match what {
            "open" => open(argument, OFlags::RDONLY, Mode::empty()).map(drop).map_err(|error| error.to_string()),
            "create" => {
                open(argument, OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).map(drop).map_err(|e| e.to_string())
            }
            "execute" => Command::new(argument).status().map(drop).map_err(|error| error.to_string()),
            "connect" => TcpStream::connect(argument).map(drop).map_err(|error| error.to_string()),
            "kill" => kill(argument),
            "limit" => limit(argument),
            "code" => map_code(),
            "stdin" => {
                rustix::io::read(rustix::stdio::stdin(), &mut [0; 1]).map(drop).map_err(|error| error.to_string())
            }
            "panic" => panic_now(),
            "crash" => std::process::abort(),
            "hoard" => hoard(),
            _ => Err("unknown attempt".into()),
        };
        let found = result.map_or_else(|error| error, |()| "succeeded".into());
        log::error(format!("breach {attempt}: {found}"));
    }
}

fn kill(pid: &str) -> Result<(), String> {
    kill_process(process(pid)?, Signal::USR1).map_err(|error| error.to_string())
}

/// Takes the right to dump core from another process; the same call could take its memory or its time.
fn limit(pid: &str) -> Result<(), String> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    prlimit(Some(process(pid)?), Resource::Core, none).map(drop).map_err(|error| error.to_string())
}

fn process(pid: &str) -> Result<Pid, String> {
    pid.parse().ok().and_then(Pid::from_raw).ok_or_else(|| "no pid".into())
}

#[allow(unsafe_code)]
fn map_code() -> Result<(), String> {
    // SAFETY: a fresh mapping that nobody uses.
    let mapped = unsafe { mmap_anonymous(ptr::null_mut(), 4096, ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE) };
    mapped.map(drop).map_err(|error| error.to_string())
}

#[expect(clippy::panic, reason = "this is the fault that the tests inject")]
fn panic_now() -> Result<(), String> {
    panic!("injected")
}

/// Allocates and touches memory until there is no more.
fn hoard() -> Result<(), String> {
    super::heap::without_limit();
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut block = Vec::new();
        if let Err(error) = block.try_reserve_exact(16 << 20) {
            return Err(format!("after {} MiB: {error}", 16 * hoard.len()));
        }
        block.resize(16 << 20, 1);
        hoard.push(block);
    }
}
