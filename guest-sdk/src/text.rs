//! Numbers as text without `core::fmt`, which costs a small hook half its size.

use alloc::string::String;

/// Appends `number` in decimal.
pub(crate) fn push_number(text: &mut String, number: u64) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 9, 10, 404, u64::MAX] {
            let mut text = String::new();
            push_number(&mut text, number);
            assert_eq!(text, alloc::format!("{number}"));
        }
    }
}
