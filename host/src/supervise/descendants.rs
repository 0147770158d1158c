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
    /// The start of its program's name.
    name: String,
}

/// All descendants of this process that still run, except for these children of its.
pub fn list(except: impl Fn(Pid) -> bool) -> Result<Vec<Process>, String> {
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
    others.retain(|process| !except(process.pid));
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
    /// Bytes of its line up to the parent's number: a name has at most 64, each number 20.
    const ENOUGH: usize = 256;
    let mut line = [0; ENOUGH];
    let file = open(format!("/proc/{pid}/stat"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let length = read(&file, &mut line).ok()?;
    parse(line.get(..length)?)
}

/// Reads `NUMBER (NAME) STATE PARENT …` (proc_pid_stat(5)), where the name can have any bytes. None for a zombie.
fn parse(line: &[u8]) -> Option<Process> {
    let name_start = line.iter().position(|byte| *byte == b'(')?;
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let number = |text: &str| i32::try_from(text.trim_ascii().parse::<u32>().ok()?).ok();
    let pid = number(str::from_utf8(line.get(..name_start)?).ok()?)?;
    let mut fields = str::from_utf8(line.get(name_end + 1..)?).ok()?.split_ascii_whitespace();
    let (state, parent) = (fields.next()?, number(fields.next()?)?);
    let name = String::from_utf8_lossy(line.get(name_start + 1..name_end)?).into_owned();
    let runs = !["Z", "X"].contains(&state);
    runs.then_some(Process { pid: Pid::from_raw(pid)?, parent: Pid::from_raw(parent), name })
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
            name: name.into(),
        };
        for (line, expected) in [
            (&b"12 (sleep) S 1 12 12 0 -1"[..], Some(process(12, 1, "sleep"))),
            (b"12 (a) R 7 (b c) S 3 1 1", Some(process(12, 3, "a) R 7 (b c"))),
            (b"12 (\xff\n) D 3 1 1", Some(process(12, 3, "\u{fffd}\n"))),
            (b"1 (init) S 0 1 1", Some(process(1, 0, "init"))),
            (b"12 (gone) Z 1 12 12", None),
            (b"12 (gone) X 1 12 12", None),
            (b"12 (sleep) S", None),
            (b"12 sleep S 1", None),
            (b"-1 (sleep) S 1", None),
            (b"", None),
        ] {
            assert_eq!(parse(line), expected, "{:?}", line.escape_ascii().to_string());
        }
    }
}
