//! Supervisor: the processes that descend from wrapper, by what `/proc` has of each.

use crate::text::strerror;
use rustix::{
    fs::{Mode, OFlags, open, readlink},
    io::{Errno, read},
    process::{Pid, WaitId, WaitIdOptions, getpid, waitid},
};
use std::fs::read_dir;

#[derive(Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: Pid,
    parent: Option<Pid>,
    /// Start time in clock ticks since boot, since process IDs are reused.
    started: u64,
    /// The start of its program's name.
    name: String,
}

impl Process {
    /// Whether both are the same process, even after an exec or with another parent.
    pub fn is(&self, other: &Self) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }
}

/// All descendants of this process that still run, except for these and those that descend from them.
pub fn list(except: impl Fn(&Process) -> bool) -> Result<Vec<Process>, String> {
    let this = getpid();
    // The numbers of another PID namespace would be those of other processes.
    let own = readlink("/proc/self", Vec::new()).map_err(strerror)?;
    if own.to_bytes() != this.to_string().as_bytes() {
        return Err("/proc is that of another PID namespace".into());
    }
    let mut others = Vec::new();
    for entry in read_dir("/proc").map_err(strerror)?.flatten() {
        others.extend(entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(stat));
    }
    others.retain(|process| !except(process));
    let mut found: Vec<Process> = Vec::new();
    loop {
        let is_descendant = |process: &mut Process| {
            process.parent == Some(this) || found.iter().any(|parent| process.parent == Some(parent.pid))
        };
        let generation: Vec<_> = others.extract_if(.., is_descendant).collect();
        if generation.is_empty() {
            return Ok(found);
        }
        found.extend(generation);
    }
}

/// A process that runs, by its number.
fn stat(pid: i32) -> Option<Process> {
    /// Bytes of its line up to the time of its start: a name has at most 64, each of 20 numbers 21.
    const ENOUGH: usize = 512;
    let mut line = [0; ENOUGH];
    let file = open(format!("/proc/{pid}/stat"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let length = read(&file, &mut line).ok()?;
    parse(line.get(..length)?)
}

/// Reads `NUMBER (NAME) STATE PARENT …` (proc_pid_stat(5)), where the name can have any bytes. None for a process
/// that has exited.
fn parse(line: &[u8]) -> Option<Process> {
    let name_start = line.iter().position(|byte| *byte == b'(')?;
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let number = |text: &str| i32::try_from(text.trim_ascii().parse::<u32>().ok()?).ok();
    let pid = number(str::from_utf8(line.get(..name_start)?).ok()?)?;
    let mut fields = str::from_utf8(line.get(name_end + 1..)?).ok()?.split_ascii_whitespace();
    let (state, parent) = (fields.next()?, number(fields.next()?)?);
    // The 20th and the 22nd of all fields; these two are the third and the fourth.
    let (threads, started) = (fields.nth(15)?, fields.nth(1)?.parse().ok()?);
    let name = String::from_utf8_lossy(line.get(name_start + 1..name_end)?).into_owned();
    // It is the first thread's state, and others can outlive that one (pthread_exit(3)).
    let runs = !["Z", "X"].contains(&state) || threads.parse().is_ok_and(|threads: u32| threads > 1);
    runs.then_some(Process { pid: Pid::from_raw(pid)?, parent: Pid::from_raw(parent), started, name })
}

/// Whether wrapper has any child.
pub fn has_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, options), Err(Errno::CHILD))
}

/// `2 processes (sh, sleep)`, with the first few names.
pub fn display(processes: &[Process]) -> String {
    const NAMES: usize = 5;
    let mut names: Vec<_> = processes.iter().take(NAMES).map(|process| process.name.as_str()).collect();
    if processes.len() > NAMES {
        names.push("…");
    }
    let noun = if processes.len() == 1 { "process" } else { "processes" };
    format!("{} {noun} ({})", processes.len(), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_whatever_the_name() {
        let process = |pid, parent, name: &str| Process {
            pid: Pid::from_raw(pid).unwrap(),
            parent: Pid::from_raw(parent),
            started: 77,
            name: name.into(),
        };
        let rest = b" 12 12 0 -1 4194304 7 0 0 0 0 0 0 0 20 0 1 0 77 8192 3";
        for (line, expected) in [
            (&b"12 (sleep) S 1"[..], Some(process(12, 1, "sleep"))),
            (b"12 (a) R 7 (b c) S 3", Some(process(12, 3, "a) R 7 (b c"))),
            (b"12 (\xff\n) D 3", Some(process(12, 3, "\u{fffd}\n"))),
            (b"1 (init) S 0", Some(process(1, 0, "init"))),
            (b"12 (gone) Z 1", None),
            (b"12 (gone) X 1", None),
            (b"12 sleep S 1", None),
            (b"-1 (sleep) S 1", None),
        ] {
            assert_eq!(parse(&[line, rest].concat()), expected, "{:?}", line.escape_ascii().to_string());
        }
        let other_threads = b"12 (main) Z 1 12 12 0 -1 4194304 7 0 0 0 0 0 0 0 20 0 2 0 77 8192 3";
        assert_eq!(parse(other_threads), Some(process(12, 1, "main")));
        for line in [&b"12 (sleep) S"[..], b"12 (sleep) S 1 12 12 0 -1", b""] {
            assert_eq!(parse(line), None);
        }
    }
}
