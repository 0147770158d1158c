//! Requests through the operating system, the transport of a hook in a native test.

use super::{ErrorKind, Failure, HTTP, split};
use crate::{
    testing, text,
    values::{FORBIDDEN_HEADERS, choice},
};
use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};
use core::time::Duration;
use std::{
    io::{self, Read},
    thread::{self, JoinHandle},
    time::Instant,
};
use ureq::http::{Request, Response, header::HeaderMap};

/// The pause between two looks at a thread.
const LOOK: Duration = Duration::from_millis(1);

/// Headers and body of a request.
#[derive(Debug)]
pub struct RequestParts {
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// A request that a thread sends.
#[derive(Debug)]
pub struct Started {
    sent: JoinHandle<Result<Incoming, Failure>>,
    deadline: Deadline,
}

/// The end of a timeout on the clock of the hook, which has one of its own.
#[derive(Clone, Copy, Debug)]
struct Deadline(Option<Duration>);

/// A response whose headers have arrived.
#[derive(Debug)]
pub struct Incoming {
    status: u16,
    headers: HeaderMap,
    body: core::cell::RefCell<Option<ureq::Body>>,
}

impl RequestParts {
    pub fn new() -> Self {
        Self { headers: Vec::new(), body: Vec::new() }
    }

    pub fn header(&mut self, name: &str, value: &[u8]) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    pub fn body(&mut self, bytes: Vec<u8>) {
        self.body = bytes;
    }
}

/// Sends a request.
pub fn start(method: &str, url: &str, parts: RequestParts, timeout: Duration) -> Result<Started, Failure> {
    let (method, url) = (method.to_owned(), url.to_owned());
    let deadline = Deadline::after(timeout);
    Ok(Started { sent: thread::spawn(move || exchange(&method, &url, parts, timeout)), deadline })
}

impl Started {
    /// Waits for the thread, and advances the clock of the hook if that takes longer.
    pub fn is_ready_within(&self, time: Duration) -> bool {
        let (began, before) = (Instant::now(), testing::host::passed());
        while !self.sent.is_finished() {
            let left = time.saturating_sub(began.elapsed());
            if left.is_zero() {
                testing::host::pass_until(before.unwrap_or_default().saturating_add(time));
                return false;
            }
            thread::sleep(left.min(LOOK));
        }
        true
    }

    /// Waits for the response's headers.
    pub fn wait(self) -> Result<Incoming, Failure> {
        let Self { sent, deadline } = self;
        let result = sent.join().unwrap_or_else(|_| Err(Failure::from("the request failed")));
        result.map_err(|failure| deadline.passed_by(failure))
    }
}

impl Deadline {
    fn after(timeout: Duration) -> Self {
        Self(testing::host::passed().map(|now| now.saturating_add(timeout)))
    }

    /// Advances the clock if the failure is a timeout.
    fn passed_by(self, failure: Failure) -> Failure {
        if let (ErrorKind::Timeout, Some(time)) = (failure.kind, self.0) {
            testing::host::pass_until(time);
        }
        failure
    }
}

fn exchange(method: &str, url: &str, parts: RequestParts, timeout: Duration) -> Result<Incoming, Failure> {
    let (scheme, ..) = split(url)?;
    if scheme != HTTP {
        return Err(Failure::from("a native test speaks plain HTTP only"));
    }
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in parts.headers {
        let error = |why| Failure { kind: ErrorKind::Invalid, reason: text!("header \"{name}\" {why}").into() };
        if choice(&name, &FORBIDDEN_HEADERS).is_some() {
            return Err(error("is set by the host"));
        }
        request = request.header(name.as_str(), value.as_slice());
        if request.headers_ref().is_none() {
            return Err(error("is malformed"));
        }
    }
    let request =
        request.body(parts.body).map_err(|_| Failure::new(ErrorKind::Invalid, "the URL or the method is malformed"))?;
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .allow_non_standard_methods(true)
        .proxy(None)
        .timeout_global(Some(timeout));
    let response: Response<ureq::Body> = ureq::Agent::new_with_config(config.build()).run(request).map_err(failure)?;
    let (head, body) = response.into_parts();
    Ok(Incoming { status: head.status.as_u16(), headers: head.headers, body: Some(body).into() })
}

impl Incoming {
    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn header(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.headers.get(name)?.as_bytes().to_owned())
    }

    /// Reads at most `limit` bytes of the body.
    pub fn read(&self, limit: usize, timeout: Duration) -> Result<Vec<u8>, Failure> {
        let body = self.body.take().ok_or(Failure::from("the body was read before"))?;
        let mut bytes = Vec::new();
        match Box::new(body.into_reader()).take(limit as u64).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                let failure = Failure::new(ErrorKind::Timeout, "the body did not arrive in time");
                Err(Deadline::after(timeout).passed_by(failure))
            }
            Err(_) => Err(Failure::new(ErrorKind::BrokenOff, "the body is incomplete")),
        }
    }
}

fn failure(error: ureq::Error) -> Failure {
    let (kind, reason) = match error {
        ureq::Error::Timeout(_) => (ErrorKind::Timeout, "no response in time"),
        ureq::Error::HostNotFound => (ErrorKind::Unresolved, "no such host"),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => (ErrorKind::Invalid, "the URL or the method is malformed"),
        ureq::Error::Protocol(_) => (ErrorKind::Protocol, "the response is not valid HTTP"),
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => (ErrorKind::Refused, "connection refused"),
            io::ErrorKind::TimedOut => (ErrorKind::Timeout, "no response in time"),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                (ErrorKind::Closed, "the connection was closed before a response arrived")
            }
            _ => (ErrorKind::Unreachable, "the host cannot be reached"),
        },
        _ => (ErrorKind::Other, "the request failed"),
    };
    Failure::new(kind, reason)
}
