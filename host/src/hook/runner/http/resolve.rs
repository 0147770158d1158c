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
        lookup::host::FoundHosts,
        stub::{
            Answer, StubResolver,
            conf::{self, ResolvOptions, ServerConf, Transport},
        },
    },
};
use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
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

/// Intervals after which a query is repeated: a datagram can be lost silently.
const PATIENCE: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];

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
    servers: StubResolver,
    conf: ResolvConf,
}

impl Names {
    /// Malformed lines are skipped.
    pub fn parse(files: DnsFiles) -> Self {
        let conf = ResolvConf::parse(&String::from_utf8_lossy(&files.resolv_conf));
        let hosts = String::from_utf8_lossy(&files.hosts).into_owned();
        Self { hosts, servers: conf.servers(), conf }
    }

    /// The origin's addresses, looked up once: the addresses that are checked are the ones that are connected to.
    pub async fn addresses(&self, origin: &Origin) -> Result<Vec<IpAddr>, Error> {
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
    async fn search(&self, name: &str, absolute: bool) -> Result<Vec<IpAddr>, Error> {
        let mut error = Error::DnsError { rcode: None, info_code: None };
        for candidate in self.conf.candidates(name, absolute) {
            let Ok(candidate) = Name::vec_from_str(&candidate) else { continue };
            match self.look_up(&candidate).await {
                Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
                Ok(_) => {}
                // The answer of another search domain would be for another name.
                Err(error) if error.kind() == ErrorKind::TimedOut => return Err(Error::DnsTimeout),
                Err(_) => error = Error::DnsError { rcode: None, info_code: None },
            }
        }
        Err(error)
    }

    /// The addresses of both kinds, or of one if the query for the other takes too long.
    async fn look_up(&self, name: &Name<Vec<u8>>) -> io::Result<Vec<IpAddr>> {
        let late = || Err(io::Error::from(ErrorKind::TimedOut));
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
        let found = FoundHosts::<StubResolver>::new(found_v6.unwrap_or_else(late), found_v4.unwrap_or_else(late))?;
        Ok(found.iter().collect())
    }

    async fn query(&self, name: &Name<Vec<u8>>, kind: Rtype) -> io::Result<Answer> {
        for patience in PATIENCE {
            if let Ok(answer) = timeout(patience, self.servers.query((name, kind))).await {
                return answer;
            }
        }
        Err(ErrorKind::TimedOut.into())
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

    fn servers(&self) -> StubResolver {
        let server = |ip: &IpAddr| ServerConf::new(SocketAddr::new(*ip, PORT), Transport::UdpTcp);
        let options = ResolvOptions { timeout: ANSWER, use_vc: self.tcp, ..ResolvOptions::default() };
        StubResolver::from_conf(conf::ResolvConf { servers: self.servers.iter().map(server).collect(), options })
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
