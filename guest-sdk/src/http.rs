//! A small blocking HTTP client: one request, one response, no redirects, no connection kept.
//!
//! Hooks may connect to what the operator allowed with `--allow-http`; the default is plain HTTP to loopback.
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

use crate::{
    bindings::wasi::{
        clocks::monotonic_clock,
        http::{
            outgoing_handler,
            types::{
                ErrorCode, Fields, FutureIncomingResponse, HeaderError, IncomingBody, IncomingResponse, Method,
                OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
            },
        },
        io::{
            poll,
            streams::{InputStream, StreamError},
        },
    },
    nanoseconds,
    text::push_number,
};
use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::time::Duration;

/// How long a request may take unless it says otherwise: short enough to leave room for another try within the
/// ten seconds a hook has by default.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many bytes an output stream takes at once.
const WRITE_CHUNK: usize = 4096;

/// A request that is being put together. It goes out with [`send`](Self::send).
#[derive(Debug)]
#[must_use = "a request goes out with `send`"]
pub struct Request {
    method: Method,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    timeout: Duration,
}

/// The answer to a request: its status and headers have arrived, its body is read on demand.
#[derive(Debug)]
pub struct Response {
    url: String,
    inner: IncomingResponse,
    deadline: u64,
}

/// Why there is no answer. It turns into the hook's error by `?`, with a text that names the URL and what would
/// mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What happened, to decide on.
    pub kind: ErrorKind,
    text: String,
}

/// What happened to a request that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL, a header or the method is malformed or may not be set by a hook. Nothing was sent.
    Invalid,
    /// The operator did not allow this address. Nothing was sent.
    Denied,
    /// The name could not be resolved. Nothing was sent.
    Unresolved,
    /// The host cannot be reached. Nothing was sent.
    Unreachable,
    /// Nobody listens there. Nothing was sent.
    Refused,
    /// The time was up.
    Timeout,
    /// The connection was closed after the request was sent and before an answer came.
    Closed,
    /// No trusted, encrypted connection could be made. Nothing was sent.
    Tls,
    /// The answer broke off after its head had come.
    BrokenOff,
    /// The other side does not speak HTTP as it should.
    Protocol,
    /// Anything else; the text says what.
    Other,
}

/// A GET request. The URL is `http://` or `https://`, a host, and optionally port, path and query.
pub fn get(url: &str) -> Request {
    Request::new(Method::Get, url)
}

/// A POST request. Without a body it goes out with `Content-Length: 0`.
pub fn post(url: &str) -> Request {
    Request::new(Method::Post, url)
}

/// A PUT request.
pub fn put(url: &str) -> Request {
    Request::new(Method::Put, url)
}

/// A request with any method, in capital letters: `request("DELETE", url)`.
pub fn request(method: &str, url: &str) -> Request {
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    };
    Request::new(method, url)
}

impl Request {
    fn new(method: Method, url: &str) -> Self {
        Self { method, url: url.to_owned(), headers: Vec::new(), body: Vec::new(), timeout: DEFAULT_TIMEOUT }
    }

    /// Adds a header. `Host`, `Content-Length`, `Transfer-Encoding` and the headers that concern a single
    /// connection are set by the host; naming one makes [`send`](Self::send) fail.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Limits the time from sending until the answer's head has come, and from then on again until its body has been
    /// read. The default is [`DEFAULT_TIMEOUT`]; the host cuts it to what is left of the hook's own time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// [`timeout`](Self::timeout) in seconds.
    pub fn timeout_secs(self, seconds: u64) -> Self {
        self.timeout(Duration::from_secs(seconds))
    }

    /// Sends the request and waits for the answer's status and headers. Any status is an answer: see
    /// [`Response::ok`].
    ///
    /// # Errors
    ///
    /// When there is no answer: [`Error::kind`] says why.
    pub fn send(self) -> Result<Response, Error> {
        match self.exchange() {
            Ok(inner) => {
                let deadline = monotonic_clock::now().saturating_add(nanoseconds(self.timeout));
                Ok(Response { url: self.url, inner, deadline })
            }
            Err(failure) => Err(failure.at(&self.url)),
        }
    }

    fn exchange(&self) -> Result<IncomingResponse, Failure> {
        let request = self.head()?;
        let body = match self.body.is_empty() {
            true => None,
            false => Some(request.body().map_err(|()| Failure::from("the request has no body"))?),
        };
        let answer = outgoing_handler::handle(request, Some(self.options()))?;
        if let Some(body) = body {
            self.write(body)?;
        }
        self.wait(&answer)?;
        match answer.get() {
            Some(Ok(answer)) => Ok(answer?),
            _ => Err(Failure::from("the answer was taken twice")),
        }
    }

    /// The request without its body.
    fn head(&self) -> Result<OutgoingRequest, Failure> {
        let (scheme, authority, path) =
            split(&self.url).ok_or(Failure::new(ErrorKind::Invalid, "not a URL of the form http://host:port/path"))?;
        let headers = Fields::new();
        for (name, value) in &self.headers {
            // The host would take this one; but a wrong length would only show as a broken request.
            if name.eq_ignore_ascii_case("content-length") {
                return Err(Failure::header(name, " is set by the host"));
            }
            headers.append(name, value).map_err(|error| {
                Failure::header(
                    name,
                    match error {
                        HeaderError::Forbidden => " is set by the host",
                        _ => " is malformed",
                    },
                )
            })?;
        }
        let mut length = String::new();
        if !self.body.is_empty() {
            push_number(&mut length, self.body.len() as u64);
            let _ = headers.append("content-length", length.as_bytes());
        }
        let request = OutgoingRequest::new(headers);
        let set = request.set_method(&self.method).is_ok()
            && request.set_scheme(Some(&scheme)).is_ok()
            && request.set_authority(Some(authority)).is_ok()
            && request.set_path_with_query(Some(&path)).is_ok();
        match set {
            true => Ok(request),
            false => Err(Failure::new(ErrorKind::Invalid, "the URL or the method is malformed")),
        }
    }

    fn options(&self) -> RequestOptions {
        let options = RequestOptions::new();
        let timeout = Some(nanoseconds(self.timeout));
        // A host that does not know one of these timeouts still ends the wait in `wait`.
        let _ = options.set_connect_timeout(timeout);
        let _ = options.set_first_byte_timeout(timeout);
        let _ = options.set_between_bytes_timeout(timeout);
        options
    }

    fn write(&self, body: OutgoingBody) -> Result<(), Failure> {
        let stream = body.write().map_err(|()| Failure::from("the request has no body"))?;
        for chunk in self.body.chunks(WRITE_CHUNK) {
            // The server may answer without reading; then its answer counts.
            if stream.blocking_write_and_flush(chunk).is_err() {
                return Ok(());
            }
        }
        drop(stream);
        Ok(OutgoingBody::finish(body, None)?)
    }

    fn wait(&self, answer: &FutureIncomingResponse) -> Result<(), Failure> {
        let answered = answer.subscribe();
        let late = monotonic_clock::subscribe_duration(nanoseconds(self.timeout));
        poll::poll(&[&answered, &late]);
        match answered.ready() {
            true => Ok(()),
            false => Err(Failure::new(ErrorKind::Timeout, "no answer within its time")),
        }
    }
}

impl Response {
    /// The status code, such as 200.
    pub fn status(&self) -> u16 {
        self.inner.status()
    }

    /// The first value of a header, if the answer has it.
    pub fn header(&self, name: &str) -> Option<Vec<u8>> {
        self.inner.headers().get(name).into_iter().next()
    }

    /// Turns any status but 2xx into an error.
    ///
    /// # Errors
    ///
    /// When the status is not 2xx: the text names the URL and the status.
    pub fn ok(&self) -> crate::Result {
        let status = self.status();
        if (200..300).contains(&status) {
            return Ok(());
        }
        let mut text = quoted(&self.url);
        text.push_str(": answered ");
        push_number(&mut text, status.into());
        Err(text.into())
    }

    /// Reads the body, at most `limit` bytes of it; what follows is not read.
    ///
    /// # Errors
    ///
    /// When the body breaks off or does not come in time.
    pub fn body(self, limit: usize) -> Result<Vec<u8>, Error> {
        self.read(limit).map_err(|failure| failure.at(&self.url))
    }

    fn read(&self, limit: usize) -> Result<Vec<u8>, Failure> {
        let body: IncomingBody = self.inner.consume().map_err(|()| Failure::from("the body was read before"))?;
        let stream: InputStream = body.stream().map_err(|()| Failure::from("the body was read before"))?;
        let more = stream.subscribe();
        let late = monotonic_clock::subscribe_instant(self.deadline);
        let mut bytes = Vec::new();
        while bytes.len() < limit {
            poll::poll(&[&more, &late]);
            if !more.ready() {
                return Err(Failure::new(ErrorKind::Timeout, "the body did not come within its time"));
            }
            match stream.read((limit - bytes.len()) as u64) {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(_)) => {
                    return Err(Failure::new(ErrorKind::BrokenOff, "the body broke off"));
                }
            }
        }
        Ok(bytes)
    }
}

impl Error {
    /// What happened, in one line, with the URL.
    pub fn text(&self) -> &str {
        &self.text
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

/// An error that does not know its URL yet.
struct Failure {
    kind: ErrorKind,
    reason: String,
}

impl Failure {
    fn new(kind: ErrorKind, reason: &str) -> Self {
        Self { kind, reason: reason.to_owned() }
    }

    fn header(name: &str, why: &str) -> Self {
        let mut reason = String::from("header ");
        reason.push_str(&quoted(name));
        reason.push_str(why);
        Self { kind: ErrorKind::Invalid, reason }
    }

    fn at(self, url: &str) -> Error {
        let mut text = quoted(url);
        text.push_str(": ");
        text.push_str(&self.reason);
        if self.reason == "not allowed"
            && let Some((scheme, authority, _)) = split(url)
        {
            text.push_str("; to allow it: --allow-http ");
            text.push_str(if matches!(scheme, Scheme::Https) { "https://" } else { "http://" });
            text.push_str(authority);
        }
        Error { kind: self.kind, text }
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Self {
        Self::new(ErrorKind::Other, reason)
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        use ErrorCode as Code;
        let (kind, reason) = match code {
            Code::HttpRequestDenied => (ErrorKind::Denied, "not allowed"),
            Code::DestinationIpProhibited => {
                (ErrorKind::Denied, "not allowed: its address is one that a name does not open")
            }
            Code::ConnectionRefused => (ErrorKind::Refused, "connection refused"),
            Code::ConnectionTimeout => (ErrorKind::Timeout, "no connection within its time"),
            Code::ConnectionReadTimeout | Code::HttpResponseTimeout => {
                (ErrorKind::Timeout, "no answer within its time")
            }
            Code::ConnectionWriteTimeout => (ErrorKind::Timeout, "the request was not taken within its time"),
            Code::DnsTimeout => (ErrorKind::Unresolved, "the name server did not answer"),
            Code::DnsError(_) => (ErrorKind::Unresolved, "no such host"),
            Code::DestinationNotFound | Code::DestinationUnavailable | Code::DestinationIpUnroutable => {
                (ErrorKind::Unreachable, "the host cannot be reached")
            }
            Code::ConnectionTerminated | Code::HttpResponseIncomplete => {
                (ErrorKind::Closed, "the connection was closed before an answer came")
            }
            Code::ConnectionLimitReached => (ErrorKind::Other, "too many requests at once"),
            Code::TlsCertificateError => (ErrorKind::Tls, "the certificate is not trusted"),
            Code::TlsProtocolError | Code::TlsAlertReceived(_) => (ErrorKind::Tls, "no TLS connection"),
            Code::HttpRequestUriInvalid | Code::HttpRequestMethodInvalid => (ErrorKind::Invalid, "malformed request"),
            Code::InternalError(Some(text)) => return Self { kind: ErrorKind::Other, reason: text },
            Code::HttpProtocolError
            | Code::HttpResponseHeaderSectionSize(_)
            | Code::HttpResponseHeaderSize(_)
            | Code::HttpResponseBodySize(_)
            | Code::HttpResponseTransferCoding(_)
            | Code::HttpResponseContentCoding(_) => (ErrorKind::Protocol, "the answer is not proper HTTP"),
            _ => (ErrorKind::Other, "the request failed"),
        };
        Self::new(kind, reason)
    }
}

/// Scheme, authority, and path with query of a URL. What the parts may hold is judged by the host.
fn split(url: &str) -> Option<(Scheme, &str, String)> {
    let (scheme, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (Scheme::Http, rest),
        (_, Some(rest)) => (Scheme::Https, rest),
        _ => return None,
    };
    // Searching bytes: `str::find` brings a search engine of 3 kB along.
    let until = |text: &str, ends: &[u8]| text.bytes().position(|byte| ends.contains(&byte)).unwrap_or(text.len());
    let rest = rest.get(..until(rest, b"#"))?;
    let (authority, path) = rest.split_at_checked(until(rest, b"/?"))?;
    let mut full = String::new();
    if !path.starts_with('/') {
        full.push('/');
    }
    full.push_str(path);
    (!authority.is_empty()).then_some((scheme, authority, full))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    quoted.push_str(text);
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split_into_scheme_authority_and_path() {
        for (url, authority, path) in [
            ("http://localhost", "localhost", "/"),
            ("http://localhost:15020/quitquitquit", "localhost:15020", "/quitquitquit"),
            ("https://[::1]:8443/a?b=c#d", "[::1]:8443", "/a?b=c"),
            ("http://host?x=/y", "host", "/?x=/y"),
        ] {
            let (_, found, full) = split(url).unwrap();
            assert_eq!((found, full.as_str()), (authority, path), "{url}");
        }
        for url in ["", "localhost:15020", "ftp://host/", "http://", "http:///path"] {
            assert!(split(url).is_none(), "{url}");
        }
    }
}
