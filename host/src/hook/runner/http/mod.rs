//! Runner: HTTP requests: checks, connects and sends them, and receives the responses. No redirect is followed and no
//! proxy variable is read; every wait ends before the hook's deadline. Probes connect in the same way.

mod connector;
mod health;
mod probe;
mod race;
mod resolve;
mod tls;
mod tls_errors;

pub use connector::{Connector, Files};

use super::{output::Output, state::bindings::wrapper::hook::probe::Failure};
use crate::{
    hook::{
        FORBIDDEN_METHODS, Setting,
        allow_list::{AllowList, Origin},
    },
    log::{self, Label, Level, Line},
};
use bytes::Bytes;
use connector::{ConnectError, Connection, Seen};
use http::{HeaderValue, Method, Request, Response, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1};
use resolve::LookupError;
use std::{
    io::ErrorKind,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout, timeout_at},
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, io::TokioIo};

/// Connections at once. A hook talks to one sidecar or notifies one service; more would make it a load generator.
const CONNECTIONS: usize = 8;

/// Messages that are not logged again: a hook that retries would repeat them.
const REMEMBERED: usize = 32;

/// A lookup that takes longer is logged.
const SLOW_LOOKUP: Duration = Duration::from_secs(1);

/// A wait ends this long before the hook is killed, so that the hook can still log what it waited for.
const REPORT_MARGIN: Duration = Duration::from_millis(200);

/// Bytes that hyper may buffer of a response's head: twice the 8 KiB that servers usually send at most. Besides, hyper
/// accepts at most a hundred headers.
const HEAD_LIMIT: usize = 16 * 1024;

/// Bytes of a request's body that are taken from the hook at once. Two such pieces are kept for every request that is
/// not sent, and a hook can have hundreds of those.
const BODY_CHUNK: usize = 16 * 1024;

type Exchange = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// A hook's HTTP client, with everything that limits it.
#[derive(Clone)]
pub struct Outbound {
    allow: Setting<AllowList>,
    label: Label,
    output: Output,
    /// What has been logged already: attempts that fail alike do not repeat it.
    logged: Arc<Mutex<Vec<String>>>,
    connector: Arc<Connector>,
    permits: Arc<Semaphore>,
    deadline: Instant,
}

impl Outbound {
    pub fn new(
        allow: &Setting<AllowList>,
        connector: Connector,
        label: &Label,
        output: &Output,
        deadline: Instant,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        Self {
            allow: allow.clone(),
            label: label.clone(),
            output: output.clone(),
            logged: Arc::default(),
            connector: connector.into(),
            permits,
            deadline,
        }
    }

    async fn send(self, request: Request<WasiBody>, options: RequestOptions) -> Result<Exchange, Error> {
        if !log::enabled(Level::Debug) {
            return self.check_and_send(request, options).await;
        }
        let start = Instant::now();
        let method = request.method().clone();
        let origin = Origin::of(request.uri()).map_or_else(|_| "malformed URL".into(), |origin| origin.to_string());
        let result = self.check_and_send(request, options).await;
        let outcome = match &result {
            Ok((response, _)) => response.status().as_str().to_owned(),
            Err(error) => name(error),
        };
        let line = format!("{method} {origin}: {outcome} after {} ms", start.elapsed().as_millis());
        self.output.admit(&line, |line| Line::new(Level::Debug, line).about_hook(&self.label).write());
        result
    }

    async fn check_and_send(&self, request: Request<WasiBody>, options: RequestOptions) -> Result<Exchange, Error> {
        self.check_method(request.method())?;
        let origin = self.check_origin(request.uri())?;
        self.exchange(&origin, request, options).await.map_err(|failure| {
            self.log(failure.message(&origin));
            failure.error
        })
    }

    /// Sends an allowed request to its origin.
    async fn exchange(
        &self,
        origin: &Origin,
        mut request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Exchange, ConnectError> {
        // The request line holds the path alone; scheme and host are for proxies. An empty path is `/`, also before a
        // query (RFC 9112, section 3.2.1).
        let path = request.uri().path_and_query().map_or_else(|| "/".into(), ToString::to_string);
        *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
        declare_length(&mut request);

        let stream = self.connect(origin, options.connect_timeout).await?;
        let seen = stream.seen();
        let failed = |error: hyper::Error| self.failure(&error, &seen);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_LIMIT);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;

        // The connection does the reading and writing for the sender, and for the body later.
        let mut connection = Box::pin(connection);
        let response = {
            let mut response =
                Box::pin(timeout(self.limit_to_deadline(options.first_byte_timeout), sender.send_request(request)));
            let mut open = true;
            std::future::poll_fn(|cx| {
                if let Poll::Ready(response) = response.as_mut().poll(cx) {
                    return Poll::Ready(response);
                }
                if open && connection.as_mut().poll(cx).is_ready() {
                    open = false;
                }
                response.as_mut().poll(cx)
            })
            .await
        };
        let response = response.map_err(|_| Error::ConnectionReadTimeout)?.map_err(failed)?;
        let between = self.limit_to_deadline(options.between_bytes_timeout);
        let end = tokio::time::Instant::from_std(self.deadline - REPORT_MARGIN.min(self.left()));
        let response = response.map(|body| {
            let (pause, end) = (Box::pin(sleep(between)), Box::pin(tokio::time::sleep_until(end)));
            TimedBody { body, between, pause, waiting: false, end }.boxed_unsync()
        });
        Ok((response, Box::new(async move { connection.await.map_err(Error::from) })))
    }

    /// Connects to an allowed origin, when it is one of the connections at once.
    async fn connect(&self, origin: &Origin, limit: Option<Duration>) -> Result<Connection, ConnectError> {
        let permit = self.permit().await?;
        let end = tokio::time::Instant::now() + self.limit_to_deadline(limit);
        let mut lookup = pin!(timeout_at(end, self.connector.addresses(origin)));
        let addresses = match timeout(SLOW_LOOKUP, &mut lookup).await {
            Ok(addresses) => addresses,
            Err(_) => {
                // Logged now: a hook that gives up the request gets no reason.
                let slow = SLOW_LOOKUP.as_secs();
                self.log(Some(format!("{origin}: no address from the name server after {slow} s")));
                lookup.await
            }
        };
        let addresses = addresses.unwrap_or(Err(LookupError::TimedOut))?;
        let open = self.connector.connect(origin, addresses, &self.allow.value, permit);
        timeout_at(end, open).await.map_err(|_| Error::ConnectionTimeout)?
    }

    /// Waits to be one of the connections at once.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        // A request that has waited in the queue until the deadline must not connect.
        let permit = timeout(self.limit_to_deadline(None), self.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| Error::ConnectionTimeout)?.map_err(|_| Error::ConnectionLimitReached)?;
        if self.limit_to_deadline(None).is_zero() {
            return Err(Error::ConnectionTimeout);
        }
        Ok(permit)
    }

    /// Returns the request's origin, if it is allowed; otherwise logs the option that would allow it.
    fn check_origin(&self, uri: &http::Uri) -> Result<Origin, Error> {
        let (refusal, error) = match Origin::of(uri) {
            Ok(origin) if self.allow.value.allows(&origin) => return Ok(origin),
            Ok(origin) => (self.allow.refusal(&origin), Error::HttpRequestDenied),
            // Not the URL itself: a malformed one may be a secret.
            Err(why) => (format!("not allowed: {why:#}"), Error::HttpRequestUriInvalid),
        };
        self.log(Some(refusal));
        Err(error)
    }

    fn check_method(&self, method: &Method) -> Result<(), Error> {
        match FORBIDDEN_METHODS.iter().find(|forbidden| forbidden.eq_ignore_ascii_case(method.as_str())) {
            Some(forbidden) => {
                self.log(Some(format!("not allowed: the method {forbidden}; no option allows it")));
                Err(Error::HttpRequestMethodInvalid)
            }
            None => Ok(()),
        }
    }

    /// Maps hyper's error before the response to one of `wasi:http`, with a reason for what that cannot express.
    fn failure(&self, error: &hyper::Error, seen: &Seen) -> ConnectError {
        if let Some((error, why)) = self.connector.explain(error, seen) {
            return ConnectError { error, reason: Some(why) };
        }
        let most = HEAD_LIMIT >> 10;
        let reason = error
            .is_parse_too_large()
            .then(|| format!("its response has more than 100 headers, or more than {most} KiB of them"));
        let error = match lost_connection(error) {
            true if seen.sent.load(Ordering::Relaxed) => Error::ConnectionTerminated,
            true => Error::DestinationUnavailable,
            false if error.is_timeout() => Error::HttpResponseTimeout,
            false => Error::HttpProtocolError,
        };
        ConnectError { error, reason }
    }

    fn log(&self, what: Option<String>) {
        let Some(what) = what else { return };
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if !logged.contains(&what) {
            self.output.admit(&what, |line| Line::new(Level::Warn, line).about_hook(&self.label).write());
            if logged.len() < REMEMBERED {
                logged.push(what);
            }
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The timeout that the hook has set, at most the time it has left.
    fn limit_to_deadline(&self, asked: Option<Duration>) -> Duration {
        let left = self.left().saturating_sub(REPORT_MARGIN);
        asked.map_or(left, |asked| asked.min(left))
    }
}

impl WasiHttpHooks for Outbound {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Exchange, Error>> + Send> {
        let sending = self.clone().send(request, options.unwrap_or_default());
        Box::new(sending)
    }
}

/// The name of an error in `wasi:http`: `connection-refused`.
fn name(error: &Error) -> String {
    let mut name = String::new();
    for letter in format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// An empty body of a method that usually has one is declared, as servers expect: `Content-Length: 0`.
fn declare_length(request: &mut Request<WasiBody>) {
    let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(request.method());
    if has_body && request.body().is_end_stream() && !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
}

/// Maps hyper's error while a response's body is received. A body that ends early is not a protocol error.
fn broken_off(error: &hyper::Error) -> Error {
    match lost_connection(error) {
        true => Error::HttpResponseIncomplete,
        false if error.is_timeout() => Error::HttpResponseTimeout,
        false => Error::HttpProtocolError,
    }
}

/// Whether the connection was lost before the end of the response.
fn lost_connection(error: &hyper::Error) -> bool {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return true;
    }
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(
                error.kind(),
                ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe
                    | ErrorKind::UnexpectedEof
            );
        }
        source = error.source();
    }
    false
}

/// A response's body while it is received. It ends with an error when nothing is received for too long, and in any case
/// before the hook's deadline.
struct TimedBody {
    body: Incoming,
    between: Duration,
    pause: Pin<Box<Sleep>>,
    /// Whether the hook waits for bytes; while it does something else no time is counted.
    waiting: bool,
    end: Pin<Box<Sleep>>,
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Error::HttpResponseTimeout)));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(broken_off(&error)))),
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = false;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                if !std::mem::replace(&mut self.waiting, true) {
                    let next = tokio::time::Instant::now() + self.between;
                    self.pause.as_mut().reset(next);
                }
                ready!(self.pause.as_mut().poll(cx));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
