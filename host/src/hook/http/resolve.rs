//! From a name to addresses: the hosts file and the name servers of this container, read before the jail closes.
//!
//! Not the C library's resolver: in a static program it loads libraries at run time, which an image without any does
//! not have.

use super::policy::{Host, Target};
use domain::{
    base::name::RelativeName,
    resolv::stub::{StubResolver, conf::ResolvConf},
};
use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use wasmtime_wasi_http::Error;

const HOSTS: &str = "/etc/hosts";
const NAME_SERVERS: &str = "/etc/resolv.conf";

/// Where name servers listen.
pub const PORT: u16 = 53;

/// What this container knows of names.
#[derive(Default)]
pub struct Names {
    hosts: Vec<(String, IpAddr)>,
    /// Nothing if no rule names a host that would have to be looked up.
    servers: Option<StubResolver>,
}

impl Names {
    /// Reads the files. What is missing or malformed leaves names unresolved, which is told when one is needed.
    pub fn load() -> Self {
        let mut servers = ResolvConf::new();
        let _ = servers.parse_file(NAME_SERVERS);
        servers.finalize();
        let hosts = parse_hosts(&fs::read_to_string(HOSTS).unwrap_or_default());
        Self { hosts, servers: Some(StubResolver::from_conf(servers)) }
    }

    /// The target's addresses, looked up once: what is judged is what is connected to.
    pub async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, Error> {
        match &target.host {
            Host::Localhost => Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
            Host::Ip(ip) => Ok(vec![*ip]),
            Host::Name(name) => {
                let listed: Vec<IpAddr> =
                    self.hosts.iter().filter(|(host, _)| host == name).map(|(_, address)| *address).collect();
                match listed.is_empty() {
                    true => self.ask(name).await,
                    false => Ok(listed),
                }
            }
        }
    }

    async fn ask(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        let unknown = || Error::DnsError { rcode: None, info_code: None };
        let servers = self.servers.as_ref().ok_or_else(unknown)?;
        let name = RelativeName::<Vec<u8>>::vec_from_str(name).map_err(|_| unknown())?;
        let found = servers.search_host(name).await.map_err(|error| match error.kind() {
            ErrorKind::TimedOut => Error::DnsTimeout,
            _ => unknown(),
        })?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        match addresses.is_empty() {
            true => Err(unknown()),
            false => Ok(addresses),
        }
    }
}

/// Lines of `address name…`, with comments from `#` on (hosts(5)).
fn parse_hosts(text: &str) -> Vec<(String, IpAddr)> {
    let mut hosts = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next().and_then(|address| address.parse().ok()) else { continue };
        hosts.extend(words.map(|name| (name.trim_end_matches('.').to_ascii_lowercase(), address)));
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_gives_several_names_to_an_address() {
        let text = "# none\n10.0.0.1 a.example A2\t# b.example\n\nbad c.example\n::1 a.example\n10.0.0.2\n";
        let found: Vec<_> = parse_hosts(text).into_iter().map(|(name, ip)| format!("{name} {ip}")).collect();
        assert_eq!(found, ["a.example 10.0.0.1", "a2 10.0.0.1", "a.example ::1"]);
    }
}
