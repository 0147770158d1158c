//! Processes as /proc shows them.

use super::{HANGS, LOOK};
use std::{fs, thread, time::Instant};

/// A process as `/proc/PID/stat` has it (proc(5)).
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: i32,
    pub name: String,
    /// `R`unning, `S`leeping, s`T`opped, `Z`ombie.
    pub state: char,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// The foreground group of its terminal.
    pub foreground: i32,
}

impl Process {
    pub fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, parentheses and spaces too.
        let (name, fields) = (stat.split_once('(')?.1.rsplit_once(')')?.0, stat.rsplit_once(')')?.1);
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse().ok();
        Some(Self {
            pid,
            name: name.into(),
            state: fields.first()?.chars().next()?,
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            foreground: number(5)?,
        })
    }

    pub fn all() -> Vec<Self> {
        let pids =
            fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(Self::find).collect()
    }

    pub fn children(pid: i32) -> Vec<Self> {
        Self::all().into_iter().filter(|process| process.parent == pid).collect()
    }
}

/// wrapper's only child, once its helper is done. That one has the lowest priority, and a busy machine takes long.
#[track_caller]
pub fn command_of(wrapper: i32) -> Process {
    let deadline = Instant::now() + HANGS;
    loop {
        match Process::children(wrapper).as_slice() {
            [command] => return command.clone(),
            children => assert!(Instant::now() < deadline, "not one child: {children:?}"),
        }
        thread::sleep(LOOK);
    }
}

pub fn is_alive(pid: i32) -> bool {
    Process::find(pid).is_some_and(|process| process.state != 'Z')
}

/// A line of `/proc/PID/status`, without its name.
pub fn status(pid: i32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().into()))
}

/// True if the process blocks SIGTERM, as wrapper does from the start of `main`.
pub fn blocks_sigterm(pid: i32) -> bool {
    let blocked = status(pid, "SigBlk").unwrap_or_default();
    u64::from_str_radix(&blocked, 16).is_ok_and(|mask| mask & 1 << (nix::libc::SIGTERM - 1) != 0)
}
