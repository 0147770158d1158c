//! A pseudoterminal with an interactive shell in it, and the keys that a user would type.

use super::{LOOK, eventually, kill, processes::Process, programs, wrapper};
use nix::{
    fcntl::OFlag,
    libc,
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr},
};
use std::{
    cell::RefCell,
    fs::File,
    io::{Read, Write},
    os::{
        fd::OwnedFd,
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";
pub const CTRL_S: &str = "\x13";
pub const CTRL_Z: &str = "\x1a";

pub struct Terminal {
    keyboard: Option<File>,
    screen: RefCell<Vec<u8>>,
    leader: Child,
}

impl Terminal {
    /// A bash with job control. `$wrapper` and `$child` are programs there.
    pub fn with_shell() -> Self {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile", "--noediting", "-i"]).env_clear();
        bash.envs(wrapper().get_envs().filter_map(|(name, value)| Some((name, value?))));
        bash.env("PS1", "$ ").env("wrapper", env!("CARGO_BIN_EXE_wrapper")).env("child", programs::child());
        Self::with(bash)
    }

    /// Any program as the leader of the terminal's session, as in `docker run -t`.
    #[allow(unsafe_code)]
    pub fn with(mut leader: Command) -> Self {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let mut open = File::options();
        open.read(true).write(true).custom_flags(libc::O_NOCTTY);
        let line = open.open(ptsname_r(&master).unwrap()).unwrap();
        // No echo of the input, so that a test finds only the output.
        let mut settings = tcgetattr(&line).unwrap();
        settings.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&line, SetArg::TCSANOW, &settings).unwrap();
        leader.stdin(line.try_clone().unwrap()).stdout(line.try_clone().unwrap()).stderr(line);
        // SAFETY: setsid(2) and ioctl(2) may be called after a fork.
        unsafe {
            leader.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let leader = leader.spawn().expect("the leader starts");
        Self { keyboard: Some(OwnedFd::from(master).into()), screen: RefCell::default(), leader }
    }

    pub fn types(&mut self, keys: &str) {
        self.keyboard.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    pub fn enters(&mut self, line: &str) {
        self.types(&format!("{line}\n"));
    }

    /// Everything that was shown so far.
    pub fn shows(&self) -> String {
        let mut screen = self.screen.borrow_mut();
        if let Some(mut keyboard) = self.keyboard.as_ref() {
            // Ends when there is no more for now, or when nobody is left at the other end.
            let _ = keyboard.read_to_end(&mut screen);
        }
        String::from_utf8_lossy(&screen).into_owned()
    }

    #[track_caller]
    pub fn until_it_shows(&self, text: &str) {
        self.until_it_shows_times(1, text);
    }

    #[track_caller]
    pub fn until_it_shows_times(&self, times: usize, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.shows().matches(text).count() < times {
            assert!(Instant::now() < deadline, "{text:?} was not shown: {:?}", self.shows());
            thread::sleep(LOOK);
        }
    }

    /// The one process of that name in this terminal, once it is there.
    #[track_caller]
    pub fn process(&self, name: &str) -> Process {
        let session = self.leader.id() as i32;
        let mut found = Vec::new();
        eventually(&format!("one {name} in the terminal"), || {
            found = Process::all().into_iter().filter(|it| it.session == session && it.name == name).collect();
            found.len() == 1
        });
        found.remove(0)
    }

    /// Takes the terminal away.
    pub fn hang_up(&mut self) {
        self.keyboard = None;
    }

    /// Waits for a state in /proc: `T` is stopped.
    #[track_caller]
    pub fn until_state(&self, name: &str, state: &[char]) {
        eventually(&format!("{name} in state {state:?}; {:?}", self.shows()), || {
            state.contains(&self.process(name).state)
        });
    }

    /// The leader's exit code, once it has ended.
    #[track_caller]
    pub fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the leader's end", || {
            status = self.leader.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    pub fn has_ended(&mut self) -> bool {
        self.leader.try_wait().unwrap().is_some()
    }

    pub fn leader_group(&self) -> i32 {
        self.leader.id() as i32
    }

    /// The foreground group.
    pub fn foreground(&self) -> i32 {
        Process::find(self.leader.id() as i32).unwrap().foreground
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Stopped processes do not even hear that their terminal is gone.
        let session = self.leader.id() as i32;
        for process in Process::all().into_iter().filter(|process| process.session == session) {
            kill(process.pid, libc::SIGKILL);
        }
        let _ = self.leader.wait();
    }
}
