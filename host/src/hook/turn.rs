//! One after the other: of the processes that compile beside the command only one is at work, so that ten hooks take no
//! more memory than one.

use super::memfd;
use rustix::fs::{FlockOperation, fcntl_lock};
use std::{fs::File, io, os::fd::AsRawFd};

/// Held by whoever's turn it is, as a lock that the kernel gives back when its process ends, however that happens.
pub struct Turn(File);

impl Turn {
    pub fn new() -> io::Result<Self> {
        let file = memfd::create("turn")?;
        // Nobody is to keep anything in it.
        memfd::seal(&file)?;
        Ok(Self(file))
    }

    /// Waits for this process's turn, which ends with it.
    pub fn wait(&self) {
        let _ = fcntl_lock(&self.0, FlockOperation::LockExclusive);
    }

    pub fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
