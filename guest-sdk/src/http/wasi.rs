//! Requests through `wasi:http`, the transport of a hook in wrapper.

use super::{
    ErrorKind, Failure, HTTPS,
    abi::{self, Sent},
    split,
};
use crate::{
    bindings::wasi::{
        http::types::{Fields, HeaderError, IncomingResponse, Method, OutgoingRequest, Scheme},
        io::{poll::Pollable, streams::StreamError},
    },
    text,
    time::{after, happens},
};
use alloc::{borrow::ToOwned, vec::Vec};
use core::{mem::ManuallyDrop, time::Duration};

/// Headers and body of a request.
#[derive(Debug)]
pub struct RequestParts {
    // Never dropped: the import of a function that drops it costs 300 bytes, and the host frees it when the hook ends.
    headers: ManuallyDrop<Fields>,
    body: Option<Body>,
    /// Why a header was rejected.
    header_error: Option<Failure>,
}

/// Bytes and the function that sends them: in a hook that never sets a body, that function is left out.
#[derive(Debug)]
struct Body {
    bytes: Vec<u8>,
    send: fn(OutgoingRequest, &[u8], &Pollable) -> Result<Sent, Failure>,
}

/// A request that was sent, and the event that its time is up.
#[derive(Debug)]
pub struct Started {
    sent: Sent,
    late: Pollable,
}

/// A response whose headers have arrived.
#[derive(Debug)]
pub struct Incoming(IncomingResponse);

impl RequestParts {
    pub fn new() -> Self {
        Self { headers: ManuallyDrop::new(Fields::new()), body: None, header_error: None }
    }

    pub fn header(&mut self, name: &str, value: &[u8]) {
        // The host would accept this one, and a wrong length would break the request.
        let set_by_host = name.eq_ignore_ascii_case("content-length");
        let why =
            match set_by_host.then_some(HeaderError::Forbidden).map_or_else(|| self.headers.append(name, value), Err) {
                Ok(()) => return,
                Err(HeaderError::Forbidden) => "is set by the host",
                Err(_) => "is malformed",
            };
        self.header_error = Some(Failure { kind: ErrorKind::Invalid, reason: text!("header \"{name}\" {why}").into() });
    }

    pub fn body(&mut self, bytes: Vec<u8>) {
        let length = text!("{}", bytes.len());
        let _ = self.headers.set("content-length", &[length.into_bytes()]);
        self.body = (!bytes.is_empty()).then_some(Body { bytes, send: send_with_body });
    }
}

fn send_with_body(request: OutgoingRequest, bytes: &[u8], late: &Pollable) -> Result<Sent, Failure> {
    let no_body = |()| Failure::from("the request has no body");
    let body = request.body().map_err(no_body)?;
    let sent = abi::handle(request)?;
    let stream = body.write().map_err(no_body)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let room = match stream.check_write() {
            Ok(0) if happens(&[&stream.subscribe(), late]) => continue,
            Ok(0) => return Err(Failure::new(ErrorKind::Timeout, "the request could not be sent in time")),
            Ok(room) => usize::try_from(room).unwrap_or(usize::MAX).min(rest.len()),
            // A server may respond without reading the body; then its response counts.
            Err(_) => return Ok(sent),
        };
        let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
        if stream.write(now).is_err() {
            return Ok(sent);
        }
        rest = later;
    }
    drop(stream);
    abi::finish(body)?;
    Ok(sent)
}

/// Sends a request. The timeout is enforced here, because a host may ignore `request-options`.
pub fn start(method: &str, url: &str, parts: RequestParts, timeout: Duration) -> Result<Started, Failure> {
    let (scheme, authority, path) = split(url)?;
    if let Some(error) = parts.header_error {
        return Err(error);
    }
    let request = ManuallyDrop::new(OutgoingRequest::new(ManuallyDrop::into_inner(parts.headers)));
    let scheme = if scheme == HTTPS { Scheme::Https } else { Scheme::Http };
    let set = request.set_method(&Method::Other(method.to_owned())).is_ok()
        && request.set_scheme(Some(&scheme)).is_ok()
        && request.set_authority(Some(authority)).is_ok()
        && request.set_path_with_query(Some(&path)).is_ok();
    if !set {
        return Err(Failure::new(ErrorKind::Invalid, "the URL or the method is malformed"));
    }
    let request = ManuallyDrop::into_inner(request);
    let late = after(timeout);
    let sent = match parts.body {
        None => abi::handle(request),
        Some(Body { bytes, send }) => send(request, &bytes, &late),
    }?;
    Ok(Started { sent, late })
}

impl Started {
    /// Waits until the response's headers have arrived, or the request's time is up.
    pub fn is_ready_within(&self, time: Duration) -> bool {
        happens(&[&self.sent.subscribe(), &self.late, &after(time)])
    }

    /// Waits for the response's headers.
    pub fn wait(self) -> Result<Incoming, Failure> {
        // A statement of its own: the event has to be dropped before the request that it belongs to.
        let arrived = happens(&[&self.sent.subscribe(), &self.late]);
        if !arrived {
            return Err(Failure::new(ErrorKind::Timeout, "no response in time"));
        }
        Ok(Incoming(self.sent.response()?))
    }
}

impl Incoming {
    pub fn status(&self) -> u16 {
        self.0.status()
    }

    pub fn header(&self, name: &str) -> Option<Vec<u8>> {
        self.0.headers().get(name).into_iter().next()
    }

    /// Reads at most `limit` bytes of the body.
    pub fn read(&self, limit: usize, timeout: Duration) -> Result<Vec<u8>, Failure> {
        let body = self.0.consume().map_err(|()| Failure::from("the body was read before"))?;
        let stream = body.stream().map_err(|()| Failure::from("the body was read before"))?;
        let more = stream.subscribe();
        let late = after(timeout);
        let mut bytes = Vec::new();
        while bytes.len() < limit {
            if !happens(&[&more, &late]) {
                return Err(Failure::new(ErrorKind::Timeout, "the body did not arrive in time"));
            }
            match stream.read((limit - bytes.len()) as u64) {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(_)) => {
                    return Err(Failure::new(ErrorKind::BrokenOff, "the body is incomplete"));
                }
            }
        }
        Ok(bytes)
    }
}
