//! Runner: probes: whether something is there that a command needs. A hook learns whether it is, or a reason that is
//! written here; it neither chooses what is sent nor reads what is received.

use super::{Failure, Outbound, connector::ConnectError, health};
use crate::{
    hook::{
        allow_list::Origin,
        target::{Kind, Target, without_secrets},
    },
    text::truncate,
};
use http::Request;
use http_body_util::{BodyExt, Empty};
use std::time::Duration;
use tokio::time::timeout;
use wasmtime_wasi_http::{Error, RequestOptions};

/// Targets of one call. Each takes memory until it has a result.
const TARGETS: usize = 64;

/// Bytes of a target that are repeated in a message.
const SHOWN: usize = 200;

impl Outbound {
    /// Probes all of these at the same time, each for no longer than this; the results are in their order.
    pub async fn probe(&self, targets: Vec<String>, limit: Duration) -> Vec<Result<(), Failure>> {
        if targets.len() > TARGETS {
            let too_many = || Err(Failure::Invalid(format!("more than {TARGETS} targets at once")));
            return targets.iter().map(|_| too_many()).collect();
        }
        let probes = targets.into_iter().map(|target| {
            let outbound = self.clone();
            tokio::spawn(async move { outbound.probe_one(&target, limit).await })
        });
        let mut results = Vec::new();
        for probe in probes.collect::<Vec<_>>() {
            results.push(probe.await.unwrap_or_else(|error| Err(Failure::Other(error.to_string()))));
        }
        results
    }

    async fn probe_one(&self, target: &str, limit: Duration) -> Result<(), Failure> {
        let Target { origin, kind } = target.parse().map_err(|error: anyhow::Error| {
            Failure::Invalid(format!("{:?}: {error:#}", truncate(&without_secrets(target), SHOWN)))
        })?;
        if !self.allow.value.allows(&origin) {
            return Err(Failure::Denied(self.allow.refusal(&origin)));
        }
        let limit = self.limit_to_deadline(Some(limit));
        timeout(limit, self.probe_allowed(&origin, kind))
            .await
            .unwrap_or_else(|_| Err(Failure::TimedOut("no response in time".into())))
    }

    async fn probe_allowed(&self, origin: &Origin, kind: Kind) -> Result<(), Failure> {
        let failure = |error| self.unreachable(origin, error);
        match kind {
            Kind::Tcp => self.connect(origin, None).await.map(drop).map_err(failure),
            Kind::Dns => {
                // A lookup has two sockets, of which there are as few as of connections.
                let _permit = self.permit().await?;
                self.connector.addresses(origin).await.map(drop).map_err(|why| Failure::Other(why.to_string()))
            }
            Kind::Grpc(service) => {
                let mut stream = self.connect(origin, None).await.map_err(failure)?;
                // The authority as a client writes it, with the port.
                let authority = format!("{}:{}", origin.host, origin.port);
                health::check(&mut stream, &authority, &service).await
            }
            Kind::Http(uri) => {
                let malformed = |_| Failure::Invalid("not a URL".into());
                let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
                let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
                let request = Request::get(uri).header(http::header::HOST, authority).body(body).map_err(malformed)?;
                let exchange = self.exchange(origin, request, RequestOptions::default()).await;
                let (response, _) = exchange.map_err(failure)?;
                match response.status() {
                    status if status.is_success() => Ok(()),
                    status => Err(Failure::Answered(format!("answered {}", status.as_u16()))),
                }
            }
        }
    }

    /// Why there was no connection, or no response. An address that a name must not have is for the operator alone:
    /// with it, whoever controls the name could answer the hook.
    fn unreachable(&self, origin: &Origin, failure: ConnectError) -> Failure {
        if matches!(failure.error, Error::DestinationIpProhibited) {
            self.log(failure.message(origin));
            return Failure::Denied(format!(
                "not allowed: {origin} resolves to an address that only a rule naming it allows"
            ));
        }
        // The hook names the target itself.
        failure.reason.map_or_else(|| failure.error.into(), Failure::Other)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::ConnectionRefused => Self::Refused("connection refused".into()),
            Error::ConnectionTimeout => Self::TimedOut("no connection in time".into()),
            Error::ConnectionReadTimeout | Error::HttpResponseTimeout => Self::TimedOut("no response in time".into()),
            Error::DnsError { .. } => Self::Other("no such host".into()),
            Error::DnsTimeout => Self::Other("the name server did not respond".into()),
            Error::DestinationUnavailable => Self::Other("the host cannot be reached".into()),
            Error::ConnectionTerminated | Error::HttpResponseIncomplete => Self::Other(health::CLOSED.into()),
            Error::HttpProtocolError => Self::Other("the response is not valid HTTP".into()),
            other => Self::Other(format!("{other:?}")),
        }
    }
}
