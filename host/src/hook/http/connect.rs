//! From an allowed target to a connection: every address that the policy admits is tried, in turn.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use wasmtime_wasi_http::Error;

/// A connection that remembers whether anything was sent: a server that closes after the request may have done
/// what was asked, one that closes before has not.
pub struct Connection {
    stream: TcpStream,
    sent: Arc<AtomicBool>,
}

impl Connection {
    /// Connects to the first address that accepts.
    ///
    /// A server may listen on one of `127.0.0.1` and `::1` only, and one of them may not exist; "refused" is then the
    /// answer that counts.
    pub async fn open(addresses: &[IpAddr], port: u16) -> Result<Self, Error> {
        let mut worst = Error::DestinationUnavailable;
        for address in addresses {
            match TcpStream::connect(SocketAddr::new(*address, port)).await {
                Ok(stream) => return Ok(Self { stream, sent: Arc::default() }),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => worst = Error::ConnectionRefused,
                Err(_) => {}
            }
        }
        Err(worst)
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
