//! All processes: the targets of probes, by their URLs.

use super::allow_list::{Origin, Scheme};
use anyhow::{Context, Result, bail, ensure};
use std::str::FromStr;

/// Bytes of a target. An ordinary one has less than a hundred; a server that checks health may log what it is sent.
const LENGTH: usize = 1024;

/// What a probe is for, and where.
#[derive(Clone, Debug)]
pub struct Target {
    pub origin: Origin,
    pub kind: Kind,
}

/// The condition under which a target is ready.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A GET of it has a 2xx response.
    Http(http::Uri),
    /// It accepts a connection.
    Tcp,
    /// It reports that this service is serving (gRPC's health checking protocol); the empty one is all of the server.
    Grpc(String),
    /// The name has an address.
    Dns,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim_ascii();
        ensure!(text.len() <= LENGTH, "longer than {LENGTH} bytes");
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let is = |name: &str| scheme.eq_ignore_ascii_case(name);
        let (origin, kind) = if is("http") || is("https") {
            let uri: http::Uri = text.parse().context("not a URL")?;
            (Origin::of(&uri)?, Kind::Http(uri))
        } else if is("tcp") {
            (Origin::parse(Scheme::Tcp, rest)?, Kind::Tcp)
        } else if is("grpc") {
            let (authority, service) = rest.split_once('/').unwrap_or((rest, ""));
            ensure!(service.bytes().all(|byte| byte.is_ascii_graphic()), "the path is not the name of a service");
            (Origin::parse(Scheme::Grpc, authority)?, Kind::Grpc(service.into()))
        } else if is("dns") {
            (Origin::parse(Scheme::Dns, rest)?, Kind::Dns)
        } else {
            bail!("not http://, https://, tcp://HOST:PORT, grpc://HOST:PORT[/SERVICE] or dns://NAME");
        };
        Ok(Self { origin, kind })
    }
}

/// A target for a message: without the password of a database's URL, and without a query, in which tokens are. A
/// password can have the characters that begin a query, so what stands between these and an `@` may be either. One with
/// a comma or a space is cut where a list is; of a scheme that is not for targets there is nothing but the scheme.
pub fn without_secrets(target: &str) -> String {
    const SCHEMES: [&str; 5] = ["http", "https", "tcp", "grpc", "dns"];
    let is_scheme = |scheme: &str| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let (start, rest) = match target.split_once("://") {
        Some((scheme, rest)) if SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) => {
            (format!("{scheme}://"), rest)
        }
        Some((scheme, _)) if is_scheme(scheme) => return format!("{scheme}://…"),
        _ => (String::new(), target),
    };
    let (rest, query) = rest.split_at_checked(rest.find(['?', '#']).unwrap_or(rest.len())).unwrap_or_default();
    match rest.rsplit_once('@') {
        _ if query.contains('@') => format!("{start}…"),
        Some((_, host)) => format!("{start}…@{host}"),
        None => format!("{start}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_url_of_one_of_five_schemes() {
        for (text, rule) in [
            ("http://db", "http://db:80"),
            ("HTTPS://db/ready?full", "https://db:443"),
            ("tcp://db:5432", "tcp://db:5432"),
            (" TCP://[::1]:5432\n", "tcp://[::1]:5432"),
            ("grpc://api:50051", "tcp://api:50051"),
            ("grpc://api:50051/package.Service", "tcp://api:50051"),
            ("dns://db.example.", "dns://db.example"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().origin.to_string(), rule, "{text}");
        }
        let long = format!("http://db/{}", "x".repeat(LENGTH));
        for text in [
            "",
            "db",
            "db:5432",
            "postgres://db:5432",
            "tcp://",
            "tcp://db",
            "tcp://db:",
            "tcp://db:0",
            "tcp://db:http",
            "tcp://db:5432/",
            "tcp://u@db:5432",
            "grpc://api",
            "grpc://api/service",
            "grpc://api:1/a b",
            "dns://",
            "dns://db:53",
            "dns://10.0.0.1",
            "dns://[::1]",
            "http://",
            "http://a b",
            &long,
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn no_message_contains_a_password_or_a_query() {
        for (target, shown) in [
            ("tcp://db:5432", "tcp://db:5432"),
            ("postgres://user:p@ss@db:5432/x?sslmode=off", "postgres://…"),
            // Cut at a comma.
            ("postgres://user:secr", "postgres://…"),
            ("tcp://user:p@ss@db:5432/x", "tcp://…@db:5432/x"),
            ("user:secret@db", "…@db"),
            ("https://user:p#ss@db:5432/x", "https://…"),
            ("user:p?ss@db", "…"),
            ("https://db/ready?mail=a@b", "https://…"),
            ("db/ready?next=http://secret", "db/ready"),
            ("https://db/ready?token=secret", "https://db/ready"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(target), shown);
        }
    }

    #[test]
    fn the_service_of_a_health_check_is_the_path() {
        for (text, service) in
            [("grpc://a:1", ""), ("grpc://a:1/", ""), ("grpc://a:1/b.C", "b.C"), ("grpc://a:1/b/c", "b/c")]
        {
            assert!(matches!(text.parse::<Target>().unwrap().kind, Kind::Grpc(found) if found == service), "{text}");
        }
    }
}
