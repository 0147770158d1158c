//! Runner: explains TLS errors to operators. The library's own messages are meant for programmers.

use rustls::{AlertDescription, CertificateError, Error as TlsError, PeerIncompatible};
use std::time::{Duration, UNIX_EPOCH};
use tokio_rustls::rustls::{self, pki_types::UnixTime};
use wasmtime_wasi_http::Error;

/// Names of a certificate that are reported.
const NAMES: usize = 3;

/// The error for the hook and the message for the log. `roots_added`: whether the operator has added roots.
pub fn explain(error: &TlsError, roots_added: bool) -> (Error, String) {
    match error {
        TlsError::InvalidCertificate(why) => {
            let words = format!("its certificate is not trusted: {}", certificate(why, roots_added));
            (Error::TlsCertificateError, words)
        }
        TlsError::NoCertificatesPresented => (Error::TlsCertificateError, "it has no certificate".into()),
        TlsError::AlertReceived(alert) => {
            let words = refusal(*alert);
            let alert_message = Some(words.to_owned());
            (
                Error::TlsAlertReceived { alert_id: Some(u8::from(*alert)), alert_message },
                format!("it refused: {words}"),
            )
        }
        TlsError::InvalidMessage(_) => {
            (Error::TlsProtocolError, "no TLS: what it answers is something else, perhaps plain HTTP".into())
        }
        TlsError::PeerIncompatible(why) => (Error::TlsProtocolError, format!("no TLS: {}", incompatible(why))),
        _ => (Error::TlsProtocolError, "no TLS: it breaks the protocol".into()),
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
            "it is issued neither by a public CA nor by one in SSL_CERT_FILE or SSL_CERT_DIR".into()
        }
        UnknownIssuer => "it is not issued by a public CA; a private CA is added with SSL_CERT_FILE".into(),
        ExpiredContext { not_after, .. } => format!("it expired on {}", date(not_after)),
        Expired => "it has expired".into(),
        NotValidYetContext { time, not_before } => {
            format!("it is not valid before {}, and here it is {}", date(not_before), date(time))
        }
        NotValidYet => "it is not valid yet".into(),
        NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            match presented.as_slice() {
                [] => format!("it is not valid for {expected} and names no host at all (subjectAltName)"),
                presented => format!("it is not valid for {expected} but for {}", names(presented)),
            }
        }
        NotValidForName => "it is not valid for this host".into(),
        UnsupportedSignatureAlgorithmContext { signature_algorithm_id: id, .. }
        | UnsupportedSignatureAlgorithmForPublicKeyContext { signature_algorithm_id: id, .. } => algorithm(id),
        BadSignature => "it is not signed by the CA it names, or with a key that is too short".into(),
        InvalidPurpose | InvalidPurposeContext { .. } => "it is not one for servers (extended key usage)".into(),
        BadEncoding => "it is malformed".into(),
        Revoked => "it has been revoked".into(),
        UnhandledCriticalExtension => "it has a critical extension that is not understood".into(),
        Other(error) => match error.0.downcast_ref() {
            Some(error) => chain(error).into(),
            None => "it breaks a rule".into(),
        },
        _ => "it breaks a rule".into(),
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
        EndEntityUsedAsCa => "it is issued with a certificate that is not a CA's (CA:FALSE)",
        UnsupportedCertVersion => "it is not of version 3 of X.509",
        NameConstraintViolation => "its CA may not issue it for this name (name constraints)",
        PathLenConstraintViolated => "its CA may not have another CA below it (path length)",
        MaximumPathDepthExceeded | MaximumPathBuildCallsExceeded | MaximumSignatureChecksExceeded => {
            "the chain from its CA is too long"
        }
        UnsupportedCriticalExtension => "it has a critical extension that is not understood",
        MalformedExtensions
        | MalformedDnsIdentifier
        | MalformedNameConstraint
        | ExtensionValueInvalid
        | SignatureAlgorithmMismatch => "it is malformed",
        _ => "it breaks a rule",
    }
}

/// An algorithm that no signature may have, by its identifier in DER.
fn algorithm(id: &[u8]) -> String {
    /// Algorithms that are no longer accepted, by the bytes of their object identifiers.
    const OLD: [(&[u8], &str); 4] = [
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], "SHA-1"), // sha1WithRSAEncryption
        (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], "SHA-1"),             // ecdsa-with-SHA1
        (&[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03], "SHA-1"),             // dsa-with-sha1
        (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], "MD5"),   // md5WithRSAEncryption
    ];
    match OLD.iter().find(|(old, _)| id.windows(old.len()).any(|part| part == *old)) {
        Some((_, name)) => format!("it is signed with {name}, which is not accepted any more"),
        None => "it is signed with an algorithm that is not supported".into(),
    }
}

/// The first names of a certificate, without what the library puts around each.
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
    // A certificate may name a year that no calendar here has.
    match UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())) {
        Some(time) if within_calendar(time) => humantime::format_rfc3339_seconds(time).to_string(),
        _ => "a date far away".into(),
    }
}

/// Whether the year has four digits, the most that the format has.
fn within_calendar(time: std::time::SystemTime) -> bool {
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    time.duration_since(UNIX_EPOCH).is_ok_and(|since| since < YEAR_10000)
}

/// Why the other side ends the connection (RFC 8446, section 6).
fn refusal(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "handshake failure, it accepts nothing of what was offered"
        }
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => "a client certificate is required",
        AlertDescription::BadCertificate => "bad client certificate",
        AlertDescription::UnsupportedCertificate => "unsupported kind of client certificate",
        AlertDescription::CertificateRevoked => "the client certificate is revoked",
        AlertDescription::CertificateExpired => "the client certificate has expired",
        AlertDescription::CertificateUnknown => "the client certificate is not accepted",
        AlertDescription::UnknownCA => "the client certificate's CA is unknown to it",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::ProtocolVersion => "it speaks neither TLS 1.2 nor TLS 1.3",
        AlertDescription::UnrecognisedName => "it does not know this name",
        AlertDescription::InternalError => "internal error",
        AlertDescription::NoApplicationProtocol => "it does not speak HTTP/1.1",
        AlertDescription::DecryptError => "a signature is wrong",
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => "closed",
        _ => "the handshake broke a rule",
    }
}

fn incompatible(why: &PeerIncompatible) -> &'static str {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "it speaks neither TLS 1.2 nor TLS 1.3"
        }
        PeerIncompatible::ExtendedMasterSecretExtensionRequired => "it lacks the extended master secret",
        _ => "it and this program have no algorithm in common",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// All of these in one line each, and nothing in them that looks like a program's text.
    #[test]
    fn each_reason_is_plain_words() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let other = |error| CertificateError::Other(rustls::OtherError(Arc::new(error)));
        let sha1 = vec![0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
        for (why, words) in [
            (CertificateError::UnknownIssuer, "a private CA is added with SSL_CERT_FILE"),
            (CertificateError::ExpiredContext { time: at(2), not_after: at(1) }, "expired on 1970-01-01T00:00:01Z"),
            (CertificateError::ExpiredContext { time: at(2), not_after: at(u64::MAX) }, "far away"),
            (CertificateError::NotValidYetContext { time: at(1), not_before: at(2) }, "not valid before 1970-"),
            (
                CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: sha1,
                    supported_algorithms: Vec::new(),
                },
                "SHA-1",
            ),
            (other(webpki::Error::CaUsedAsEndEntity), "a CA certificate used as a server certificate"),
            (other(webpki::Error::EndEntityUsedAsCa), "not a CA's"),
            (other(webpki::Error::UnsupportedCertVersion), "version 3"),
            (CertificateError::InvalidPurpose, "not one for servers"),
            (CertificateError::BadSignature, "not signed by the CA it names"),
            (CertificateError::ApplicationVerificationFailure, "breaks a rule"),
        ] {
            let (_, said) = explain(&TlsError::InvalidCertificate(why), false);
            assert!(said.starts_with("its certificate is not trusted: it ") && said.contains(words), "{said}");
            assert!(!said.contains(['{', '[', '"']) && !said.contains("Context"), "{said}");
            assert_eq!(said.contains("SSL_CERT_FILE"), words.contains("SSL_CERT_FILE"), "{said}");
        }
    }

    #[test]
    fn a_certificates_names_are_told_without_what_is_around_them_and_not_all_of_many() {
        let presented: Vec<String> =
            ["DnsName(\"a.example\")", "IpAddress(10.0.0.1)", "DirectoryName", "DnsName(\"d\")"].map(Into::into).into();
        assert_eq!(names(&presented), "a.example, 10.0.0.1, DirectoryName, …");
        assert_eq!(names(&presented[..1]), "a.example");
    }

    #[test]
    fn who_has_added_a_ca_is_not_told_to_add_one() {
        let unknown = TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(explain(&unknown, true).1.ends_with("nor by one in SSL_CERT_FILE or SSL_CERT_DIR"));
    }
}
