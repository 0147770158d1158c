//! The variables of OpenTelemetry's specification, as far as they concern an exporter that is no SDK.

use crate::json;
use core::time::Duration;
use notify::{not_a_url, program};
use wrapper_hook::{Context, Error, Result, String, Vec, http, log, text};

/// The default of the specification: a collector on this machine.
const ENDPOINT: &str = "http://localhost:4318";

/// Where and how a signal, `TRACES` or `METRICS`, is sent.
pub struct Signal {
    pub url: String,
    /// Scheme, host and port of the URL.
    pub origin: String,
    pub headers: Vec<(String, String)>,
    pub timeout: Duration,
}

/// Whether nothing is to be sent. Anything but `true` is false by the specification.
pub fn disabled(cx: &Context) -> bool {
    cx.trimmed("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The settings of a signal; `None` if it has no exporter.
pub fn signal(cx: &Context, name: &str, path: &str) -> Result<Option<Signal>> {
    if cx.trimmed(&text!("OTEL_{name}_EXPORTER")).is_some_and(|value| value.eq_ignore_ascii_case("none")) {
        return Ok(None);
    }
    // A signal's own variable goes before the one for all.
    let own = |setting: &str| {
        let named = |variable: String| cx.trimmed(&variable).map(|value| (variable, value));
        named(text!("OTEL_EXPORTER_OTLP_{name}_{setting}")).or_else(|| named(text!("OTEL_EXPORTER_OTLP_{setting}")))
    };
    let of_hook = cx.setting_name("URL");
    let (variable, mut url) = match (cx.trimmed(&of_hook), own("ENDPOINT")) {
        (Some(url), _) => (of_hook, url),
        (None, Some((variable, url))) => {
            if let Some((protocol, value)) = own("PROTOCOL").filter(|(_, value)| value == "grpc") {
                return Err(Error::Misconfigured(text!(
                    "{variable} is for {protocol}={value}; set {of_hook} to the collector's URL for HTTP, usually of port \
                     4318"
                )));
            }
            (variable, url)
        }
        (None, None) => (of_hook, ENDPOINT.into()),
    };
    // The URL for all signals is completed, a signal's own is not. People copy either into the hook's.
    if variable != text!("OTEL_EXPORTER_OTLP_{name}_ENDPOINT") {
        let base = url.trim_end_matches('/');
        let base = base.strip_suffix("/v1/traces").or_else(|| base.strip_suffix("/v1/metrics")).unwrap_or(base);
        url = text!("{base}{path}");
    }
    let origin = http::origin(&url).ok_or_else(|| not_a_url(&variable))?.into();
    let headers = match own("HEADERS") {
        None => Vec::new(),
        // The message leaves the value out: it may be a secret.
        Some((variable, value)) => pairs(&value).ok_or_else(|| Error::Misconfigured(text!("{variable}: {PAIRS}")))?,
    };
    let timeout = match (notify::timeout(cx)?, own("TIMEOUT")) {
        (Some(time), _) => time,
        (None, Some((variable, value))) => {
            let milliseconds = || Error::Misconfigured(text!("{variable}=\"{value}\": not a number of milliseconds"));
            Duration::from_millis(value.parse().map_err(|_| milliseconds())?)
        }
        (None, None) => notify::TIMEOUT,
    };
    Ok(Some(Signal { url, origin, headers, timeout }))
}

/// The attributes of the resource, in JSON.
pub fn resource(cx: &Context) -> String {
    const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
    const SERVICE: &str = "service.name";
    let given = cx.trimmed(ATTRIBUTES).map(|value| pairs(&value));
    if let Some(None) = given {
        log::warn(&text!("{ATTRIBUTES} is left out: {PAIRS}"));
    }
    let mut given = given.flatten().unwrap_or_default();
    let service = cx.trimmed("OTEL_SERVICE_NAME");
    if service.is_some() || !given.iter().any(|(name, _)| name == SERVICE) {
        given.retain(|(name, _)| name != SERVICE);
        given.push((SERVICE.into(), service.unwrap_or_else(|| text!("unknown_service:{}", program(cx)))));
    }
    let mut attributes = String::new();
    for (name, value) in &given {
        json::attribute(&mut attributes, name, "string", value);
    }
    attributes
}

const PAIRS: &str = "not of the form name=value,name=value with percent-encoded values";

/// Parses `name=value,name=value`, where a percent sign begins the hexadecimal number of a byte.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
        let pair = rest.get(..end)?.trim_ascii();
        rest = rest.get(end + 1..).unwrap_or_default();
        if pair.is_empty() {
            continue;
        }
        let equals = pair.iter().position(|byte| *byte == b'=').filter(|place| *place > 0)?;
        pairs.push((decoded(pair.get(..equals)?)?, decoded(pair.get(equals + 1..)?)?));
    }
    Some(pairs)
}

fn decoded(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.trim_ascii();
    while let [byte, after @ ..] = rest {
        (bytes, rest) = match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |digit: u8| char::from(digit).to_digit(16);
                bytes.push(u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?);
                (bytes, after)
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*byte);
                (bytes, after)
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_commas_between_them_and_percent_encoded_values() {
        let parsed = |text| {
            let pairs = pairs(text)?;
            Some(pairs.into_iter().map(|(name, value)| text!("{name}:{value}")).collect::<Vec<_>>())
        };
        for (text, expected) in [
            ("", &[][..]),
            ("a=b", &["a:b"]),
            (" a = b , c=d=e,", &["a:b", "c:d=e"]),
            ("a=%2C%20%c3%A9,b=", &["a:, é", "b:"]),
        ] {
            assert_eq!(
                parsed(text).as_deref(),
                Some(expected.iter().map(|pair| String::from(*pair)).collect::<Vec<_>>().as_slice()),
                "{text}"
            );
        }
        for text in ["a", "a=b,c", "=b", "a=%", "a=%2", "a=%zz", "a=%ff"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
