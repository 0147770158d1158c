//! Probes: whether something that a command needs is there, also where that is not HTTP.
//!
//! They go to the addresses allowed by `--allow`, which is another name of `--allow-http`; the default is loopback.
//!
//! ```no_run
//! # fn run() -> wrapper_hook::Result {
//! use core::time::Duration;
//! use wrapper_hook::{log, probe, text};
//!
//! let targets = ["tcp://localhost:5432", "grpc://localhost:50051/package.Service"].map(Into::into);
//! for (target, result) in targets.iter().zip(probe::all(&targets, Duration::from_secs(2))) {
//!     if let Err(failure) = result {
//!         log::info(&text!("{target} is not ready: {}", failure.reason()));
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use crate::host;
use alloc::{string::String, vec::Vec};
use core::time::Duration;

/// Why a target is not ready, with a reason in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The target is malformed; the reason names it.
    Invalid(String),
    /// The operator did not allow it; the reason names the setting that would.
    Denied(String),
    /// All of its addresses refuse connections: nothing listens there.
    Refused(String),
    /// There was no connection, or no response, in time.
    TimedOut(String),
    /// It responded that it is not ready: `answered 503`, `answered NOT_SERVING`.
    Answered(String),
    /// Any other reason, such as `no such host`.
    Other(String),
}

impl Failure {
    /// The reason in one line, without the target.
    pub fn reason(&self) -> &str {
        let (Self::Invalid(why)
        | Self::Denied(why)
        | Self::Refused(why)
        | Self::TimedOut(why)
        | Self::Answered(why)
        | Self::Other(why)) = self;
        why
    }
}

/// Probes the targets, all at the same time, each for no longer than `timeout`; the results are in their order. A call
/// takes up to 64 of them.
///
/// - `http://host[:port][/path]`, `https://…`: a GET has a 2xx response.
/// - `tcp://host:port`: it accepts a connection.
/// - `grpc://host:port[/service]`: gRPC's health check without TLS reports that it is serving.
/// - `dns://name`: the name has an address.
///
/// In a native test there are only the first two.
pub fn all(targets: &[String], timeout: Duration) -> Vec<Result<(), Failure>> {
    let results = host::probe(targets, host::nanoseconds(timeout));
    results.into_iter().map(|result| result.map_err(Failure::from)).collect()
}

impl From<host::Failure> for Failure {
    fn from(failure: host::Failure) -> Self {
        match failure {
            host::Failure::Invalid(why) => Self::Invalid(why),
            host::Failure::Denied(why) => Self::Denied(why),
            host::Failure::Refused(why) => Self::Refused(why),
            host::Failure::TimedOut(why) => Self::TimedOut(why),
            host::Failure::Answered(why) => Self::Answered(why),
            host::Failure::Other(why) => Self::Other(why),
        }
    }
}
