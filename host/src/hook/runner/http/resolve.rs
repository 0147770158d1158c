//! Runner: looks up names with the hosts file and the name servers of this container.
//!
//! Not the C library's resolver: in a static program it loads libraries at run time, which an image without any does
//! not have.

use crate::{
    environment,
    hook::allow_list::{Host, Origin},
};
use domain::{
    base::{
        iana::{Rcode, Rtype},
        name::Name,
    },
    resolv::{
        Resolver,
        lookup::host::FoundHosts,
        stub::{
            Answer, StubResolver,
            conf::{self, ResolvOptions, ServerConf, Transport},
        },
    },
};
use std::{
    fmt,
    future::poll_fn,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use wasmtime_wasi_http::Error;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Bytes that are read of these files. The kubelet writes a line for each alias, of which a pod's manifest can hold
/// about a megabyte; of resolv.conf it writes three lines.
const HOSTS_LIMIT: u64 = 1 << 20;
const RESOLV_CONF_LIMIT: u64 = 64 << 10;

/// Where name servers listen.
pub const PORT: u16 = 53;

/// Wait for the other kind of addresses (AAAA or A) once the answer for one is there. RFC 8305 has 50 ms; a resolver of
/// a container is one hop further away.
const OTHER_KIND: Duration = Duration::from_millis(100);

/// Time that a name server is alone before the next one is queried as well.
const HEAD_START: Duration = Duration::from_millis(300);

/// Intervals after which a query is repeated: a datagram can be lost silently. Together they are shorter than the five
/// seconds that the SDK gives a request, so that the hook can report that it was waiting for the name server.
const PATIENCE: [Duration; 3] = [Duration::from_secs(1), Duration::from_millis(1500), Duration::from_secs(2)];

/// The bytes of hosts(5) and resolv.conf(5).
#[derive(Default)]
pub struct DnsFiles {
    hosts: Vec<u8>,
    resolv_conf: Vec<u8>,
}

impl DnsFiles {
    /// A missing file leaves names unresolved, which is reported when one is needed.
    pub fn read() -> Self {
        Self {
            hosts: environment::read_lines(HOSTS, HOSTS_LIMIT),
            resolv_conf: environment::read_lines(RESOLV_CONF, RESOLV_CONF_LIMIT),
        }
    }
}

/// Looks up names.
pub struct Names {
    hosts: String,
    servers: Vec<StubResolver>,
    /// The one that answered last. It is queried first: one that does not respond delays one lookup, not each.
    preferred: AtomicUsize,
    conf: ResolvConf,
}

/// Why a lookup has no result. Of several reasons the greatest is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LookupError {
    /// There is no route to any, for example to an IPv6 address without IPv6. A closed port counts as no response.
    Unreachable,
    /// The name server could not look up the name, or refused to.
    Answered(Rcode),
    TimedOut,
    NoSuchHost,
}

impl LookupError {
    pub fn error(self) -> Error {
        match self {
            Self::Unreachable | Self::TimedOut => Error::DnsTimeout,
            Self::Answered(rcode) => Error::DnsError { rcode: Some(rcode.to_string()), info_code: None },
            Self::NoSuchHost => Error::DnsError { rcode: None, info_code: None },
        }
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("no name server could be reached"),
            Self::TimedOut => f.write_str("the name server did not respond"),
            Self::Answered(rcode) => write!(f, "the name server answered {rcode}"),
            Self::NoSuchHost => f.write_str("no such host"),
        }
    }
}

impl Names {
    /// Malformed lines are skipped.
    pub fn parse(files: DnsFiles) -> Self {
        let conf = ResolvConf::parse(&String::from_utf8_lossy(&files.resolv_conf));
        let hosts = String::from_utf8_lossy(&files.hosts).into_owned();
        Self { hosts, servers: conf.servers(), preferred: AtomicUsize::new(0), conf }
    }

    /// The origin's addresses, looked up once: the addresses that are checked are the ones that are connected to.
    pub async fn addresses(&self, origin: &Origin) -> Result<Vec<IpAddr>, LookupError> {
        match &origin.host {
            Host::Localhost => Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
            Host::Ip(ip) => Ok(vec![*ip]),
            Host::Name(name) => {
                let listed = listed(&self.hosts, name);
                if listed.is_empty() { self.search(name, origin.absolute).await } else { Ok(listed) }
            }
        }
    }

    /// Looks up the name, and the name in each search domain, until there is an address.
    async fn search(&self, name: &str, absolute: bool) -> Result<Vec<IpAddr>, LookupError> {
        let mut failure = LookupError::NoSuchHost;
        for candidate in self.conf.candidates(name, absolute) {
            let Ok(candidate) = Name::vec_from_str(&candidate) else { continue };
            match self.look_up(&candidate).await {
                Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
                Ok(_) | Err(LookupError::NoSuchHost) => {}
                Err(error @ LookupError::Answered(_)) => failure = error,
                // The answer of another search domain would be for another name.
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }

    /// The addresses of both kinds, or of one if the query for the other fails or takes too long.
    async fn look_up(&self, name: &Name<Vec<u8>>) -> Result<Vec<IpAddr>, LookupError> {
        let (mut v6, mut v4) = (pin!(self.query(name, Rtype::AAAA)), pin!(self.query(name, Rtype::A)));
        let (mut found_v6, mut found_v4) = (None, None);
        let mut enough = pin!(sleep(PATIENCE.iter().sum()));
        while found_v6.is_none() || found_v4.is_none() {
            let found = tokio::select! {
                answer = &mut v6, if found_v6.is_none() => found_v6.insert(answer),
                answer = &mut v4, if found_v4.is_none() => found_v4.insert(answer),
                () = &mut enough => break,
            };
            // A name that does not exist has no address of the other kind either.
            let settles =
                |answer: &Answer| answer.header_counts().ancount() > 0 || answer.header().rcode() == Rcode::NXDOMAIN;
            if found.as_ref().is_ok_and(settles) {
                enough.as_mut().reset(Instant::now() + OTHER_KIND);
            }
        }
        let late = Err(LookupError::TimedOut);
        let (v6, v4) = (found_v6.unwrap_or(late.clone()), found_v4.unwrap_or(late));
        if let (Err(v6), Err(v4)) = (&v6, &v4) {
            return Err(*v6.max(v4));
        }
        let failure = v6.as_ref().err().or(v4.as_ref().err()).copied();
        let absent = |_| io::Error::from(ErrorKind::NotFound);
        let found = FoundHosts::<StubResolver>::new(v6.map_err(absent), v4.map_err(absent));
        // Its error is a loop of aliases.
        let addresses: Vec<_> = found.map_err(|_| LookupError::NoSuchHost)?.iter().collect();
        // The name may have addresses of the kind that is not known.
        failure.filter(|_| addresses.is_empty()).map_or(Ok(addresses), Err)
    }

    async fn query(&self, name: &Name<Vec<u8>>, kind: Rtype) -> Result<Answer, LookupError> {
        for patience in PATIENCE {
            if let Ok(answer) = timeout(patience, self.query_servers(name, kind)).await {
                return answer;
            }
        }
        Err(LookupError::TimedOut)
    }

    /// The first answer of a name server about the name, which may be that it does not exist. The next server is
    /// queried at once after an error, which is about the server, and after a while besides one that does not respond.
    async fn query_servers(&self, name: &Name<Vec<u8>>, kind: Rtype) -> Result<Answer, LookupError> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        let mut waiting = self.servers.iter().enumerate().cycle().skip(preferred).take(self.servers.len());
        let mut running = Vec::new();
        let mut failure = LookupError::Unreachable;
        loop {
            if let Some((number, server)) = waiting.next() {
                running.push((number, Resolver::query(server, (name, kind))));
            } else if running.is_empty() {
                return Err(failure);
            }
            let ended = poll_fn(|cx| {
                let mut ended = None;
                running.retain_mut(|(number, query)| match ended.is_none().then(|| query.as_mut().poll(cx)) {
                    Some(Poll::Ready(answer)) => {
                        ended = Some((*number, answer));
                        false
                    }
                    _ => true,
                });
                ended.map_or(Poll::Pending, Poll::Ready)
            });
            match timeout(HEAD_START, ended).await {
                Ok((number, Ok(answer))) if answer.is_final() => {
                    self.preferred.store(number, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok((_, Ok(answer))) => failure = failure.max(LookupError::Answered(answer.header().rcode())),
                _ => {}
            }
        }
    }
}

/// The addresses of a name in a hosts file: lines of `address name…`, with comments from `#` on (hosts(5)).
fn listed(hosts: &str, name: &str) -> Vec<IpAddr> {
    let address_of = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.strip_suffix('.').unwrap_or(word).eq_ignore_ascii_case(name)).then_some(address)
    };
    hosts.lines().filter_map(address_of).collect()
}

/// As many name servers as the C library uses (MAXNS).
const SERVERS: usize = 3;

/// As many search domains as Kubernetes lets a pod have.
const DOMAINS: usize = 32;

/// Greatest `ndots`, as in the C library.
const MOST_DOTS: usize = 15;

/// Time limit of one query; it is repeated before.
const ANSWER: Duration = Duration::from_secs(5);

/// The parts of resolv.conf(5) that are supported: name servers, and how short names are completed.
#[derive(Debug)]
struct ResolvConf {
    servers: Vec<IpAddr>,
    domains: Vec<String>,
    /// A name with as many dots is first looked up as it is.
    dots: usize,
    tcp: bool,
}

impl ResolvConf {
    /// Malformed or unknown lines and options are skipped.
    fn parse(text: &str) -> Self {
        let mut conf = Self { servers: Vec::new(), domains: Vec::new(), dots: 1, tcp: false };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok())),
                Some("search" | "domain") => {
                    let domain = |word: &str| word.trim_end_matches('.').to_owned();
                    conf.domains = words.map(domain).filter(|domain| !domain.is_empty()).take(DOMAINS).collect();
                }
                Some("options") => {
                    for option in words {
                        match option.split_once(':') {
                            Some(("ndots", dots)) => {
                                conf.dots = dots.parse().map_or(conf.dots, |dots: usize| dots.min(MOST_DOTS))
                            }
                            None if option == "use-vc" => conf.tcp = true,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        conf.servers.truncate(SERVERS);
        if conf.servers.is_empty() {
            conf.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        conf
    }

    /// A resolver for each: one for all of them would return the first error of any.
    fn servers(&self) -> Vec<StubResolver> {
        let resolver = |ip: &IpAddr| {
            let server = ServerConf::new(SocketAddr::new(*ip, PORT), Transport::UdpTcp);
            let options = ResolvOptions { timeout: ANSWER, use_vc: self.tcp, ..ResolvOptions::default() };
            StubResolver::from_conf(conf::ResolvConf { servers: vec![server], options })
        };
        self.servers.iter().map(resolver).collect()
    }

    /// The names that are queried in turn when a name is looked up.
    fn candidates(&self, name: &str, absolute: bool) -> Vec<String> {
        if absolute {
            return vec![name.into()];
        }
        let mut candidates: Vec<String> = self.domains.iter().map(|domain| format!("{name}.{domain}")).collect();
        let own_place = if name.matches('.').count() >= self.dots { 0 } else { candidates.len() };
        candidates.insert(own_place, name.into());
        candidates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_gives_several_names_to_an_address() {
        let text = "# none\n10.0.0.1 a.example A2\t# b.example\n\nbad c.example\n::1 a.example.\n10.0.0.2\n";
        let found = |name| listed(text, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("a.example"), ["10.0.0.1", "::1"]);
        assert_eq!(found("a2"), ["10.0.0.1"]);
        for absent in ["b.example", "c.example", "example", "", "10.0.0.2"] {
            assert_eq!(found(absent), [""; 0], "{absent}");
        }
    }

    #[test]
    fn lines_that_are_not_understood_are_skipped_and_the_others_stand() {
        let text = "# nameserver 9.9.9.9\n;nameserver 9.9.9.8\nnonsense\nnameserver\nnameserver here\n\
                    nameserver fe80::1%eth0\nnameserver 10.0.0.1 # ours\noptions ndots:x ndots:5 timeout:0 \u{0} \
                    use-vc\nsearch a.example b.example. .\nnameserver fd00::1\nnameserver 10.0.0.2\n\
                    nameserver 10.0.0.3\nnameserver";
        let conf = ResolvConf::parse(text);
        assert_eq!(
            conf.servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.1", "fd00::1", "10.0.0.2"]
        );
        assert_eq!((conf.dots, conf.tcp), (5, true));
        assert_eq!(conf.domains, ["a.example", "b.example"]);
        let empty = ResolvConf::parse("");
        assert_eq!((empty.servers, empty.dots), (vec![IpAddr::from(Ipv4Addr::LOCALHOST)], 1));
        assert_eq!(ResolvConf::parse("options ndots:99999999999999999999").dots, 1);
        assert_eq!(ResolvConf::parse("options ndots:999").dots, MOST_DOTS);
        assert_eq!(ResolvConf::parse(&format!("search{}", " a.example".repeat(100))).domains.len(), DOMAINS);
    }

    #[test]
    fn a_name_with_enough_dots_is_asked_for_as_it_is_first_and_an_absolute_one_only() {
        let conf = ResolvConf::parse("search x y\noptions ndots:2");
        for (name, absolute, asked) in [
            ("a", false, &["a.x", "a.y", "a"][..]),
            ("a.b", false, &["a.b.x", "a.b.y", "a.b"]),
            ("a.b.c", false, &["a.b.c", "a.b.c.x", "a.b.c.y"]),
            ("a", true, &["a"]),
            ("a.b.c", true, &["a.b.c"]),
        ] {
            assert_eq!(conf.candidates(name, absolute), asked, "{name}");
        }
    }
}
