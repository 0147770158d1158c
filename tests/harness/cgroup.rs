//! A cgroup of the test's own, in version 1 or 2.

use super::Run;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

pub struct Cgroup(PathBuf);

impl Cgroup {
    /// With one limit: a file and what is written to it, for version 1's controller and for version 2. Nothing if none may
    /// be made here.
    pub fn limited(name: &str, controller: &str, first: (&str, &str), second: (&str, &str)) -> Option<Self> {
        let name = format!("wrapper-test-{name}-{}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        let (parent, (file, limit)) = match root.join(controller) {
            of_controller if of_controller.exists() => (of_controller, first),
            _ => (root.into(), second),
        };
        let made = Self(parent.join(name));
        fs::create_dir(&made.0).ok()?;
        fs::write(made.0.join(file), limit).ok()?;
        Some(made)
    }

    /// Has the command's process join it first.
    pub fn holding(&self, run: Command) -> Command {
        let processes = self.0.join("cgroup.procs");
        run.first(move || fs::write(&processes, "0"))
    }

    pub fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.0.join(file)).ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
