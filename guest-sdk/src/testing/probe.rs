//! Probes through the operating system.

use super::host::Failure;
use crate::{http, text};
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;
use std::{
    io::ErrorKind,
    net::{TcpStream, ToSocketAddrs},
};

pub fn probe(targets: &[String], timeout: u64) -> Vec<Result<(), Failure>> {
    let timeout = Duration::from_nanos(timeout);
    let probe_one = |target: &String| match target.strip_prefix("tcp://") {
        Some(address) => connect(address, timeout),
        None => get(target, timeout),
    };
    targets.iter().map(probe_one).collect()
}

fn connect(address: &str, timeout: Duration) -> Result<(), Failure> {
    let invalid = |error| Failure::Invalid(text!("\"{address}\": {}", ToString::to_string(&error)));
    let mut result = Err(Failure::Other("no such host".into()));
    for address in address.to_socket_addrs().map_err(invalid)? {
        result = match TcpStream::connect_timeout(&address, timeout) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                Err(Failure::Refused("connection refused".into()))
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(Failure::TimedOut("no connection in time".into())),
            Err(error) => Err(Failure::Other(error.to_string())),
        };
    }
    result
}

fn get(url: &str, timeout: Duration) -> Result<(), Failure> {
    match http::get(url).timeout(timeout).send() {
        Ok(response) if (200..300).contains(&response.status()) => Ok(()),
        Ok(response) => Err(Failure::Answered(text!("answered {}", response.status()))),
        Err(error) => Err(match error.kind {
            http::ErrorKind::Invalid => Failure::Invalid(error.text().into()),
            http::ErrorKind::Refused => Failure::Refused(error.reason().into()),
            http::ErrorKind::Timeout => Failure::TimedOut(error.reason().into()),
            _ => Failure::Other(error.reason().into()),
        }),
    }
}
