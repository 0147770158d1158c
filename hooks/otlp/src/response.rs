//! What a collector answers to a request that it has accepted, perhaps in part.

use wrapper_hook::{http::Response, log, text};

/// Bytes of a response that are read: it has a number and a message.
const LIMIT: usize = 4096;

/// Logs what a collector has rejected of a signal, or advises.
pub fn check(response: Response, signal: &str) {
    let Ok(body) = response.body(LIMIT) else { return };
    let rejected = value(&body, b"\"rejectedSpans\"").or_else(|| value(&body, b"\"rejectedDataPoints\""));
    let message = value(&body, b"\"errorMessage\"").unwrap_or_default();
    match rejected.filter(|number| number.bytes().any(|digit| digit != b'0')) {
        Some(number) => log::warn(&text!("the collector rejected {number} of the {signal}: {message}")),
        None if !message.is_empty() => log::warn(&text!("the collector accepted the {signal}: {message}")),
        None => {}
    }
}

/// The text or number behind a key, wherever it is in the JSON; what follows a quotation mark in it is left out.
fn value<'a>(json: &'a [u8], key: &[u8]) -> Option<&'a str> {
    let place = json.windows(key.len()).position(|window| window == key)?;
    let behind = json.get(place + key.len()..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let (ends, value): (&[u8], _) = behind.strip_prefix(b"\"").map_or((b",}", behind), |text| (b"\"", text));
    let end = value.iter().position(|byte| ends.contains(byte))?;
    str::from_utf8(value.get(..end)?.trim_ascii()).ok()
}

#[cfg(test)]
mod tests {
    use super::{text, value};

    #[test]
    fn a_value_is_a_text_or_a_number() {
        let json = br#"{"partialSuccess": {"rejectedSpans" : "12","errorMessage":"too late, {a}"}, "n":0}"#;
        for (key, expected) in [("rejectedSpans", "12"), ("errorMessage", "too late, {a}"), ("n", "0")] {
            assert_eq!(value(json, text!("\"{key}\"").as_bytes()), Some(expected));
        }
        for json in [&b""[..], b"{}", b"{\"n\"}", b"{\"n\":", b"{\"n\":\"", b"{\"m\":1}"] {
            assert_eq!(value(json, b"\"n\""), None);
        }
    }
}
