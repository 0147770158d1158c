//! Real servers that a command may have to wait for: PostgreSQL, Redis, and one with gRPC's health service.

use super::{peer::free_port, repository, skipped};
use nix::unistd::{Uid, User};
use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::{fs::chown, process::CommandExt},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
};

/// A server that is killed with the value, and its folder after it.
pub struct Server {
    child: Child,
    _folder: Option<tempfile::TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A database that is set up and not started yet.
pub struct PostgreSql {
    programs: PathBuf,
    folder: tempfile::TempDir,
    pub port: u16,
}

impl PostgreSql {
    /// Debian's, or nothing, which is reported.
    pub fn new() -> Option<Self> {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let Some(programs) = versions.map(|entry| entry.path().join("bin")).find(|bin| bin.join("initdb").exists())
        else {
            skipped("PostgreSQL is not installed; `tests/run tools` does that");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let mut database = Self { programs, folder, port: 0 };
        if let Some(user) = user() {
            chown(database.folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let mut initdb = database.program("initdb");
        let set_up = initdb.args(["--no-sync", "--auth=trust", "-D"]).arg(database.data()).output().unwrap();
        assert!(set_up.status.success(), "{set_up:?}");
        // Not earlier: until the server starts any other process may be given this port.
        database.port = free_port();
        Some(database)
    }

    pub fn start(self) -> Server {
        let (mut postgres, port) = (self.program("postgres"), self.port.to_string());
        postgres.args(["-F", "-h", "127.0.0.1", "-p", &port, "-k", "", "-D"]).arg(self.data());
        Server { child: quietly(&mut postgres).unwrap(), _folder: Some(self.folder) }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of its programs, by a user that is not root, as they want it.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.env_clear().env("LC_ALL", "C").current_dir(self.folder.path());
        if let Some(user) = user() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

fn quietly(command: &mut Command) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Whom root becomes for what refuses to run as root.
fn user() -> Option<User> {
    Uid::effective().is_root().then(|| User::from_name("nobody").unwrap().expect("the user nobody"))
}

/// Debian's Redis on this port, or nothing, which is reported.
pub fn redis(port: u16) -> Option<Server> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]).current_dir(folder.path());
    match quietly(&mut command) {
        Ok(child) => Some(Server { child, _folder: Some(folder) }),
        Err(_) => {
            skipped("Redis is not installed; `tests/run tools` does that");
            None
        }
    }
}

/// A gRPC server: Google's, for Python.
pub struct Grpc {
    _server: Server,
    health: ChildStdin,
    pub port: u16,
}

impl Grpc {
    /// With its health service, which reports NOT_SERVING until it is told otherwise.
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn without_health_service() -> Self {
        Self::with(&["--bare"])
    }

    fn with(options: &[&str]) -> Self {
        let library = repository("target/test-tools/grpc");
        assert!(library.join("grpc_health").exists(), "no gRPC; `tests/run` installs what the tests need");
        let mut command = Command::new("python3");
        command.arg("-B").arg(repository("tests/harness/health.py")).args(options).env("PYTHONPATH", library);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("python3 starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("the server has no port: {line:?}"));
        let health = child.stdin.take().unwrap();
        Self { _server: Server { child, _folder: None }, health, port }
    }

    /// Sets the status of a service; `-` is the server as a whole.
    pub fn set(&mut self, service: &str, status: &str) {
        writeln!(self.health, "{service} {status}").unwrap();
    }
}
