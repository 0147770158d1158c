//! Servers that users have, from Debian's packages.

use super::{Run, Running, eventually, peer::free_port, skipped};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};

/// A server that is ready. It is killed with the value.
pub struct Server {
    _run: Running,
    _folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// Prometheus' Pushgateway; none if it is not installed.
    pub fn pushgateway() -> Option<Self> {
        Self::start("prometheus-pushgateway", |_| Vec::new())
    }

    /// Prometheus' Alertmanager.
    pub fn alertmanager() -> Option<Self> {
        Self::start("prometheus-alertmanager", |folder| {
            let config = folder.join("config.yaml");
            fs::write(&config, "{route: {receiver: nobody}, receivers: [{name: nobody}]}").unwrap();
            let (config, folder) = (config.display(), folder.display());
            vec![
                format!("--config.file={config}"),
                format!("--storage.path={folder}"),
                "--cluster.listen-address=".into(),
            ]
        })
    }

    fn start(package: &str, options: impl Fn(&Path) -> Vec<String>) -> Option<Self> {
        let program = Path::new("/usr/bin").join(package);
        if !program.exists() {
            skipped(&format!("{package} is not installed; `tests/run tools` installs it as root"));
            return None;
        }
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let mut command = Command::new(program);
        command.args(options(folder.path())).arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let server = Self { _run: command.running(), _folder: folder, port };
        eventually(&format!("{package} is ready"), || server.get("/-/ready").starts_with("HTTP/1.0 200"));
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The response to a request, with its head.
    pub fn get(&self, path: &str) -> String {
        let mut response = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
            let _ = stream.read_to_string(&mut response);
        }
        response
    }
}
