//! A real Envoy, whose admin interface stands where Istio's agent or Envoy's own would be.

use super::{eventually, repository};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

/// An Envoy that is ready. It is killed if the test ends before it has.
pub struct Envoy(Child);

impl Envoy {
    pub fn start(port: u16) -> Self {
        let binary = repository("target/test-tools/envoy/envoy/_bin/envoy");
        assert!(binary.exists(), "no Envoy; `tests/run` installs what the tests need");
        let config = format!(
            "{{admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}, \
             static_resources: {{}}}}"
        );
        let child = Command::new(binary)
            .args(["--config-yaml", &config, "--disable-hot-restart", "--concurrency", "1", "--log-level", "off"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Envoy starts");
        let envoy = Self(child);
        eventually("Envoy is ready", || get(port, "/ready").contains("LIVE"));
        envoy
    }

    /// The exit code, if it ends within ten seconds.
    pub fn exit_code(mut self) -> Option<i32> {
        let mut code = None;
        eventually("Envoy exits", || {
            code = self.0.try_wait().unwrap().map(|status| status.code());
            code.is_some()
        });
        code.flatten()
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(port: u16, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let _ = write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}
