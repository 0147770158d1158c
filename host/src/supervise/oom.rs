//! Supervisor: its own value for the out-of-memory killer (proc_pid_oom_score_adj(5)).
//!
//! Since Kubernetes 1.28 the kernel kills a container that runs out of memory as a whole (memory.oom.group), wrapper
//! included. It spares processes with the lowest value, which takes a capability to set.

use crate::{log, text::strerror};
use rustix::{
    fs::{Mode, OFlags, open},
    io::{Errno, read, write},
    thread::{CapabilitySet, capabilities},
};

const FILE: &str = "/proc/self/oom_score_adj";

/// With it a process is never killed.
const LOWEST: &[u8] = b"-1000";

/// The value that wrapper was started with.
pub struct Inherited {
    text: [u8; 8],
    length: usize,
}

/// Has the kernel spare wrapper, where wrapper may ask for that. The command must get back what this returns. Where it
/// is spared already, because the command has a cgroup of its own, the log does not say that it may not ask.
pub fn spare_wrapper(is_spared: bool) -> Option<Inherited> {
    let capable = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE));
    let lowered = if capable { lower() } else { Err(Errno::PERM) };
    match lowered {
        Ok(inherited) => {
            log::debug(|| "the OOM killer spares wrapper: its oom_score_adj is -1000".into());
            Some(inherited)
        }
        Err(_) if is_spared => None,
        Err(errno) => {
            log::debug(|| {
                let why = if capable { strerror(errno) } else { "no CAP_SYS_RESOURCE".into() };
                format!("the OOM killer can kill wrapper together with the command: {why}")
            });
            None
        }
    }
}

fn lower() -> Result<Inherited, Errno> {
    let file = open(FILE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mut inherited = Inherited { text: [0; 8], length: 0 };
    inherited.length = read(&file, &mut inherited.text)?;
    write(&file, LOWEST)?;
    Ok(inherited)
}

impl Inherited {
    /// Gives this process the value again: system calls and nothing else. Raising it takes no capability, and with one
    /// the kernel does not let the process lower it again.
    pub fn restore(&self) -> Result<(), Errno> {
        let file = open(FILE, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        write(&file, self.text.get(..self.length).unwrap_or_default()).map(drop)
    }
}
