//! Where hooks may connect. A request is judged by its parsed scheme, host and port, and then by the address that is
//! really connected to; never by comparing strings of URLs.

use anyhow::{Context, Result, bail};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// What the operator allowed.
#[derive(Clone, Debug)]
pub struct Allow(Vec<Rule>);

/// One `--allow-http`: `scheme://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    host: Host,
    /// Any, if there is none.
    port: Option<u16>,
}

/// Where a request wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub host: Host,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `localhost`, by RFC 6761 always this machine, whatever a hosts file says.
    Localhost,
    Ip(IpAddr),
}

/// The port of `http://host`.
const HTTP_PORT: u16 = 80;

impl Allow {
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// The addresses of the target that may be connected to, in the order in which to try them.
    pub fn addresses(&self, target: &Target) -> Vec<IpAddr> {
        let mut addresses = target.host.addresses();
        addresses.retain(|address| self.0.iter().any(|rule| rule.allows(*address, target.port)));
        addresses
    }
}

impl Rule {
    fn allows(&self, address: IpAddr, port: u16) -> bool {
        let host = match &self.host {
            Host::Localhost => address.is_loopback(),
            Host::Ip(ip) => *ip == address,
        };
        host && self.port.is_none_or(|allowed| allowed == port)
    }
}

impl Host {
    /// Reads the host part of a URL: a name, or an address with an IPv6 one in brackets.
    ///
    /// Abbreviated, octal and numeric forms of IPv4 addresses (`127.1`, `2130706433`) are refused rather than
    /// guessed, because resolvers disagree on them.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let ip: Ipv6Addr = inner.parse().with_context(|| format!("{text:?} is not an IPv6 address"))?;
            return Ok(Self::Ip(plain(ip.into())));
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(ip.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match name.as_str() {
            "localhost" => Ok(Self::Localhost),
            _ => bail!("host {text:?}: only localhost and IP addresses can be reached"),
        }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        match self {
            Self::Localhost => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Self::Ip(ip) => vec![*ip],
        }
    }
}

/// An IPv4 address that was written as an IPv6 one (`::ffff:10.0.0.1`) is that IPv4 address.
fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

impl Target {
    /// Where a request's URI points.
    pub fn of(uri: &http::Uri) -> Result<Self> {
        if uri.scheme() != Some(&http::uri::Scheme::HTTP) {
            bail!("only http:// can be reached");
        }
        let authority = uri.authority().context("no host")?;
        Self::parse(authority.as_str())
    }

    fn parse(authority: &str) -> Result<Self> {
        let (host, port) = split_port(authority)?;
        let port = match port {
            None => HTTP_PORT,
            Some(port) => number(port)?,
        };
        Ok(Self { host: Host::parse(host)?, port })
    }
}

impl fmt::Display for Target {
    /// The value of `--allow-http` that would allow it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Localhost => write!(f, "http://localhost:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "http://{ip}:{}", self.port),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "http://[{ip}]:{}", self.port),
        }
    }
}

impl FromStr for Rule {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let rest = text.strip_prefix("http://").context("must start with http://")?;
        if rest.contains(['/', '?', '#']) {
            bail!("must end after the host and port");
        }
        let (host, port) = split_port(rest)?;
        let port = match port {
            None => Some(HTTP_PORT),
            Some("*") => None,
            Some(port) => Some(number(port)?),
        };
        Ok(Self { host: Host::parse(host)?, port })
    }
}

/// Splits `host:port`, where an IPv6 host is in brackets.
fn split_port(authority: &str) -> Result<(&str, Option<&str>)> {
    if authority.contains('@') {
        bail!("a user name does not belong here");
    }
    let end = match authority.find(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at_checked(end).unwrap_or((authority, ""));
    match (host, rest.strip_prefix(':')) {
        ("", _) => bail!("no host"),
        (host, Some(port)) => Ok((host, Some(port))),
        (host, None) if rest.is_empty() => Ok((host, None)),
        _ => bail!("nothing may stand between ] and the port"),
    }
}

fn number(port: &str) -> Result<u16> {
    // The number parser would take a sign.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port @ 1..) if digits => Ok(port),
        _ => bail!("port {port:?} is not a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(rule: &str, authority: &str) -> bool {
        let allow = Allow::new(vec![rule.parse().unwrap()]);
        Target::parse(authority).is_ok_and(|target| !allow.addresses(&target).is_empty())
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
            ("localhost@evil", false),
            ("localhost:80@evil", false),
            ("localhost.evil", false),
            ("evil.localhost.com", false),
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
            ("http://10.0.0.1:*", "10.0.0.1:9", true),
            ("http://10.0.0.1:*", "[::ffff:10.0.0.1]:9", true),
            ("http://[::1]:9", "[::1]:9", true),
            ("http://[::1]:9", "[0:0:0:0:0:0:0:1]:9", true),
            ("http://[::1]:9", "127.0.0.1:9", false),
        ] {
            assert_eq!(reaches(rule, authority), reached, "{rule} {authority}");
        }
    }

    #[test]
    fn a_rule_is_a_url_that_ends_after_the_port() {
        for rule in [
            "",
            "localhost",
            "localhost:80",
            "ftp://localhost",
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
        ] {
            assert!(rule.parse::<Rule>().is_err(), "{rule}");
        }
    }

    #[test]
    fn a_denied_target_is_written_as_the_rule_that_would_allow_it() {
        for authority in ["localhost", "LOCALHOST:15020", "10.0.0.1:9", "[::1]:80", "[::ffff:10.0.0.1]:1"] {
            let target = Target::parse(authority).unwrap();
            assert!(reaches(&target.to_string(), authority), "{authority}");
        }
    }
}
