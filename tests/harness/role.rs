//! The two ways in which wrapper is run: as any process, and as PID 1 of a container.

use super::{Running, eventually, processes::Process, skipped, wrapper};
use std::{
    process::{Command, Stdio},
    sync::OnceLock,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Process,
    /// PID 1 of a namespace of its own, with a `/proc` of its own, seen and signalled from outside.
    Init,
}

/// Holds a promise in both roles.
pub fn in_both_roles(mut promise: impl FnMut(Role)) {
    promise(Role::Process);
    if namespace().is_some() {
        promise(Role::Init);
    }
}

impl Role {
    pub fn wrapper(self) -> Command {
        self.program(wrapper())
    }

    /// Any program in that role.
    pub fn program(self, program: Command) -> Command {
        match (self, namespace()) {
            (Self::Init, Some(options)) => {
                let mut command = Command::new("unshare");
                command.args(options).arg(program.get_program()).args(program.get_args()).env_clear();
                command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
                command.stdin(Stdio::null());
                command
            }
            _ => program,
        }
    }

    /// The program's own process ID, once it is there.
    #[track_caller]
    pub fn pid(self, running: &Running) -> i32 {
        let mut pid = running.pid();
        if self == Self::Init {
            let unshare = running.pid();
            eventually("the namespace is there", || {
                let first = Process::children(unshare).into_iter().find(|process| process.name != "unshare");
                pid = first.as_ref().map_or(0, |process| process.pid);
                first.is_some()
            });
        }
        pid
    }
}

/// unshare(1) for a PID namespace: as root, or with a user namespace.
fn namespace() -> Option<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] = [&["-pf", "--mount-proc", "--kill-child"], &["-rpf", "--mount-proc", "--kill-child"]];
    static FOUND: OnceLock<Option<&'static [&'static str]>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let works = |options: &[&str]| {
            Command::new("unshare").args(options).arg("true").output().is_ok_and(|output| output.status.success())
        };
        let way = WAYS.into_iter().find(|options| works(options));
        if way.is_none() {
            skipped("the wrapper as PID 1: `unshare -pf --mount-proc` is not permitted here");
            assert!(std::env::var_os("CI").is_none(), "CI must test the wrapper as PID 1");
        }
        way
    })
}
