//! Runner: explains TLS errors for operators. The library's own messages are for programmers.

use rustls::{AlertDescription, CertificateError, Error as TlsError, PeerIncompatible};
use std::time::{Duration, UNIX_EPOCH};
use tokio_rustls::rustls::{self, pki_types::UnixTime};
use wasmtime_wasi_http::Error;

/// Message for a violation of a rule that has none of its own.
const INVALID: &str = "it is invalid";

/// Names of a certificate that are reported.
const NAMES: usize = 3;

/// The error for the hook and the message for the log. `roots_added`: whether the operator has added roots.
pub fn explain(error: &TlsError, roots_added: bool) -> (Error, String) {
    match error {
        TlsError::InvalidCertificate(why) => {
            (Error::TlsCertificateError, format!("certificate not trusted: {}", certificate(why, roots_added)))
        }
        TlsError::NoCertificatesPresented => (Error::TlsCertificateError, "the server sent no certificate".into()),
        TlsError::AlertReceived(alert) => {
            let reason = refusal(*alert);
            let alert_message = Some(reason.to_owned());
            (
                Error::TlsAlertReceived { alert_id: Some(u8::from(*alert)), alert_message },
                format!("the server closed the TLS connection: {reason}"),
            )
        }
        TlsError::InvalidMessage(_) => {
            (Error::TlsProtocolError, "no TLS: the response is not TLS, perhaps plain HTTP".into())
        }
        TlsError::PeerIncompatible(why) => (Error::TlsProtocolError, format!("no TLS: {}", incompatible(why))),
        _ => (Error::TlsProtocolError, "TLS failed: the server violates the protocol".into()),
    }
}

fn certificate(why: &CertificateError, roots_added: bool) -> String {
    use CertificateError::{
        BadEncoding, BadSignature, Expired, ExpiredContext, InvalidPurpose, InvalidPurposeContext, NotValidForName,
        NotValidForNameContext, NotValidYet, NotValidYetContext, Other, Revoked, UnhandledCriticalExtension,
        UnknownIssuer, UnsupportedSignatureAlgorithmContext, UnsupportedSignatureAlgorithmForPublicKeyContext,
    };
    match why {
        UnknownIssuer if roots_added => {
            "it was issued neither by a public CA nor by one in SSL_CERT_FILE or SSL_CERT_DIR".into()
        }
        UnknownIssuer => "it was not issued by a public CA; set SSL_CERT_FILE to add a private one".into(),
        ExpiredContext { not_after, .. } => format!("it expired on {}", date(not_after)),
        Expired => "it has expired".into(),
        NotValidYetContext { time, not_before } => {
            format!("it is not valid before {}, and this machine's time is {}", date(not_before), date(time))
        }
        NotValidYet => "it is not valid yet".into(),
        NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            match presented.as_slice() {
                [] => format!("it is not valid for {expected} and has no host name at all (subjectAltName)"),
                presented => format!("it is not valid for {expected}, only for {}", names(presented)),
            }
        }
        NotValidForName => "it is not valid for this host".into(),
        UnsupportedSignatureAlgorithmContext { signature_algorithm_id: id, .. }
        | UnsupportedSignatureAlgorithmForPublicKeyContext { signature_algorithm_id: id, .. } => algorithm(id),
        BadSignature => "it is not signed by its issuer, or the key is too short".into(),
        InvalidPurpose | InvalidPurposeContext { .. } => "it is not a server certificate (extended key usage)".into(),
        BadEncoding => "it is malformed".into(),
        Revoked => "it has been revoked".into(),
        UnhandledCriticalExtension => "it has an unsupported critical extension".into(),
        Other(error) => match error.0.downcast_ref() {
            Some(error) => chain(error).into(),
            None => INVALID.into(),
        },
        _ => INVALID.into(),
    }
}

/// Violations of the rules for certificates (RFC 5280).
fn chain(error: &webpki::Error) -> &'static str {
    use webpki::Error::{
        CaUsedAsEndEntity, EndEntityUsedAsCa, ExtensionValueInvalid, MalformedDnsIdentifier, MalformedExtensions,
        MalformedNameConstraint, MaximumPathBuildCallsExceeded, MaximumPathDepthExceeded,
        MaximumSignatureChecksExceeded, NameConstraintViolation, PathLenConstraintViolated, SignatureAlgorithmMismatch,
        UnsupportedCertVersion, UnsupportedCriticalExtension,
    };
    match error {
        CaUsedAsEndEntity => "it is a CA certificate used as a server certificate (CA:TRUE)",
        EndEntityUsedAsCa => "its issuer's certificate is not a CA certificate (CA:FALSE)",
        UnsupportedCertVersion => "it is not an X.509 version 3 certificate",
        NameConstraintViolation => "its CA may not issue certificates for this name (name constraints)",
        PathLenConstraintViolated => "its CA may not issue intermediate CAs (path length)",
        MaximumPathDepthExceeded | MaximumPathBuildCallsExceeded | MaximumSignatureChecksExceeded => {
            "the chain from its CA is too long"
        }
        UnsupportedCriticalExtension => "it has an unsupported critical extension",
        MalformedExtensions
        | MalformedDnsIdentifier
        | MalformedNameConstraint
        | ExtensionValueInvalid
        | SignatureAlgorithmMismatch => "it is malformed",
        _ => INVALID,
    }
}

/// An algorithm that no signature may have, by its identifier in DER.
fn algorithm(id: &[u8]) -> String {
    /// Algorithms that are no longer accepted, by their object identifiers in DER.
    const OLD: [(&[u8], &str); 4] = [
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "SHA-1"), // sha1WithRSAEncryption
        (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "SHA-1"),             // ecdsa-with-SHA1
        (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03], "SHA-1"),             // dsa-with-sha1
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "MD5"),   // md5WithRSAEncryption
    ];
    match OLD.iter().find(|(old, _)| id.windows(old.len()).any(|part| part == *old)) {
        Some((_, name)) => format!("it is signed with {name}, which is no longer accepted"),
        None => "it is signed with an unsupported algorithm".into(),
    }
}

/// The first names of a certificate, without the type that the library writes around each.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| match name.split_once('(') {
        Some((_, inner)) => inner.trim_end_matches(')').trim_matches('"').to_owned(),
        None => name.clone(),
    };
    let mut names = presented.iter().take(NAMES).map(bare).collect::<Vec<_>>().join(", ");
    if presented.len() > NAMES {
        names += ", …";
    }
    names
}

fn date(time: &UnixTime) -> String {
    // A certificate may have a year that the format does not.
    match UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())) {
        Some(time) if within_calendar(time) => humantime::format_rfc3339_seconds(time).to_string(),
        _ => "a date after the year 9999".into(),
    }
}

/// Whether the year has four digits, the most that the format has.
fn within_calendar(time: std::time::SystemTime) -> bool {
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    time.duration_since(UNIX_EPOCH).is_ok_and(|since| since < YEAR_10000)
}

/// Reason for which the server closed the connection (RFC 8446, section 6).
fn refusal(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "handshake failure: no cipher or parameter in common"
        }
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => "client certificate required",
        AlertDescription::BadCertificate => "bad client certificate",
        AlertDescription::UnsupportedCertificate => "unsupported kind of client certificate",
        AlertDescription::CertificateRevoked => "client certificate revoked",
        AlertDescription::CertificateExpired => "client certificate expired",
        AlertDescription::CertificateUnknown => "client certificate not accepted",
        AlertDescription::UnknownCA => "unknown CA of the client certificate",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::ProtocolVersion => "neither TLS 1.2 nor TLS 1.3 supported",
        AlertDescription::UnrecognisedName => "unknown server name",
        AlertDescription::InternalError => "internal error",
        AlertDescription::NoApplicationProtocol => "HTTP/1.1 not supported",
        AlertDescription::DecryptError => "invalid signature",
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => "closed",
        _ => "handshake failure",
    }
}

fn incompatible(why: &PeerIncompatible) -> &'static str {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "the server supports neither TLS 1.2 nor TLS 1.3"
        }
        PeerIncompatible::ExtendedMasterSecretExtensionRequired => {
            "the server does not support the extended master secret"
        }
        _ => "no algorithm in common with the server",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Each in one line, and without the library's debug output.
    #[test]
    fn each_reason_is_a_plain_sentence() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let other = |error| CertificateError::Other(rustls::OtherError(Arc::new(error)));
        let sha1 = vec![0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
        for (why, expected) in [
            (CertificateError::UnknownIssuer, "set SSL_CERT_FILE to add a private one"),
            (CertificateError::ExpiredContext { time: at(2), not_after: at(1) }, "expired on 1970-01-01T00:00:01Z"),
            (CertificateError::ExpiredContext { time: at(2), not_after: at(u64::MAX) }, "after the year 9999"),
            (CertificateError::NotValidYetContext { time: at(1), not_before: at(2) }, "not valid before 1970-"),
            (
                CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: sha1,
                    supported_algorithms: Vec::new(),
                },
                "SHA-1",
            ),
            (other(webpki::Error::CaUsedAsEndEntity), "a CA certificate used as a server certificate"),
            (other(webpki::Error::EndEntityUsedAsCa), "not a CA certificate"),
            (other(webpki::Error::UnsupportedCertVersion), "version 3"),
            (CertificateError::InvalidPurpose, "not a server certificate"),
            (CertificateError::BadSignature, "not signed by its issuer"),
            (CertificateError::ApplicationVerificationFailure, "it is invalid"),
        ] {
            let (_, text) = explain(&TlsError::InvalidCertificate(why), false);
            assert!(text.starts_with("certificate not trusted: it") && text.contains(expected), "{text}");
            assert!(!text.contains(['{', '[', '"']) && !text.contains("Context"), "{text}");
            assert_eq!(text.contains("SSL_CERT_FILE"), expected.contains("SSL_CERT_FILE"), "{text}");
        }
    }

    #[test]
    fn only_the_first_names_of_a_certificate_are_reported_and_without_their_type() {
        let presented: Vec<String> =
            ["DnsName(\"a.example\")", "IpAddress(10.0.0.1)", "DirectoryName", "DnsName(\"d\")"].map(Into::into).into();
        assert_eq!(names(&presented), "a.example, 10.0.0.1, DirectoryName, …");
        assert_eq!(names(&presented[..1]), "a.example");
    }

    #[test]
    fn with_an_added_ca_the_message_does_not_recommend_to_add_one() {
        let unknown = TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(explain(&unknown, true).1.ends_with("nor by one in SSL_CERT_FILE or SSL_CERT_DIR"));
    }
}
