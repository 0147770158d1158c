//! A witness with a folder for its socket, and peers that speak its protocol, or do not.

use super::{Done, Run, Running, eventually, wrapper};
use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send, socket_with},
};
use std::{path::PathBuf, process::Command};

pub struct Witness {
    pub run: Running,
    folder: tempfile::TempDir,
}

/// A wrapper's own process that is killed, as the kernel kills it with its container.
pub const KILL: i32 = nix::libc::SIGKILL;

impl Witness {
    /// Starts one, which listens then.
    pub fn start(options: &[&str]) -> Self {
        Self::with(options, &[])
    }

    /// The same with variables.
    pub fn with(options: &[&str], env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let mut command = wrapper().with(&["--log", "debug", "--witness", socket.to_str().unwrap()]).with(options);
        command.envs(env.iter().copied());
        let mut run = command.running();
        run.until_stderr_has("wrapper: the witness listens\n");
        Self { run, folder }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// A wrapper that has this witness.
    pub fn wrapper(&self, options: &[&str]) -> Command {
        let mut command = wrapper().with(&["--log", "debug"]).with(options);
        command.env("WRAPPER_WITNESS", self.socket());
        command
    }

    /// The same for a container of that name.
    pub fn named(&self, name: &str, options: &[&str]) -> Command {
        let mut command = self.wrapper(options);
        command.env("WRAPPER_WITNESS_NAME", name);
        command
    }

    pub fn log(&self) -> String {
        self.run.stderr_so_far()
    }

    #[track_caller]
    pub fn until_log_has(&mut self, text: &str) {
        self.run.until_stderr_has(text);
    }

    /// Tells it to stop as the kubelet does, and waits for its end.
    pub fn stop(self) -> Done {
        self.run.signal(nix::libc::SIGTERM);
        self.run.done()
    }

    /// A connection without a wrapper.
    pub fn peer(&self) -> RawPeer {
        let address = SocketAddrUnix::new(self.socket()).unwrap();
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        connect(&socket, &address).unwrap();
        RawPeer(socket)
    }
}

pub struct RawPeer(OwnedFd);

impl RawPeer {
    /// Whether the message could be sent: not if the witness has closed the connection.
    pub fn send(&self, message: &[u8]) -> bool {
        send(&self.0, message, SendFlags::NOSIGNAL).is_ok()
    }

    /// The next reply; nothing at the end of the connection.
    pub fn reply(&self) -> Option<u8> {
        let mut byte = [0];
        match recv(&self.0, &mut byte, rustix::net::RecvFlags::empty()) {
            Ok((1, _)) => Some(byte[0]),
            _ => None,
        }
    }
}

/// How often `echo` has run, according to this log.
pub fn echoes(log: &str) -> usize {
    log.matches("wrapper: echo: ").count()
}

/// Waits until a wrapper is registered and its command runs.
#[track_caller]
pub fn until_registered(run: &mut Running) {
    run.until_stderr_has("wrapper: registered with the witness\n");
    run.until_stderr_has("wrapper: started ");
}

/// Waits until a condition on the witness's log holds.
#[track_caller]
pub fn until(witness: &Witness, what: &str, condition: impl Fn(&str) -> bool) {
    eventually(what, || condition(&witness.log()));
}
