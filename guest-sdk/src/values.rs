//! Parsers for times and switches in manifests, and the headers that no hook can set.
//!
//! wrapper compiles this very file for its options, so that an option and a hook's setting accept the same values.
//! Callers trim values first: YAML's `value: |` ends in a newline.

use core::time::Duration;

/// Description of what [`duration`] accepts, for messages.
pub const DURATION: &str = "a time such as 500ms, 10s or 1m30s";

/// Words for on, followed by as many for off: those of YAML 1.1, and digits.
pub const SWITCH: [&str; 8] = ["true", "yes", "on", "1", "false", "no", "off", "0"];

/// Parses a time: whole numbers with units, which add up (`1m30s`, `1m 30s`). A number alone is in seconds.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.as_bytes();
    let (mut rest, mut milliseconds) = (text, 0_u64);
    loop {
        // At most nine digits: times any unit they fit into 64 bits.
        let (mut number, mut digits) = (0_u64, 0);
        while let [digit @ b'0'..=b'9', behind @ ..] = rest
            && digits < 9
        {
            (number, digits, rest) = (number * 10 + u64::from(digit - b'0'), digits + 1, behind);
        }
        let alone = digits == text.len();
        let (unit, behind) = match rest.trim_ascii_start() {
            _ if digits == 0 => return None,
            [] if alone => (1_000, rest),
            [b'm', b's', behind @ ..] => (1, behind),
            [b's', b'e', b'c', behind @ ..] | [b's', behind @ ..] => (1_000, behind),
            [b'm', b'i', b'n', behind @ ..] | [b'm', behind @ ..] => (60_000, behind),
            [b'h', behind @ ..] => (3_600_000, behind),
            _ => return None,
        };
        milliseconds = milliseconds.checked_add(number * unit)?;
        rest = behind.trim_ascii_start();
        if rest.is_empty() {
            return Some(Duration::from_millis(milliseconds));
        }
    }
}

/// The index of a word among several, in capital or small letters.
pub fn choice(text: &str, words: &[&str]) -> Option<usize> {
    words.iter().position(|word| text.eq_ignore_ascii_case(word))
}

/// Headers that wrapper does not let a hook set: they are about the connection, or the form of a message. Hooks do not
/// know them; their tests do.
#[cfg(not(target_family = "wasm"))]
pub const FORBIDDEN_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_sum_of_numbers_with_units() {
        for (text, milliseconds) in [
            ("5", 5_000),
            ("0", 0),
            ("0m", 0),
            ("5s", 5_000),
            ("5 s", 5_000),
            ("10sec", 10_000),
            ("250ms", 250),
            ("90s", 90_000),
            ("2m", 120_000),
            ("5min", 300_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("1h1m1s1ms", 3_661_001),
            ("999999999h", 3_599_999_996_400_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text:?}");
        }
        let overflow = "999999999h".repeat(6_000);
        for text in [
            "",
            " ",
            "s",
            "-5",
            "-5s",
            "+5s",
            "1.5s",
            "5S",
            "5d",
            "5x",
            "1m30",
            "1m 30",
            "5 5s",
            "1m,30s",
            "1m-30s",
            "10 years",
            "1234567890",
            "99999999999999999999999s",
            "٣s",
            "soon",
            &overflow,
        ] {
            assert_eq!(duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_switch_is_on_or_off_in_any_case() {
        let flag = |text| choice(text, &SWITCH).map(|place| place < SWITCH.len() / 2);
        for (text, on) in [
            ("true", true),
            ("True", true),
            ("TRUE", true),
            ("yes", true),
            ("On", true),
            ("1", true),
            ("false", false),
            ("False", false),
            ("NO", false),
            ("off", false),
            ("0", false),
        ] {
            assert_eq!(flag(text), Some(on), "{text:?}");
        }
        for text in ["", " ", "maybe", "2", "truee", "tr ue", "y", "-"] {
            assert_eq!(flag(text), None, "{text:?}");
        }
    }
}
