//! A server on loopback.

use crate::text;
use alloc::{string::String, sync::Arc, vec::Vec};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, PoisonError},
    thread,
};

/// An HTTP server that gives every request the same response, and records the requests.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Received>>>,
}

/// A recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Method, path and version: `POST /done HTTP/1.1`.
    pub line: String,
    /// Names and values, in the order of the request.
    pub headers: Vec<(String, String)>,
    /// The body, of the length given by `Content-Length`.
    pub body: String,
}

impl Received {
    /// The first value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

impl Server {
    /// Starts a server on a free port of loopback.
    ///
    /// # Panics
    ///
    /// If no port can be opened.
    pub fn answering(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let address = listener.local_addr().expect("the port has a number");
        let length = body.len();
        let response =
            text!("HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let requests = Arc::<Mutex<Vec<Received>>>::default();
        let seen = requests.clone();
        // The thread runs until the test's process exits.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(request) = receive(&stream) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                    let _ = (&stream).write_all(response.as_bytes());
                }
            }
        });
        Self { address, requests }
    }

    /// A URL on this server.
    pub fn url(&self, path: &str) -> String {
        text!("http://localhost:{}{path}", self.address.port())
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn receive(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(String::from(line)),
        }
    }
    let mut lines = lines.into_iter();
    let line = lines.next()?;
    let headers = lines.filter_map(|line| line.split_once(": ").map(|(name, value)| (name.into(), value.into())));
    let mut request = Received { line, headers: headers.collect(), body: String::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_string(&mut request.body).ok()?;
    Some(request)
}
