//! A server on loopback that answers as the test says.

use nix::libc;
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// A server that lives as long as this value, and the requests that came.
pub struct Peer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    open: Arc<Mutex<bool>>,
}

impl Peer {
    /// Answers every request with these bytes and closes.
    pub fn answering(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::start("127.0.0.1:0", move |mut stream, _| {
            let _ = stream.write_all(answer.as_bytes());
        })
    }

    /// Answers with a status and no body.
    pub fn with_status(status: u16) -> Self {
        Self::answering(&format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n"))
    }

    /// Handles each connection, whose request has been read up to the end of its head, in a thread of its own.
    pub fn start(address: &str, handle: impl Fn(TcpStream, &str) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind(address).expect("a free port"), handle)
    }

    /// The same on a socket that is already there.
    pub fn on(listener: TcpListener, handle: impl Fn(TcpStream, &str) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (requests, open, handle) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(Mutex::new(true)), Arc::new(handle));
        let (seen, running) = (requests.clone(), open.clone());
        thread::spawn(move || {
            while *running.lock().unwrap() {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let (seen, handle) = (seen.clone(), handle.clone());
                        stream.set_nonblocking(false).unwrap();
                        thread::spawn(move || {
                            let mut stream = stream;
                            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                            let head = read_request(&mut stream);
                            seen.lock().unwrap().push(head.clone());
                            handle(stream, &head);
                        });
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(2)),
                    Err(_) => break,
                }
            }
        });
        Self { address, requests, open }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port())
    }

    /// The requests so far, each as it came over the wire, with as much of the body as came with its head.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        *self.open.lock().unwrap() = false;
    }
}

/// Reads to the end of the head, and the body that its length announces.
pub fn read_request(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline && !is_complete(&bytes) {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_complete(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length: Option<usize> = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    request.len() - (end + 4) >= length.unwrap_or(0)
}

/// Closes with a reset instead of a farewell.
pub fn reset(stream: TcpStream) {
    set_option(&stream, libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 });
}

/// Sets an option of a socket, whose value is of the type that the option has.
#[allow(unsafe_code)]
pub fn set_option<T: Copy>(stream: &TcpStream, level: i32, option: i32, value: &T) {
    let (value, size) = (std::ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t);
    // SAFETY: the value is live and of that size; the kernel only reads it.
    assert_eq!(unsafe { libc::setsockopt(stream.as_raw_fd(), level, option, value, size) }, 0);
}

/// A server whose queue is full: who connects to it now is neither let in nor refused, like one behind a network that
/// swallows packets.
pub struct Silent {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl Silent {
    #[allow(unsafe_code)]
    pub fn on(listener: TcpListener) -> Self {
        // SAFETY: listen(2) takes two numbers; on a socket that listens it sets the length of its queue.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let address = listener.local_addr().unwrap();
        // The queue of none takes one or two; whoever comes then is not heard.
        let queued: Vec<_> =
            (0..8).map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok()).collect();
        assert!(queued.len() < 8, "the queue has no end");
        Self { listener, _queued: queued }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }
}

/// Keeps the connection, and silence, until the other side closes it.
pub fn hold(mut stream: TcpStream) {
    let _ = stream.set_read_timeout(None);
    while let Ok(1..) = stream.read(&mut [0; 4096]) {}
}

/// A port on which nobody listens.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
