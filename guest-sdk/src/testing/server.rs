//! A server on loopback.

use crate::text;
use alloc::{collections::VecDeque, string::String, sync::Arc, vec::Vec};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, PoisonError},
    thread,
};

/// An HTTP server that records the requests.
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
    /// Starts a server on a free port of loopback that gives every request the same response.
    ///
    /// # Panics
    ///
    /// If no port can be opened.
    pub fn answering(status: u16, body: &str) -> Self {
        Self::answering_in_turn([(status, body)])
    }

    /// Starts a server that gives the first request the first response, and so on; the last one is repeated.
    ///
    /// ```
    /// # use wrapper_hook::{http, testing::Server};
    /// let server = Server::answering_in_turn([(503, ""), (200, "thanks")]);
    /// let status = || http::get(&server.url("/")).send().unwrap().status();
    /// assert_eq!([status(), status(), status()], [503, 200, 200]);
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no response, or if no port can be opened.
    pub fn answering_in_turn<'a>(responses: impl IntoIterator<Item = (u16, &'a str)>) -> Self {
        let mut responses: VecDeque<_> = responses.into_iter().map(response).collect();
        assert!(!responses.is_empty(), "a server needs a response");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let address = listener.local_addr().expect("the port has a number");
        let requests = Arc::<Mutex<Vec<Received>>>::default();
        let seen = requests.clone();
        // The thread runs until the test's process exits.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Some(request) = receive(&stream) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                    if let Some(response) = responses.front() {
                        let _ = (&stream).write_all(response.as_bytes());
                    }
                    if responses.len() > 1 {
                        responses.pop_front();
                    }
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

fn response((status, body): (u16, &str)) -> String {
    let length = body.len();
    text!("HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
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
