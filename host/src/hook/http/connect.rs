//! From an allowed target to a connection: its addresses are looked up once, each is judged, and those that pass are
//! tried.

use super::{
    policy::{Allow, Host, Scheme, Target},
    race,
    resolve::{self, Names},
    special::purpose,
    tls::{self, Roots},
};
use std::{
    io,
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

/// The files that connecting needs, read before no file can be opened any more, and understood after that.
pub struct Files {
    names: resolve::Files,
    roots: Roots,
}

impl Files {
    /// Reads what these rules can need; for the default, loopback without encryption, that is nothing.
    pub fn read(allow: &Allow) -> Self {
        Self {
            names: if allow.names_hosts() { resolve::Files::read() } else { resolve::Files::default() },
            roots: if allow.any_https() { Roots::load() } else { Roots::default() },
        }
    }

    pub fn parse(self) -> Means {
        Means { names: Names::parse(self.names), roots: self.roots }
    }
}

/// What connecting needs to know.
pub struct Means {
    names: Names,
    roots: Roots,
}

impl Means {
    /// The ports of TCP that these rules need; nothing if they allow any.
    pub fn ports(allow: &Allow) -> Option<Vec<u16>> {
        let mut ports = allow.ports()?;
        if allow.names_hosts() {
            ports.push(resolve::PORT);
        }
        Some(ports)
    }
}

/// Why there is no connection: the error for the hook, and for the log what the operator should know.
pub struct Failure {
    pub error: Error,
    pub told: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, told: None }
    }
}

/// A connection that counts as one until it is closed, and remembers whether anything was sent: a server that closes
/// after the request may have done what was asked, one that closes before has not.
pub struct Connection {
    stream: Box<dyn Stream>,
    sent: Arc<AtomicBool>,
    _permit: OwnedSemaphorePermit,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connection {
    /// Connects to an address that passes: the first that accepts.
    pub async fn open(
        target: &Target,
        allow: &Allow,
        means: &Means,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Failure> {
        let mut addresses = means.names.addresses(target).await?;
        let found = addresses.clone();
        addresses.retain(|address| allow.admits_address(target, *address));
        if let (Host::Name(_), [], Some(address)) = (&target.host, addresses.as_slice(), found.first()) {
            let purpose = purpose(*address).unwrap_or_default();
            let told =
                format!("not allowed: {target} has the address {address}, which a name does not open ({purpose})");
            return Err(Failure { error: Error::DestinationIpProhibited, told: Some(told) });
        }
        let stream = race::connect(&addresses, target.port).await?;
        let stream: Box<dyn Stream> = match target.scheme {
            Scheme::Http => Box::new(stream),
            Scheme::Https => match means.roots.encrypt(stream, target).await {
                Ok(stream) => Box::new(stream),
                Err(error) => {
                    let (error, why) = tls::explain(&error);
                    return Err(Failure { error, told: Some(format!("{target}: {why}")) });
                }
            },
        };
        Ok(Self { stream, sent: Arc::default(), _permit: permit })
    }

    /// Becomes true once bytes of the request have been handed to the kernel.
    pub fn sent(&self) -> Arc<AtomicBool> {
        self.sent.clone()
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
            self.sent.store(true, Ordering::Relaxed);
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
