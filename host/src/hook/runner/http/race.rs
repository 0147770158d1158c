//! Runner: connects to a host with several addresses as in RFC 8305 ("Happy Eyeballs"): the next address is tried while
//! the previous attempt is still pending, and the first connection is used.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};
use wasmtime_wasi_http::Error;

/// Time that an address is alone before the next one is tried as well (RFC 8305, section 8).
const HEAD_START: Duration = Duration::from_millis(250);

/// Attempts of one request at the same time. Each holds a descriptor; eight requests with this many stay below the
/// limit of the process. An attempt that is dropped has had this many head starts: a second, in which a lost packet has
/// been sent again (RFC 6298).
const ATTEMPTS: usize = 4;

/// Addresses of one host that are tried. More than this would take longer than a hook has.
const ADDRESSES: usize = 32;

/// Connects to the first of these addresses that accepts.
pub async fn connect(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Error> {
    let mut race = Race::new(interleave(addresses), port);
    let stream = poll_fn(|cx| race.poll(cx)).await?;
    // Writes are complete messages. The kernel would delay each until the previous one is acknowledged, which can take
    // 40 ms: after a TLS handshake, or between a head and its body.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// IPv6 and IPv4 by turns, beginning with what was first: where one of the two networks does not work, no more than
/// one attempt is lost to it.
fn interleave(addresses: &[IpAddr]) -> VecDeque<IpAddr> {
    let starts_with_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|ip| ip.is_ipv6() == starts_with_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = VecDeque::new();
    while ordered.len() < ADDRESSES {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            break;
        }
        ordered.extend(pair.into_iter().flatten());
    }
    ordered
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

struct Race {
    waiting: VecDeque<IpAddr>,
    port: u16,
    /// The oldest first. Dropping one closes its socket.
    running: VecDeque<Attempt>,
    next: Pin<Box<Sleep>>,
    worst: Failure,
}

impl Race {
    fn new(waiting: VecDeque<IpAddr>, port: u16) -> Self {
        let next = Box::pin(sleep(Duration::ZERO));
        Self { waiting, port, running: VecDeque::new(), next, worst: Failure::NoSuchAddress }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<TcpStream, Error>> {
        loop {
            if let Some(stream) = self.poll_running(cx) {
                return Poll::Ready(Ok(stream));
            }
            if self.waiting.is_empty() {
                return if self.running.is_empty() { Poll::Ready(Err(self.worst.error())) } else { Poll::Pending };
            }
            // A failed attempt leaves its place at once.
            if !self.running.is_empty() && self.next.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.start();
        }
    }

    /// Goes on with each attempt; what has failed is noted and forgotten.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<TcpStream> {
        let mut connected = None;
        let (running, worst) = (&mut self.running, &mut self.worst);
        let before = running.len();
        running.retain_mut(|attempt| match attempt.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(stream)) => {
                connected.get_or_insert(stream);
                false
            }
            Poll::Ready(Err(error)) => {
                *worst = (*worst).max(Failure::of(&error));
                false
            }
        });
        if running.len() < before {
            self.next.as_mut().reset(Instant::now());
        }
        connected
    }

    fn start(&mut self) {
        let Some(address) = self.waiting.pop_front() else { return };
        if self.running.len() == ATTEMPTS {
            self.running.pop_front();
            self.worst = self.worst.max(Failure::NoAnswer);
        }
        self.running.push_back(Box::pin(TcpStream::connect(SocketAddr::new(address, self.port))));
        self.next.as_mut().reset(Instant::now() + HEAD_START);
    }
}

/// Reason of a failed attempt; of several the greatest is reported. Hooks take a refusal to mean that there is no
/// server, so it counts only if all addresses refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Failure {
    /// This machine has no such address, or no network of its kind: `::1` where IPv6 is switched off.
    NoSuchAddress,
    Refused,
    Unreachable,
    NoAnswer,
    /// The connection was accepted and then closed before it was used.
    Closed,
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::AddrNotAvailable | ErrorKind::NetworkUnreachable => Self::NoSuchAddress,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Self::Closed,
            ErrorKind::TimedOut => Self::NoAnswer,
            _ if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Self::NoSuchAddress,
            _ => Self::Unreachable,
        }
    }

    fn error(self) -> Error {
        match self {
            // Nothing of the request was sent yet, so that it can safely be sent again.
            Self::NoSuchAddress | Self::Unreachable | Self::Closed => Error::DestinationUnavailable,
            Self::Refused => Error::ConnectionRefused,
            Self::NoAnswer => Error::ConnectionTimeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(addresses: &[&str]) -> Vec<String> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        interleave(&addresses).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn both_kinds_of_addresses_take_turns_and_each_keeps_its_order() {
        assert_eq!(ordered(&["::2", "::3", "::4", "1.1.1.2", "1.1.1.3"]), ["::2", "1.1.1.2", "::3", "1.1.1.3", "::4"]);
        assert_eq!(ordered(&["1.1.1.3", "1.1.1.2", "::2"]), ["1.1.1.3", "::2", "1.1.1.2"]);
        assert_eq!(ordered(&[]), [""; 0]);
    }

    #[test]
    fn only_the_first_addresses_of_a_host_with_very_many_are_tried() {
        let many: Vec<IpAddr> = (0..=255).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        assert_eq!(interleave(&many).len(), ADDRESSES);
    }

    #[test]
    fn a_refusal_counts_only_if_every_address_refused() {
        let of = |errno| Failure::of(&io::Error::from_raw_os_error(errno));
        let refused = of(libc::ECONNREFUSED);
        for nothing in [libc::EADDRNOTAVAIL, libc::ENETUNREACH, libc::EAFNOSUPPORT] {
            assert_eq!(of(nothing).max(refused), Failure::Refused);
        }
        for other in [libc::ECONNRESET, libc::ETIMEDOUT, libc::EHOSTUNREACH, libc::EACCES] {
            assert_ne!(of(other).max(refused), Failure::Refused);
        }
    }
}
