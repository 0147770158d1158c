//! A small blocking HTTP client: one request, one response, no redirects, no persistent connections.
//!
//! Hooks may connect to the addresses allowed by `--allow-http`; the default is plain HTTP to loopback.
//!
//! ```no_run
//! # fn run() -> wrapper_hook::Result {
//! use wrapper_hook::http;
//!
//! http::post("http://localhost:9091/metrics/job/backup")
//!     .header("Content-Type", "text/plain")
//!     .body("backup_done 1\n")
//!     .timeout_secs(2)
//!     .send()?
//!     .ok()
//! # }
//! ```

#[cfg(target_family = "wasm")]
mod abi;
#[cfg(any(test, target_family = "wasm"))]
#[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
mod error_code;
mod retry;
#[cfg(not(target_family = "wasm"))]
#[path = "http/native.rs"]
mod transport;
#[cfg(target_family = "wasm")]
#[path = "http/wasi.rs"]
mod transport;

pub use retry::{origin, send_with_retries, send_with_retries_if};

use crate::text;
use alloc::{
    borrow::{Cow, ToOwned},
    string::String,
    vec::Vec,
};
use core::time::Duration;

/// The default timeout of a request: within the ten seconds that a hook has by default, it leaves time for a second
/// attempt.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

const HTTP: &str = "http://";
const HTTPS: &str = "https://";

/// A request, built step by step and sent by [`send`](Self::send).
#[derive(Debug)]
#[must_use = "`send` sends the request"]
pub struct Request {
    method: String,
    url: String,
    parts: transport::RequestParts,
    timeout: Duration,
}

/// A request that is being sent.
#[derive(Debug)]
#[must_use = "`wait` returns the response"]
pub struct Pending {
    url: String,
    timeout: Duration,
    started: Result<transport::Started, Failure>,
}

/// The response to a request: status and headers have arrived, the body is read on demand.
#[derive(Debug)]
pub struct Response {
    url: String,
    timeout: Duration,
    incoming: transport::Incoming,
}

/// The reason why there is no response. `?` turns it into the hook's error, whose text names the URL, without its
/// query, and how to fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The kind of the error, for decisions.
    pub kind: ErrorKind,
    text: String,
    /// Index in the text at which the reason begins.
    reason: usize,
}

/// Kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL, a header or the method is malformed, or the header is one that a hook may not set. Nothing was sent.
    Invalid,
    /// The operator did not allow this address. Nothing was sent.
    Denied,
    /// The name could not be resolved. Nothing was sent.
    Unresolved,
    /// The host cannot be reached, or not in time. Nothing was sent.
    Unreachable,
    /// The connection was refused. Nothing was sent.
    Refused,
    /// A connection was made, but no response arrived in time.
    Timeout,
    /// The connection was closed after the request was sent and before a response arrived.
    Closed,
    /// The TLS handshake failed, or the certificate is not trusted. Nothing was sent.
    Tls,
    /// The response ended before its body was complete.
    BrokenOff,
    /// The response is not valid HTTP.
    Protocol,
    /// Any other error; the text describes it.
    Other,
}

/// A GET request. The URL is `http://` or `https://`, a host, and optionally port, path and query; white space around
/// it is ignored.
pub fn get(url: &str) -> Request {
    Request::new("GET", url)
}

/// A POST request. Without a body it is sent with `Content-Length: 0`.
pub fn post(url: &str) -> Request {
    Request::new("POST", url)
}

/// A PUT request.
pub fn put(url: &str) -> Request {
    Request::new("PUT", url)
}

/// A request with any method, in capital letters: `request("DELETE", url)`.
pub fn request(method: &str, url: &str) -> Request {
    Request::new(method, url)
}

impl Request {
    fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.to_owned(),
            url: url.trim_ascii().to_owned(),
            parts: transport::RequestParts::new(),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Adds a header. `Host`, `Content-Length`, `Transfer-Encoding` and the headers of a single connection (hop-by-hop)
    /// are set by the host; adding one makes [`send`](Self::send) fail.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.parts.header(name, value.as_ref());
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.parts.body(body.into());
        self
    }

    /// Limits the time from sending until the response's headers have arrived, and separately the time for reading its
    /// body. The default is [`DEFAULT_TIMEOUT`]; the host shortens it to the time that the hook has left.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// [`timeout`](Self::timeout) in seconds.
    pub fn timeout_secs(self, seconds: u64) -> Self {
        self.timeout(Duration::from_secs(seconds))
    }

    /// Sends the request and waits for the response's status and headers. A response of any status is `Ok`: see
    /// [`Response::ok`].
    ///
    /// # Errors
    ///
    /// If there is no response: [`Error::kind`] has the reason.
    pub fn send(self) -> Result<Response, Error> {
        self.start().wait()
    }

    /// Starts to send the request, for several at the same time:
    ///
    /// ```no_run
    /// # use wrapper_hook::http;
    /// let urls = ["http://localhost:15020/", "http://localhost:4191/"];
    /// // All are started before the first is waited for.
    /// let pending: Vec<_> = urls.iter().map(|url| http::get(url).start()).collect();
    /// let responses: Vec<_> = pending.into_iter().map(http::Pending::wait).collect();
    /// ```
    ///
    /// Its time begins now. The host sends eight at the same time, and the others as these end; a body is handed over
    /// to the host before this returns.
    pub fn start(self) -> Pending {
        let Self { method, url, parts, timeout } = self;
        let started = transport::start(&method, &url, parts, timeout);
        Pending { url, timeout, started }
    }
}

impl Pending {
    /// Waits for at most `time` until [`wait`](Self::wait) returns at once. This lets a loop over several requests
    /// handle those that are ready and keep waiting for a slow one.
    ///
    /// ```no_run
    /// # use core::time::Duration;
    /// # use wrapper_hook::http;
    /// let pending = http::post("http://localhost:4191/shutdown").start();
    /// while !pending.is_ready_within(Duration::from_millis(100)) {
    ///     // Something else.
    /// }
    /// let response = pending.wait();
    /// ```
    pub fn is_ready_within(&self, time: Duration) -> bool {
        self.started.as_ref().map_or(true, |started| started.is_ready_within(time))
    }

    /// Waits for the response's status and headers, as [`Request::send`] does.
    ///
    /// # Errors
    ///
    /// If there is no response: [`Error::kind`] has the reason.
    pub fn wait(self) -> Result<Response, Error> {
        let Self { url, timeout, started } = self;
        match started.and_then(transport::Started::wait) {
            Ok(incoming) => Ok(Response { url, timeout, incoming }),
            Err(failure) => Err(failure.at(&url)),
        }
    }
}

impl Response {
    /// The status code, such as 200.
    pub fn status(&self) -> u16 {
        self.incoming.status()
    }

    /// The first value of a header, if the response has it.
    pub fn header(&self, name: &str) -> Option<Vec<u8>> {
        self.incoming.header(name)
    }

    /// Turns any status but 2xx into an error.
    ///
    /// # Errors
    ///
    /// If the status is not 2xx: the text names the URL and the status.
    pub fn ok(&self) -> crate::Result {
        let status = self.status();
        if (200..300).contains(&status) {
            return Ok(());
        }
        Err(text!("\"{}\": answered {status}", without_query(&self.url)).into())
    }

    /// Reads the body, at most its first `limit` bytes.
    ///
    /// # Errors
    ///
    /// If the body is incomplete or does not arrive in time.
    pub fn body(self, limit: usize) -> Result<Vec<u8>, Error> {
        self.incoming.read(limit, self.timeout).map_err(|failure| failure.at(&self.url))
    }
}

impl Error {
    /// The error in one line, with the URL [without its query](without_query).
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The error without the URL, for URLs that are secrets.
    pub fn reason(&self) -> &str {
        self.text.get(self.reason..).unwrap_or_default()
    }
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error.kind {
            ErrorKind::Invalid | ErrorKind::Denied => Self::Misconfigured(error.text),
            _ => Self::Failed(error.text),
        }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.text)
    }
}

impl core::error::Error for Error {}

/// A URL without its query and fragment, for the log: they may contain a token.
///
/// ```
/// # use wrapper_hook::http;
/// assert_eq!(http::without_query("http://localhost:8080/ready?token=SECRET"), "http://localhost:8080/ready");
/// ```
pub fn without_query(url: &str) -> &str {
    let end = url.bytes().position(|byte| matches!(byte, b'?' | b'#'));
    url.get(..end.unwrap_or(url.len())).unwrap_or(url)
}

/// An error without its URL.
#[derive(Debug)]
struct Failure {
    kind: ErrorKind,
    reason: Cow<'static, str>,
}

impl Failure {
    fn new(kind: ErrorKind, reason: &'static str) -> Self {
        Self { kind, reason: reason.into() }
    }

    fn at(self, url: &str) -> Error {
        let Self { kind, reason } = self;
        let url = without_query(url);
        let text = text!("\"{url}\": {}", &*reason);
        // The reason begins behind the URL, two quotes, a colon and a space.
        Error { kind, text, reason: url.len() + 4 }
    }
}

impl From<&'static str> for Failure {
    fn from(reason: &'static str) -> Self {
        Self::new(ErrorKind::Other, reason)
    }
}

/// Splits a URL into scheme with `://`, authority, and path with query. The host validates the parts.
fn split(url: &str) -> Result<(&str, &str, String), Failure> {
    let invalid = || Failure::new(ErrorKind::Invalid, "not a URL of the form http://host:port/path");
    let is = |scheme: &&str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let scheme = [HTTP, HTTPS].into_iter().find(is).ok_or_else(invalid)?;
    // Compares bytes: `str::find` adds a search algorithm of 3 kB.
    let url = url.get(..url.bytes().position(|byte| byte == b'#').unwrap_or(url.len())).unwrap_or(url);
    let rest = url.get(scheme.len()..).unwrap_or_default();
    let end = rest.bytes().position(|byte| byte == b'/' || byte == b'?').unwrap_or(rest.len());
    match rest.split_at_checked(end) {
        None | Some(("", _)) => Err(invalid()),
        Some((authority, path)) => {
            let root = if path.starts_with('/') { "" } else { "/" };
            Ok((scheme, authority, text!("{root}{path}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    #[test]
    fn requests_that_were_started_are_sent_at_the_same_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = text!("http://{}/", alloc::string::ToString::to_string(&listener.local_addr().unwrap()));
        thread::spawn(move || {
            // No response is sent before both are there.
            let streams = [listener.accept().unwrap().0, listener.accept().unwrap().0];
            for (mut stream, status) in streams.into_iter().zip([200, 404]) {
                assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
                stream.write_all(text!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
            }
        });
        let pending = [get(&url).start(), get(&url).start()];
        let mut statuses = pending.map(|pending| pending.wait().unwrap().status());
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 404]);
    }

    #[test]
    fn an_error_has_the_url_without_its_query_and_a_reason_without_the_url() {
        let server = Server::answering(404, "");
        let response = get(&server.url("/x?token=SECRET")).send().unwrap();
        assert_eq!(response.ok().unwrap_err().text(), text!("\"{}\": answered 404", server.url("/x")));
        let error = get("ftp://host/?token=SECRET#SECRET").send().unwrap_err();
        let reason = "not a URL of the form http://host:port/path";
        assert_eq!((error.text(), error.reason()), (&*text!("\"ftp://host/\": {reason}"), reason));
    }

    #[test]
    fn urls_are_split_into_scheme_authority_and_path() {
        for (url, authority, path) in [
            ("http://localhost", "localhost", "/"),
            ("http://localhost:15020/quitquitquit", "localhost:15020", "/quitquitquit"),
            ("https://[::1]:8443/a?b=c#d", "[::1]:8443", "/a?b=c"),
            ("http://host?x=/y", "host", "/?x=/y"),
            ("HTTP://LOCALHOST:15020/Q", "LOCALHOST:15020", "/Q"),
            ("Https://host", "host", "/"),
        ] {
            let (_, found, full) = split(url).unwrap();
            assert_eq!((found, full.as_str()), (authority, path), "{url}");
        }
        for url in ["", "localhost:15020", "ftp://host/", "http://", "http:///path", "http:/host", "https"] {
            assert!(split(url).is_err(), "{url}");
        }
    }
}
