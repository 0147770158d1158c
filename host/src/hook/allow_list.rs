//! All processes: the allow list, where hooks may connect. A request or a probe is checked by its parsed scheme, host
//! and port, and then by the address that is really connected to; never by comparing strings of URLs.

use super::address::{embedded_ipv4, special_purpose};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
};

/// All rules of a hook.
#[derive(Clone, Debug)]
pub struct AllowList(Arc<[Rule]>);

/// One `--allow-http`: `scheme://host[:port]`. What it allows is in [`Rule::covers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    scheme: Scheme,
    hosts: HostPattern,
    /// Any, if there is none.
    port: Option<u16>,
}

/// The origin of a request's URL (RFC 6454), or of what is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub scheme: Scheme,
    pub host: Host,
    /// The host as it was written, in lower case and without a dot at the end. `a.localhost` is `localhost`, and has a
    /// certificate of its own.
    pub name: String,
    /// Whether a name ended in a dot, and is looked up as it is: without the search domains of resolv.conf.
    pub absolute: bool,
    /// 0 for a lookup.
    pub port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
    /// A connection that is only made.
    Tcp,
    /// gRPC's health check, without TLS.
    Grpc,
    /// A lookup of a name.
    Dns,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `localhost`, by RFC 6761 always this machine, whatever a hosts file says.
    Localhost,
    Ip(IpAddr),
    /// In lower case and without a dot at the end.
    Name(String),
}

/// The hosts of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Exact(Host),
    /// `*.example.com`: every name below this one, not the name itself.
    Subdomains(String),
}

impl AllowList {
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules.into())
    }

    /// The ports that may be connected to; nothing if any may.
    pub fn ports(&self) -> Option<Vec<u16>> {
        self.0.iter().filter(|rule| rule.scheme != Scheme::Dns).map(|rule| rule.port).collect()
    }

    /// Whether any rule names hosts that have to be looked up.
    pub fn names_hosts(&self) -> bool {
        self.0.iter().any(|rule| matches!(rule.hosts, HostPattern::Exact(Host::Name(_)) | HostPattern::Subdomains(_)))
    }

    /// Each as the option would be written.
    pub fn rules(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }

    pub fn any_https(&self) -> bool {
        self.0.iter().any(|rule| rule.scheme == Scheme::Https)
    }

    /// Whether the origin is allowed as it is written; a name may then be looked up.
    pub fn allows(&self, origin: &Origin) -> bool {
        self.matching(origin).any(|rule| match &origin.host {
            Host::Localhost => rule.hosts == HostPattern::Exact(Host::Localhost),
            Host::Ip(ip) => rule.names_address(*ip),
            Host::Name(name) => match &rule.hosts {
                HostPattern::Exact(host) => *host == origin.host,
                HostPattern::Subdomains(parent) => {
                    name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                }
            },
        })
    }

    /// Whether an address may be connected to for an origin that is allowed. A name does not allow special-purpose
    /// addresses; a rule for the address itself does.
    pub fn allows_address(&self, origin: &Origin, address: IpAddr) -> bool {
        let named = self.matching(origin).any(|rule| rule.names_address(address));
        named || (matches!(origin.host, Host::Name(_)) && special_purpose(address).is_none())
    }

    fn matching(&self, origin: &Origin) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(|rule| rule.covers(origin.scheme, origin.port))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, hosts, port } = self;
        match hosts {
            HostPattern::Exact(host) => write!(f, "{scheme}://{host}")?,
            HostPattern::Subdomains(parent) => write!(f, "{scheme}://*.{parent}")?,
        }
        match port {
            Some(port) => write!(f, ":{port}"),
            None if *scheme == Scheme::Dns => Ok(()),
            None => f.write_str(":*"),
        }
    }
}

impl Rule {
    /// Whether it is for this scheme and port, with the right host. A probe needs no rule of its own where a hook may
    /// do as much by HTTP: it can connect to any port that a rule names, and look up any name. The health check is sent
    /// in the clear, so a rule for HTTPS does not allow it.
    fn covers(&self, scheme: Scheme, port: u16) -> bool {
        let covers_scheme = match scheme {
            Scheme::Http | Scheme::Https => self.scheme == scheme,
            Scheme::Tcp => self.scheme != Scheme::Dns,
            Scheme::Grpc => matches!(self.scheme, Scheme::Http | Scheme::Tcp),
            Scheme::Dns => return true,
        };
        covers_scheme && self.port.is_none_or(|allowed| allowed == port)
    }

    fn names_address(&self, address: IpAddr) -> bool {
        // A loopback address is not meant as a translated one (NAT64): the translator's loopback is not ours.
        match &self.hosts {
            HostPattern::Exact(Host::Localhost) => address.to_canonical().is_loopback(),
            HostPattern::Exact(Host::Ip(ip)) if ip.to_canonical().is_loopback() => {
                ip.to_canonical() == address.to_canonical()
            }
            HostPattern::Exact(Host::Ip(ip)) => embedded_ipv4(*ip) == embedded_ipv4(address),
            HostPattern::Exact(Host::Name(_)) | HostPattern::Subdomains(_) => false,
        }
    }
}

impl Scheme {
    /// The schemes of rules.
    const OF_RULES: [Self; 4] = [Self::Http, Self::Https, Self::Tcp, Self::Dns];

    fn is_named(self, written: &str) -> bool {
        written.eq_ignore_ascii_case(&self.to_string())
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Tcp | Self::Grpc | Self::Dns => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Grpc => "grpc",
            Self::Dns => "dns",
        })
    }
}

impl Host {
    /// Reads the host part of a URL: a name, or an address with an IPv6 one in brackets.
    ///
    /// Abbreviated, octal and numeric forms of IPv4 addresses (`127.1`, `2130706433`) are refused rather than
    /// guessed, because resolvers disagree on them.
    fn parse(text: &str) -> Result<Self> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let ip: Ipv6Addr = inner.parse().with_context(|| format!("{text:?} is not an IPv6 address"))?;
            return Ok(Self::Ip(ip.to_canonical()));
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(ip.into()));
        }
        let name = name(text)?;
        if is_localhost(&name) { Ok(Self::Localhost) } else { Ok(Self::Name(name)) }
    }

    /// The host of a rule or target with this scheme.
    fn of(scheme: Scheme, text: &str) -> Result<Self> {
        let host = Self::parse(text)?;
        ensure!(
            scheme != Scheme::Dns || !matches!(host, Self::Ip(_)),
            "an address needs no lookup, dns:// is for names"
        );
        Ok(host)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost => f.write_str("localhost"),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Whether it is `localhost` or below it, which RFC 6761 makes the same machine.
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// A host name in one form: lower case, no dot at the end.
fn name(text: &str) -> Result<String> {
    /// The longest a name can be (RFC 1035).
    const LONGEST: usize = 253;
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    ensure!(name.len() <= LONGEST && name.split('.').all(label), "{text:?} is not a host name");
    // A name that ends in a number is meant as an address, but is not one (WHATWG URL, "ends in a number").
    let last = name.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    ensure!(!number, "{text:?} is neither a host name nor an IP address in its standard form");
    Ok(name)
}

impl Origin {
    /// Whether it is certainly in this pod.
    pub fn is_loopback(&self) -> bool {
        match self.host {
            Host::Localhost => true,
            Host::Ip(ip) => ip.to_canonical().is_loopback(),
            Host::Name(_) => false,
        }
    }

    /// Where a request's URI points.
    pub fn of(uri: &http::Uri) -> Result<Self> {
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => bail!("not http:// or https://"),
        };
        Self::parse(scheme, uri.authority().context("no host")?.as_str())
    }

    /// Where a URL points. Its error may contain a part of it, which may be a secret.
    pub fn of_url(url: &str) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let scheme = [Scheme::Http, Scheme::Https].into_iter().find(|known| known.is_named(scheme));
        let scheme = scheme.context("must start with http:// or https://")?;
        Self::parse(scheme, rest.split(['/', '?', '#']).next().unwrap_or_default())
    }

    /// A host, and a port unless the scheme has a default one.
    pub fn parse(scheme: Scheme, authority: &str) -> Result<Self> {
        let (host, port) = split_port(authority)?;
        let port = match (port, scheme.default_port()) {
            (Some(_), _) if scheme == Scheme::Dns => bail!("a lookup has no port"),
            (Some(port), _) => number(port)?,
            (None, Some(port)) => port,
            (None, None) if scheme == Scheme::Dns => 0,
            (None, None) => bail!("no port: {scheme}://{host}:PORT"),
        };
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Ok(Self { scheme, host: Host::of(scheme, host)?, name, absolute: host.ends_with('.'), port })
    }
}

impl fmt::Display for Origin {
    /// The value of `--allow-http` that would allow it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, .. } = self;
        match scheme {
            Scheme::Dns => write!(f, "{scheme}://{host}"),
            Scheme::Grpc => write!(f, "{}://{host}:{port}", Scheme::Tcp),
            Scheme::Http | Scheme::Https | Scheme::Tcp => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

impl FromStr for Rule {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (written, rest) = text.trim_ascii().split_once("://").unwrap_or_default();
        let scheme = Scheme::OF_RULES.into_iter().find(|scheme| scheme.is_named(written));
        let Some(scheme) = scheme else {
            bail!("must start with http:// or https://, or for probes with tcp:// or dns://");
        };
        let is_one = !rest.contains(char::is_whitespace) && !rest.contains(',');
        ensure!(is_one, "must be one URL; the option is repeated, and several are separated by \",\" in the variable");
        ensure!(!rest.contains(['/', '?', '#']), "must end after the host and port; paths cannot be restricted");
        let (host, port) = split_port(rest)?;
        let port = match (port, scheme.default_port()) {
            (Some(_), _) if scheme == Scheme::Dns => bail!("a lookup has no port"),
            (Some("*"), _) => None,
            (Some(port), _) => Some(number(port)?),
            (None, None) if scheme != Scheme::Dns => bail!("no port: {scheme}://{host}:PORT, or {scheme}://{host}:*"),
            (None, default) => default,
        };
        let hosts = match host.strip_prefix("*.") {
            Some(parent) => {
                let parent = name(parent)?;
                ensure!(!is_localhost(&parent), "write localhost, which includes its subdomains");
                HostPattern::Subdomains(parent)
            }
            None if host == "*" => {
                bail!("cannot allow every host, only subdomains (*.example.com) and every port (:*)")
            }
            None => HostPattern::Exact(Host::of(scheme, host)?),
        };
        Ok(Self { scheme, hosts, port })
    }
}

/// Splits `host:port`, where an IPv6 host is in brackets.
fn split_port(authority: &str) -> Result<(&str, Option<&str>)> {
    ensure!(!authority.contains('@'), "must not contain a user name");
    let end = match authority.find(']') {
        Some(bracket) => bracket + 1,
        None if authority.starts_with('[') => bail!("the bracket is not closed"),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at_checked(end).unwrap_or((authority, ""));
    match (host, rest.strip_prefix(':')) {
        ("", _) => bail!("no host"),
        (host, Some(port)) => Ok((host, Some(port))),
        (host, None) if rest.is_empty() => Ok((host, None)),
        _ => bail!("only a port may follow the ]"),
    }
}

fn number(port: &str) -> Result<u16> {
    // The number parser would take a sign.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port @ 1..) if digits => Ok(port),
        _ => bail!("the port is not a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(rule: &str, authority: &str) -> bool {
        let rule: Rule = rule.parse().unwrap();
        let scheme = rule.scheme;
        let allow = AllowList::new(vec![rule]);
        Origin::parse(scheme, authority).is_ok_and(|origin| allow.allows(&origin))
    }

    #[test]
    fn the_default_reaches_loopback_however_it_is_written_and_nothing_else() {
        for (authority, reached) in [
            ("localhost", true),
            ("localhost:15020", true),
            ("LOCALHOST.:15020", true),
            ("127.0.0.1:1", true),
            ("127.255.255.254:65535", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("[64:ff9b::7f00:1]:80", false),
            ("localhost@evil", false),
            ("localhost:80@evil", false),
            ("localhost.evil", false),
            ("evil.localhost.com", false),
            ("sub.localhost", true),
            ("example.com", false),
            ("127.1", false),
            ("0177.0.0.1", false),
            ("0x7f.0.0.1", false),
            ("2130706433", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("[::ffff:10.0.0.1]", false),
            ("[::ffff:0.0.0.0]", false),
            ("169.254.169.254", false),
            ("[fe80::1]", false),
            ("10.0.0.1", false),
            ("::1", false),
            ("[::1", false),
            ("[::1]x:80", false),
            ("[127.0.0.1]", false),
            ("localhost:0", false),
            ("localhost:65536", false),
            ("localhost:+80", false),
            ("localhost:", false),
            ("localhost:80:80", false),
            ("", false),
            (":80", false),
            (" localhost", false),
        ] {
            assert_eq!(reaches("http://localhost:*", authority), reached, "{authority:?}");
        }
    }

    #[test]
    fn a_rule_allows_its_port_and_its_address_only() {
        for (rule, authority, reached) in [
            ("http://localhost:15020", "localhost:15020", true),
            ("http://localhost:15020", "127.0.0.1:15020", true),
            ("http://localhost:15020", "localhost:15021", false),
            ("http://localhost", "localhost", true),
            ("http://localhost", "localhost:80", true),
            ("http://localhost", "localhost:8080", false),
            ("http://127.0.0.1:*", "127.0.0.1:9", true),
            ("http://127.0.0.1:*", "127.0.0.2:9", false),
            ("http://127.0.0.1:*", "[::ffff:127.0.0.1]:9", true),
            ("http://127.0.0.1:*", "[64:ff9b::7f00:1]:9", false),
            ("http://10.0.0.1:*", "10.0.0.1:9", true),
            ("http://10.0.0.1:*", "[::ffff:10.0.0.1]:9", true),
            ("http://10.0.0.1:*", "[64:ff9b::a00:1]:9", true),
            ("http://[::1]:9", "[::1]:9", true),
            ("http://[::1]:9", "[0:0:0:0:0:0:0:1]:9", true),
            ("http://[::1]:9", "127.0.0.1:9", false),
            ("http://example.com", "EXAMPLE.com.", true),
            ("http://example.com", "sub.example.com", false),
            ("http://example.com", "example.com.evil", false),
            ("https://example.com", "example.com:443", true),
            ("https://example.com", "example.com:80", false),
            ("http://*.example.com", "a.b.example.com", true),
            ("http://*.example.com", "example.com", false),
            ("http://*.example.com", "evilexample.com", false),
            ("http://*.example.com:*", "a.example.com:8080", true),
            ("HTTP://LOCALHOST:15020", "localhost:15020", true),
            ("Https://*.EXAMPLE.com.", "a.example.COM", true),
            (" http://localhost:15020\n", "localhost:15020", true),
        ] {
            assert_eq!(reaches(rule, authority), reached, "{rule} {authority}");
        }
    }

    #[test]
    fn a_probe_needs_a_rule_for_its_host_and_port() {
        use Scheme::{Dns, Grpc, Http, Https, Tcp};
        for (rule, scheme, authority, allowed) in [
            ("http://localhost:*", Tcp, "localhost:5432", true),
            ("http://localhost:*", Grpc, "127.0.0.1:50051", true),
            ("http://localhost:*", Dns, "localhost", true),
            ("http://localhost:*", Dns, "db", false),
            ("http://localhost:*", Tcp, "db:5432", false),
            ("tcp://db:5432", Tcp, "DB.:5432", true),
            ("tcp://db:5432", Tcp, "db:5433", false),
            ("tcp://db:5432", Grpc, "db:5432", true),
            ("tcp://db:5432", Http, "db:5432", false),
            ("tcp://db:5432", Https, "db:5432", false),
            ("tcp://db:5432", Dns, "db", true),
            ("tcp://*.svc:*", Tcp, "a.b.svc:1", true),
            ("https://api.example", Tcp, "api.example:443", true),
            ("https://api.example", Grpc, "api.example:443", false),
            ("https://api.example", Dns, "api.example", true),
            ("dns://db", Dns, "db", true),
            ("dns://db", Tcp, "db:5432", false),
            ("dns://*.svc", Dns, "a.svc", true),
        ] {
            let allow = AllowList::new(vec![rule.parse().unwrap()]);
            assert_eq!(
                allow.allows(&Origin::parse(scheme, authority).unwrap()),
                allowed,
                "{rule} {scheme}://{authority}"
            );
        }
        for (scheme, authority) in [(Tcp, "db"), (Grpc, "db"), (Dns, "db:53"), (Tcp, "db:5432/")] {
            assert!(Origin::parse(scheme, authority).is_err(), "{scheme}://{authority}");
        }
    }

    #[test]
    fn a_lookup_opens_no_port() {
        let ports = |rules: &[&str]| AllowList::new(rules.iter().map(|rule| rule.parse().unwrap()).collect()).ports();
        assert_eq!(ports(&["dns://db", "tcp://db:5432"]), Some(vec![5432]));
        assert_eq!(ports(&["dns://db", "tcp://db:*"]), None);
    }

    #[test]
    fn a_rule_is_a_url_that_ends_after_the_port() {
        for rule in [
            "",
            "localhost",
            "localhost:80",
            "ftp://localhost",
            "grpc://localhost:1",
            "tcp://localhost",
            "tcp://:5432",
            "tcp://*:5432",
            "dns://localhost:53",
            "http://",
            "http://:80",
            "http://localhost:80/",
            "http://localhost?x",
            "http://user@localhost",
            "http://localhost:0",
            "http://localhost:65536",
            "http://localhost:http",
            "http://[::1",
            "http://127.1",
            "http://*",
            "http://*.",
            "http://a.*.com",
            "http://*.localhost:*",
            "http://*.a.LOCALHOST.",
            "dns://10.0.0.1",
            "dns://[::1]",
            "http://-a.com",
            "http://a..b",
            "http://a b",
            "http://1.2.3.4.5",
            "httpx://localhost",
            "http ://localhost",
        ] {
            assert!(rule.parse::<Rule>().is_err(), "{rule}");
        }
    }

    #[test]
    fn a_denied_target_is_written_as_the_rule_that_would_allow_it() {
        for authority in ["localhost", "LOCALHOST:15020", "10.0.0.1:9", "[::1]:80", "[::ffff:10.0.0.1]:1", "A.b.c:1"] {
            let origin = Origin::parse(Scheme::Http, authority).unwrap();
            assert!(reaches(&origin.to_string(), authority), "{authority}");
        }
        for (scheme, authority) in [(Scheme::Tcp, "db:1"), (Scheme::Grpc, "[::1]:1"), (Scheme::Dns, "db")] {
            let origin = Origin::parse(scheme, authority).unwrap();
            assert!(AllowList::new(vec![origin.to_string().parse().unwrap()]).allows(&origin), "{origin}");
        }
    }

    #[test]
    fn a_rule_counts_for_its_scheme_only() {
        let allow = AllowList::new(vec!["https://example.com:*".parse().unwrap()]);
        for (scheme, admitted) in [(Scheme::Https, true), (Scheme::Http, false)] {
            assert_eq!(allow.allows(&Origin::parse(scheme, "example.com:80").unwrap()), admitted);
        }
    }

    #[test]
    fn a_name_opens_no_special_address_unless_a_rule_names_that_address() {
        let rules = |rules: &[&str]| AllowList::new(rules.iter().map(|rule| rule.parse().unwrap()).collect());
        let origin = Origin::parse(Scheme::Http, "example.com").unwrap();
        let opens = |allow: &AllowList, address: &str| allow.allows_address(&origin, address.parse().unwrap());
        let by_name = rules(&["http://example.com"]);
        for (address, opened) in [
            ("93.184.216.34", true),
            ("10.0.0.1", true),
            ("fd12::1", true),
            ("127.0.0.1", false),
            ("::ffff:127.0.0.1", false),
            ("169.254.169.254", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("fd00:ec2::254", false),
        ] {
            assert_eq!(opens(&by_name, address), opened, "{address}");
        }
        for (rule, address) in [
            ("http://localhost", "127.0.0.1"),
            ("http://localhost", "::ffff:127.0.0.1"),
            ("http://169.254.169.254", "169.254.169.254"),
            ("http://169.254.169.254", "64:ff9b::a9fe:a9fe"),
            ("http://[fd00:ec2::254]", "fd00:ec2::254"),
        ] {
            assert!(opens(&rules(&["http://example.com", rule]), address), "{rule} {address}");
        }
        for (rule, address) in [
            ("http://localhost", "64:ff9b::7f00:1"),
            ("http://169.254.169.254:81", "169.254.169.254"),
            ("https://169.254.169.254:80", "169.254.169.254"),
            ("http://169.254.169.253", "169.254.169.254"),
        ] {
            assert!(!opens(&rules(&["http://example.com", rule]), address), "{rule} {address}");
        }
    }

    #[test]
    fn a_dot_at_the_end_makes_a_name_absolute_and_changes_no_rule() {
        for (authority, absolute) in [("a.example", false), ("a.example.", true), ("a.example.:80", true)] {
            let origin = Origin::parse(Scheme::Http, authority).unwrap();
            assert_eq!((origin.absolute, &origin.host), (absolute, &Host::Name("a.example".into())));
        }
    }
}
