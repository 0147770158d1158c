//! Runner: connects to an allowed origin. Its addresses are looked up once, each is checked, and the allowed ones are
//! tried.

use super::{
    race,
    resolve::{self, LookupError, Names},
    tls::{self, Encrypted, Trust},
};
use crate::{
    hook::{
        address::special_purpose,
        allow_list::{AllowList, Host, Origin, Scheme},
    },
    log::Label,
};
use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};
use wasmtime_wasi_http::Error;

/// Name servers and CA roots, read before the sandbox forbids opening files, and parsed in it.
pub struct Files {
    names: resolve::DnsFiles,
    /// Nothing if no rule is for HTTPS.
    trust: Option<tls::TlsFiles>,
    identity: [String; 2],
}

impl Files {
    /// Reads what these rules can need; for the default, loopback without encryption, that is nothing. `identity` are
    /// the variables that name a hook's own certificate and key.
    pub fn read(allow: &AllowList, identity: [String; 2]) -> Self {
        let names = if allow.names_hosts() { resolve::DnsFiles::read() } else { resolve::DnsFiles::default() };
        Self { names, trust: allow.any_https().then(|| tls::TlsFiles::read(&identity)), identity }
    }

    /// Parses them. Errors are logged for the hook of this label.
    pub fn parse(self, label: &Label) -> Connector {
        let Self { names, trust, identity } = self;
        Connector { names: Names::parse(names), trust: trust.map(|files| Trust::parse(files, identity, label)) }
    }
}

/// Connects to origins that are allowed.
pub struct Connector {
    names: Names,
    trust: Option<Trust>,
}

impl Connector {
    /// The ports of TCP that these rules need; nothing if they allow any.
    pub fn ports(allow: &AllowList) -> Option<Vec<u16>> {
        let mut ports = allow.ports()?;
        if allow.names_hosts() {
            ports.push(resolve::PORT);
        }
        Some(ports)
    }

    /// Connects to the first allowed one of an origin's addresses that accepts.
    pub async fn connect(
        &self,
        origin: &Origin,
        mut addresses: Vec<IpAddr>,
        allow: &AllowList,
        permit: OwnedSemaphorePermit,
    ) -> Result<Connection, ConnectError> {
        let found = addresses.clone();
        addresses.retain(|address| allow.allows_address(origin, *address));
        if let (Host::Name(_), [], Some(address)) = (&origin.host, addresses.as_slice(), found.first()) {
            let special_purpose = special_purpose(*address).unwrap_or_default();
            let reason =
                format!("resolves to {address} ({special_purpose}), which only a rule naming the address allows");
            return Err(ConnectError { error: Error::DestinationIpProhibited, reason: Some(reason) });
        }
        let stream = race::connect(&addresses, origin.port).await?;
        let (stream, certificate_requested): (Box<dyn Stream>, _) = match (origin.scheme, &self.trust) {
            (Scheme::Http | Scheme::Tcp | Scheme::Grpc | Scheme::Dns, _) => (Box::new(stream), Arc::default()),
            (Scheme::Https, Some(trust)) => match trust.encrypt(stream, origin).await {
                Ok(Encrypted { stream, certificate_requested }) => (Box::new(stream), certificate_requested),
                Err((error, why)) => return Err(ConnectError { error, reason: Some(why) }),
            },
            // Without a rule for HTTPS no request of it is allowed.
            (Scheme::Https, None) => return Err(Error::HttpRequestDenied.into()),
        };
        Ok(Connection {
            stream,
            seen: Arc::new(Seen { sent: AtomicBool::new(false), certificate_requested }),
            _permit: permit,
        })
    }

    /// The addresses of an allowed origin.
    pub async fn addresses(&self, origin: &Origin) -> Result<Vec<IpAddr>, LookupError> {
        self.names.addresses(origin).await
    }

    /// Explains an error on this connection, if it is one of TLS.
    pub fn explain(&self, error: &hyper::Error, seen: &Seen) -> Option<(Error, String)> {
        self.trust.as_ref()?.explain(error, &seen.certificate_requested)
    }
}

/// Why there is no connection, or no response: the error for the hook, and what `wasi:http` has no error for.
pub struct ConnectError {
    pub error: Error,
    pub reason: Option<String>,
}

impl From<Error> for ConnectError {
    fn from(error: Error) -> Self {
        Self { error, reason: None }
    }
}

impl From<LookupError> for ConnectError {
    fn from(failure: LookupError) -> Self {
        let reason = match failure {
            LookupError::Unreachable | LookupError::Answered(_) => Some(failure.to_string()),
            LookupError::TimedOut | LookupError::NoSuchHost => None,
        };
        Self { error: failure.error(), reason }
    }
}

impl ConnectError {
    /// The message for the log.
    pub fn message(&self, origin: &Origin) -> Option<String> {
        let reason = self.reason.as_ref()?;
        Some(match self.error {
            Error::DestinationIpProhibited => format!("not allowed: {origin} {reason}"),
            _ => format!("{origin}: {reason}"),
        })
    }
}

/// A connection that remembers what happened on it, and counts as one until it is closed.
pub struct Connection {
    stream: Box<dyn Stream>,
    seen: Arc<Seen>,
    _permit: OwnedSemaphorePermit,
}

/// Events on a connection.
pub struct Seen {
    /// Whether bytes of the request have been handed to the kernel: a server that closes after the request may have
    /// processed it, one that closes before has not.
    pub sent: AtomicBool,
    /// Whether the server requested a client certificate that the hook does not have.
    certificate_requested: Arc<AtomicBool>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connection {
    pub fn seen(&self) -> Arc<Seen> {
        self.seen.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.seen.sent.store(true, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
