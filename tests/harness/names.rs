//! DNS: a container's own hosts file and resolv.conf, and a name server on loopback.

use super::{network, skipped, wrapper};
use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

/// A name server's response to a query.
pub enum Answer {
    /// These of the kind that was asked for.
    Addresses(Vec<IpAddr>),
    NoSuchName,
    /// This code (RCODE).
    Error(u8),
    Silence,
}

impl Answer {
    pub fn address(address: &str) -> Self {
        Self::Addresses(vec![address.parse().unwrap()])
    }
}

/// A name server on an address of loopback.
pub struct NameServer {
    address: IpAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// The kinds of questions, as DNS numbers them.
const A: u16 = 1;
const AAAA: u16 = 28;

impl NameServer {
    /// The function is given the name and whether IPv6 addresses are asked for.
    fn start(answer: impl FnMut(&str, bool) -> Answer + Send + 'static) -> Self {
        Self::on(Ipv4Addr::new(127, 53, 53, 1).into(), answer)
    }

    /// The same on this address.
    pub fn on(address: IpAddr, mut answer: impl FnMut(&str, bool) -> Answer + Send + 'static) -> Self {
        let socket = UdpSocket::bind((address, 53)).expect("port 53 is free");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let names = asked.clone();
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let question = Question::read(&buffer[..length]);
                names.lock().unwrap().push(question.name.clone());
                if let Some(bytes) = question.answer(answer(&question.name, question.kind == AAAA)) {
                    let _ = socket.send_to(&bytes, client);
                }
            }
        });
        Self { address, asked }
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The names that were asked for, each as often as it was.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// A wrapper whose container has this name server, and a hosts file.
    pub fn wrapper(&self, hosts: &str) -> Command {
        wrapper_with(hosts, &format!("nameserver {}\n", self.address))
    }

    /// The same with these lines in resolv.conf as well.
    pub fn wrapper_with_lines(&self, lines: &str) -> Command {
        wrapper_with("", &format!("nameserver {}\n{lines}", self.address))
    }
}

/// A wrapper whose container has these files. Bytes that are no text are written as printf(1) reads them.
pub fn wrapper_with(hosts: &str, resolv_conf: &str) -> Command {
    let inner = wrapper();
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs none /sys && printf \"$HOSTS\" >/sys/hosts && printf \"$RESOLV\" >/sys/resolv.conf && \
                  mount --bind /sys/resolv.conf /etc/resolv.conf && mount --bind /sys/hosts /etc/hosts && \
                  exec \"$0\" \"$@\"";
    command.args(["--mount", "sh", "-c", script]).arg(inner.get_program()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("HOSTS", hosts).env("RESOLV", resolv_conf);
    command
}

/// True if a container can have files of its own here; if not, that is reported, and an error in CI.
pub fn can_have_files() -> bool {
    let can = Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|output| output.status.success());
    if !can {
        skipped("hosts and resolv.conf of its own need a mount namespace, which only root can make");
        assert!(std::env::var_os("CI").is_none(), "CI must test with files of its own");
    }
    can
}

/// Runs the test with a name server, or skips it where none can be had; never in CI. They are in a network of their
/// own, where port 53 is free and no address but loopback's can be reached by mistake.
pub fn with_name_server(
    answer: impl FnMut(&str, bool) -> Answer + Send + 'static,
    test: impl FnOnce(&NameServer) + Send,
) {
    network::alone(|| {
        if can_have_files() {
            test(&NameServer::start(answer));
        }
    });
}

struct Question {
    id: [u8; 2],
    /// As it was sent, and comes back in the answer.
    bytes: Vec<u8>,
    name: String,
    kind: u16,
}

impl Question {
    fn read(message: &[u8]) -> Self {
        let (mut at, mut labels) = (12, Vec::new());
        while message[at] != 0 {
            let length = usize::from(message[at]);
            labels.push(String::from_utf8_lossy(&message[at + 1..at + 1 + length]).into_owned());
            at += length + 1;
        }
        let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
        let bytes = message[12..at + 5].to_vec();
        Self { id: [message[0], message[1]], bytes, name: labels.join("."), kind }
    }

    fn answer(&self, answer: Answer) -> Option<Vec<u8>> {
        let (addresses, code) = match answer {
            Answer::Addresses(addresses) => (addresses, 0),
            Answer::NoSuchName => (Vec::new(), 3),
            Answer::Error(code) => (Vec::new(), code),
            Answer::Silence => return None,
        };
        let records: Vec<Vec<u8>> = addresses
            .into_iter()
            .filter_map(|address| match (address, self.kind) {
                (IpAddr::V4(ip), A) => Some(ip.octets().to_vec()),
                (IpAddr::V6(ip), AAAA) => Some(ip.octets().to_vec()),
                _ => None,
            })
            .collect();
        let mut message = self.id.to_vec();
        message.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        message.extend(&self.bytes);
        for address in records {
            message.extend([0xc0, 12]);
            message.extend(self.kind.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 0, 0, address.len() as u8]);
            message.extend(address);
        }
        Some(message)
    }
}
