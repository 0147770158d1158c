//! Cases of `wasi:http`'s `error-code` that a hook distinguishes: their numbers in the order of declaration.

use super::{ErrorKind, Failure};

pub const DNS_TIMEOUT: u8 = 0;
pub const DNS_ERROR: u8 = 1;
pub const DESTINATION_NOT_FOUND: u8 = 2;
pub const DESTINATION_UNAVAILABLE: u8 = 3;
pub const DESTINATION_IP_PROHIBITED: u8 = 4;
pub const DESTINATION_IP_UNROUTABLE: u8 = 5;
pub const CONNECTION_REFUSED: u8 = 6;
pub const CONNECTION_TERMINATED: u8 = 7;
pub const CONNECTION_TIMEOUT: u8 = 8;
pub const CONNECTION_READ_TIMEOUT: u8 = 9;
pub const CONNECTION_WRITE_TIMEOUT: u8 = 10;
pub const CONNECTION_LIMIT_REACHED: u8 = 11;
pub const TLS_PROTOCOL_ERROR: u8 = 12;
pub const TLS_CERTIFICATE_ERROR: u8 = 13;
pub const TLS_ALERT_RECEIVED: u8 = 14;
pub const HTTP_REQUEST_DENIED: u8 = 15;
pub const HTTP_REQUEST_METHOD_INVALID: u8 = 18;
pub const HTTP_REQUEST_URI_INVALID: u8 = 19;
pub const HTTP_RESPONSE_INCOMPLETE: u8 = 25;
pub const HTTP_RESPONSE_HEADER_SECTION_SIZE: u8 = 26;
pub const HTTP_RESPONSE_CONTENT_CODING: u8 = 32;
pub const HTTP_RESPONSE_TIMEOUT: u8 = 33;
pub const HTTP_PROTOCOL_ERROR: u8 = 35;
pub const INTERNAL_ERROR: u8 = 38;

/// The error that a hook gets for a case.
pub fn failure(code: u8) -> Failure {
    let (kind, reason) = match code {
        HTTP_REQUEST_DENIED => (ErrorKind::Denied, "not allowed"),
        DESTINATION_IP_PROHIBITED => (
            ErrorKind::Denied,
            "not allowed: the name resolves to a special-purpose address, which must be allowed explicitly",
        ),
        CONNECTION_REFUSED => (ErrorKind::Refused, "connection refused"),
        CONNECTION_READ_TIMEOUT | HTTP_RESPONSE_TIMEOUT => (ErrorKind::Timeout, "no response in time"),
        CONNECTION_WRITE_TIMEOUT => (ErrorKind::Timeout, "the request could not be sent in time"),
        DNS_TIMEOUT => (ErrorKind::Unresolved, "the name server did not respond"),
        DNS_ERROR => (ErrorKind::Unresolved, "no such host"),
        CONNECTION_TIMEOUT => (ErrorKind::Unreachable, "no connection in time"),
        DESTINATION_NOT_FOUND | DESTINATION_UNAVAILABLE | DESTINATION_IP_UNROUTABLE => {
            (ErrorKind::Unreachable, "the host cannot be reached")
        }
        CONNECTION_TERMINATED | HTTP_RESPONSE_INCOMPLETE => {
            (ErrorKind::Closed, "the connection was closed before a response arrived")
        }
        CONNECTION_LIMIT_REACHED => (ErrorKind::Other, "too many requests at once"),
        TLS_CERTIFICATE_ERROR => (ErrorKind::Tls, "the certificate is not trusted"),
        TLS_PROTOCOL_ERROR | TLS_ALERT_RECEIVED => (ErrorKind::Tls, "the TLS handshake failed"),
        HTTP_REQUEST_URI_INVALID | HTTP_REQUEST_METHOD_INVALID => (ErrorKind::Invalid, "malformed request"),
        HTTP_PROTOCOL_ERROR | HTTP_RESPONSE_HEADER_SECTION_SIZE..=HTTP_RESPONSE_CONTENT_CODING => {
            (ErrorKind::Protocol, "the response is not valid HTTP")
        }
        _ => (ErrorKind::Other, "the request failed"),
    };
    Failure::new(kind, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn the_numbers_are_those_of_the_declaration() {
        let wit = include_str!("../../wit/deps/http.wit");
        let body = wit.split_once("variant error-code {").unwrap().1.split_once("\n  }").unwrap().0;
        let lines = body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('/'));
        let declared: Vec<&str> = lines.map(|line| line.split([',', '(']).next().unwrap()).collect();
        let known = [
            (DNS_TIMEOUT, "DNS_TIMEOUT"),
            (DNS_ERROR, "DNS_ERROR"),
            (DESTINATION_NOT_FOUND, "DESTINATION_NOT_FOUND"),
            (DESTINATION_UNAVAILABLE, "DESTINATION_UNAVAILABLE"),
            (DESTINATION_IP_PROHIBITED, "DESTINATION_IP_PROHIBITED"),
            (DESTINATION_IP_UNROUTABLE, "DESTINATION_IP_UNROUTABLE"),
            (CONNECTION_REFUSED, "CONNECTION_REFUSED"),
            (CONNECTION_TERMINATED, "CONNECTION_TERMINATED"),
            (CONNECTION_TIMEOUT, "CONNECTION_TIMEOUT"),
            (CONNECTION_READ_TIMEOUT, "CONNECTION_READ_TIMEOUT"),
            (CONNECTION_WRITE_TIMEOUT, "CONNECTION_WRITE_TIMEOUT"),
            (CONNECTION_LIMIT_REACHED, "CONNECTION_LIMIT_REACHED"),
            (TLS_PROTOCOL_ERROR, "TLS_PROTOCOL_ERROR"),
            (TLS_CERTIFICATE_ERROR, "TLS_CERTIFICATE_ERROR"),
            (TLS_ALERT_RECEIVED, "TLS_ALERT_RECEIVED"),
            (HTTP_REQUEST_DENIED, "HTTP_REQUEST_DENIED"),
            (HTTP_REQUEST_METHOD_INVALID, "HTTP_REQUEST_METHOD_INVALID"),
            (HTTP_REQUEST_URI_INVALID, "HTTP_REQUEST_URI_INVALID"),
            (HTTP_RESPONSE_INCOMPLETE, "HTTP_RESPONSE_INCOMPLETE"),
            (HTTP_RESPONSE_HEADER_SECTION_SIZE, "HTTP_RESPONSE_HEADER_SECTION_SIZE"),
            (HTTP_RESPONSE_CONTENT_CODING, "HTTP_RESPONSE_CONTENT_CODING"),
            (HTTP_RESPONSE_TIMEOUT, "HTTP_RESPONSE_TIMEOUT"),
            (HTTP_PROTOCOL_ERROR, "HTTP_PROTOCOL_ERROR"),
            (INTERNAL_ERROR, "INTERNAL_ERROR"),
        ];
        for (place, name) in known {
            assert_eq!(declared[usize::from(place)].replace('-', "_").to_uppercase(), name);
        }
        assert_eq!(declared.len(), usize::from(INTERNAL_ERROR) + 1);
    }
}
