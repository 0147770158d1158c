//! Strings in JSON.

use alloc::string::String;

/// A string of JSON, in its quotes.
///
/// ```
/// use wrapper_hook::{json, text};
///
/// let reason = "no \"such\" file\n";
/// assert_eq!(text!(r#"{{"reason":{}}}"#, json::string(reason)), r#"{"reason":"no \"such\" file\u000A"}"#);
/// ```
pub fn string(value: &str) -> String {
    let mut text = String::from("\"");
    push(&mut text, value);
    text.push('"');
    text
}

/// Appends a part of a string of JSON, without quotes.
pub fn push(text: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '"' | '\\' => text.extend(['\\', char]),
            '\0'..' ' => {
                text.push_str("\\u00");
                text.extend([hex_digit(char as u8 >> 4), hex_digit(char as u8)]);
            }
            _ => text.push(char),
        }
    }
}

/// The hexadecimal digit of the lower half of a byte.
pub(crate) fn hex_digit(half: u8) -> char {
    char::from(b"0123456789ABCDEF".get(usize::from(half & 15)).copied().unwrap_or(b'0'))
}
