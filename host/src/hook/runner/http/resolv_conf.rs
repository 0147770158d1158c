//! resolv.conf(5): which name servers are asked, and for what when a name is short.

use super::resolve::PORT;
use domain::resolv::stub::{
    StubResolver,
    conf::{self, ResolvOptions, ServerConf, Transport},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

/// As many name servers as the C library asks (MAXNS).
const SERVERS: usize = 3;

/// As many search domains as Kubernetes lets a pod have.
const DOMAINS: usize = 32;

/// The most dots that may be asked for, as the C library has it.
const MOST_DOTS: usize = 15;

/// How long one question may take in all. [`super::resolve`] asks again before.
const ANSWER: Duration = Duration::from_secs(5);

/// What the file says, as far as it is understood here.
#[derive(Debug)]
pub struct ResolvConf {
    servers: Vec<IpAddr>,
    domains: Vec<String>,
    /// A name with as many dots is first looked up as it is.
    dots: usize,
    tcp: bool,
}

impl ResolvConf {
    /// Lines and words that are malformed or unknown are skipped.
    pub fn parse(text: &str) -> Self {
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

    pub fn servers(&self) -> StubResolver {
        let server = |ip: &IpAddr| ServerConf::new(SocketAddr::new(*ip, PORT), Transport::UdpTcp);
        let options = ResolvOptions { timeout: ANSWER, use_vc: self.tcp, ..ResolvOptions::default() };
        StubResolver::from_conf(conf::ResolvConf { servers: self.servers.iter().map(server).collect(), options })
    }

    /// What is asked for in turn when a name is looked up.
    pub fn candidates(&self, name: &str, absolute: bool) -> Vec<String> {
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
