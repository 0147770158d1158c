//! Compiler and runner: attempts to do what the sandbox forbids, from inside it, as a hook could if WebAssembly did not
//! hold it. Debug builds only, and only when a test asks for it.

use crate::log;
use rustix::{
    fs::{Mode, OFlags, open},
    mm::{MapFlags, ProtFlags, mmap_anonymous},
    process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit},
};
use std::{env, fs, net::TcpStream, process::Command, ptr, sync::OnceLock, thread::sleep, time::Duration};

/// Name the attempts of a runner and of the compiler, with a space between several.
const RUNNER: &str = "TEST_ESCAPE";
const COMPILER: &str = "TEST_ESCAPE_COMPILER";

/// If set, neither process enters the sandbox: the control, which shows that the attempts succeed without it.
const NO_SANDBOX: &str = "WRAPPER_TEST_NO_SANDBOX";

/// Everything that has to be read while there are variables and files.
struct Asked {
    runner: String,
    compiler: String,
    is_left_out: bool,
    /// This process's memory.
    maps: String,
}

/// Read before the sandbox is entered.
fn asked() -> &'static Asked {
    static ASKED: OnceLock<Asked> = OnceLock::new();
    ASKED.get_or_init(|| Asked {
        runner: env::var(RUNNER).unwrap_or_default(),
        compiler: env::var(COMPILER).unwrap_or_default(),
        is_left_out: env::var_os(NO_SANDBOX).is_some(),
        maps: fs::read_to_string("/proc/self/maps").unwrap_or_default(),
    })
}

pub fn is_left_out() -> bool {
    asked().is_left_out
}

pub fn attempt() {
    attempt_each(&asked().runner);
}

pub fn attempt_as_compiler() {
    attempt_each(&asked().compiler);
}

fn attempt_each(attempts: &str) {
    for attempt in attempts.split_ascii_whitespace() {
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
            "call" => call::call(argument),
            "secret" => memory::find_reversed(&asked().maps, argument.as_bytes()),
            "pause" => {
                sleep(Duration::from_millis(argument.parse().unwrap_or(0)));
                Ok(())
            }
            "panic" => panic_now(),
            "crash" => std::process::abort(),
            "hoard" => hoard(),
            _ => Err("unknown attempt".into()),
        };
        let found = result.map_or_else(|error| error, |()| "succeeded".into());
        log::error(format!("escape {attempt}: {found}"));
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
    // SAFETY: a fresh mapping that nothing uses.
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

mod call {
    //! Any system call, by its number and its arguments: `1:2,text,5`.

    use std::{io, mem::zeroed, net::Ipv4Addr};

    /// Memory that arguments can point at.
    struct Things {
        zeros: [u64; 512],
        text: [u8; 2],
        iovec: libc::iovec,
        loopback: libc::sockaddr_in,
        filter: libc::sock_fprog,
        allow: libc::sock_filter,
    }

    #[allow(unsafe_code)]
    pub fn call(call: &str) -> Result<(), String> {
        // SAFETY: all of it is plain data of C.
        let mut things: Things = unsafe { zeroed() };
        things.text = *b"!\n";
        things.iovec = libc::iovec { iov_base: (&raw mut things.text).cast(), iov_len: things.text.len() };
        things.loopback.sin_family = 2;
        things.loopback.sin_port = 9_u16.to_be();
        things.loopback.sin_addr.s_addr = u32::from(Ipv4Addr::LOCALHOST).to_be();
        things.allow = libc::sock_filter { code: 6, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
        things.filter = libc::sock_fprog { len: 1, filter: &raw mut things.allow };
        let (number, arguments) = call.split_once(':').ok_or("no number")?;
        let number = number.parse().map_err(|_| "no number")?;
        let mut words = arguments.split(',').map(|word| argument(word, &mut things));
        let mut next = || words.next().unwrap_or(Ok(0));
        let (a, b, c, d, e, f) = (next()?, next()?, next()?, next()?, next()?, next()?);
        // SAFETY: the tests see to it that whatever the call does leaves the rest of the process as it is.
        match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
            -1 => Err(io::Error::last_os_error().to_string()),
            _ => Ok(()),
        }
    }

    #[allow(unsafe_code)]
    fn argument(word: &str, things: &mut Things) -> Result<libc::c_long, String> {
        Ok(match word {
            "" => 0,
            "zeros" => (&raw mut things.zeros) as libc::c_long,
            "iovec" => (&raw mut things.iovec) as libc::c_long,
            "loopback" => (&raw mut things.loopback) as libc::c_long,
            "filter" => (&raw mut things.filter) as libc::c_long,
            "self" => libc::c_long::from(std::process::id().cast_signed()),
            // SAFETY: a new descriptor that nothing else uses.
            "tcp" => unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) }.into(),
            number => number.parse().map_err(|_| format!("no argument: {number}"))?,
        })
    }
}

mod memory {
    //! Searches this process's memory.

    use std::slice;

    const PAGE: usize = 4096;

    /// Finds what reads as `word` backwards, so that it does not find the word itself in the question. `maps` are the
    /// process's mappings as they were (proc_pid_maps(5)).
    #[allow(unsafe_code)]
    pub fn find_reversed(maps: &str, word: &[u8]) -> Result<(), String> {
        let found = regions(maps).any(|(start, end)| {
            readable(start, end).any(|(start, end)| {
                // SAFETY: the kernel has just read a word of each of these pages. Nothing else runs and changes them.
                let bytes = unsafe { slice::from_raw_parts(start as *const u8, end - start) };
                bytes.windows(word.len()).any(|window| window.iter().rev().eq(word))
            })
        });
        if found { Ok(()) } else { Err("not found".into()) }
    }

    /// Regions that can be written to; the heap has grown since.
    fn regions(maps: &str) -> impl Iterator<Item = (usize, usize)> {
        maps.lines().filter(|line| line.contains(" rw-p ")).filter_map(|line| {
            let (start, end) = line.split_whitespace().next()?.split_once('-')?;
            let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
            Some((start, if line.ends_with("[heap]") { end + (16 << 20) } else { end }))
        })
    }

    /// The parts of a region that can be read.
    fn readable(start: usize, end: usize) -> impl Iterator<Item = (usize, usize)> {
        let mut at = start;
        std::iter::from_fn(move || {
            while at < end && !can_be_read(at) {
                at += PAGE;
            }
            let first = at;
            while at < end && can_be_read(at) {
                at += PAGE;
            }
            (first < at).then_some((first, at))
        })
    }

    /// Asks the kernel to wait until another value is there, which fails if it cannot read.
    #[allow(unsafe_code)]
    fn can_be_read(page: usize) -> bool {
        // It never waits, whatever the value.
        let none = [0_u64; 2];
        let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the kernel only reads, and answers EFAULT where it cannot.
        unsafe { libc::syscall(libc::SYS_futex, page, wait, 0, &raw const none) };
        std::io::Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
    }
}
