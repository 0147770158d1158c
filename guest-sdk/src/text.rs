//! Formatting without `core::fmt`, which would be a quarter of a small hook.

use alloc::string::String;
use core::time::Duration;

/// A value that [`text!`](crate::text) accepts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no value for wrapper_hook::text!",
    note = "it accepts str, String, char, bool, integers and errors of this crate; alloc::format! accepts everything \
            that is Display, and makes a hook 4 kB larger"
)]
pub trait Text {
    /// Appends the value's text.
    fn push(&self, text: &mut String);
}

/// Concatenates values; [`text!`](crate::text) expands to a call of this.
pub fn concat(values: &[&dyn Text]) -> String {
    let mut text = String::new();
    for value in values {
        value.push(&mut text);
    }
    text
}

impl<T: Text + ?Sized> Text for &T {
    fn push(&self, text: &mut String) {
        (**self).push(text);
    }
}

impl<T: Text + ?Sized> Text for &mut T {
    fn push(&self, text: &mut String) {
        (**self).push(text);
    }
}

impl Text for str {
    fn push(&self, text: &mut String) {
        text.push_str(self);
    }
}

impl Text for String {
    fn push(&self, text: &mut String) {
        text.push_str(self);
    }
}

impl Text for char {
    fn push(&self, text: &mut String) {
        text.push(*self);
    }
}

impl Text for bool {
    fn push(&self, text: &mut String) {
        text.push_str(if *self { "true" } else { "false" });
    }
}

macro_rules! in_decimal {
    ($($unsigned:ty, $signed:ty);*) => {$(
        impl Text for $unsigned {
            fn push(&self, text: &mut String) {
                if *self >= 10 {
                    (self / 10).push(text);
                }
                text.push(char::from(b'0' + (self % 10) as u8));
            }
        }

        impl Text for $signed {
            fn push(&self, text: &mut String) {
                if *self < 0 {
                    text.push('-');
                }
                self.unsigned_abs().push(text);
            }
        }
    )*};
}

// The larger ones are what `Duration::as_millis` returns. Their division is 1.5 kB, in hooks that use it.
in_decimal!(u64, i64; u128, i128);

macro_rules! as_larger {
    ($($small:ty => $large:ty),*) => {$(
        impl Text for $small {
            fn push(&self, text: &mut String) {
                (*self as $large).push(text);
            }
        }
    )*};
}

as_larger!(u8 => u64, u16 => u64, u32 => u64, usize => u64, i8 => i64, i16 => i64, i32 => i64, isize => i64);

impl Text for crate::Error {
    fn push(&self, text: &mut String) {
        text.push_str(self.text());
    }
}

impl Text for crate::http::Error {
    fn push(&self, text: &mut String) {
        text.push_str(self.text());
    }
}

/// Whole milliseconds; `Duration::as_millis` computes with 128 bits, which makes a hook larger.
pub fn milliseconds(time: Duration) -> u64 {
    time.as_secs() * 1000 + u64::from(time.subsec_millis())
}

/// Seconds with three decimals: `1.500`.
pub fn seconds(time: Duration) -> String {
    let thousandths = u64::from(time.subsec_millis());
    crate::text!("{}.{}{}{}", time.as_secs(), thousandths / 100, thousandths / 10 % 10, thousandths % 10)
}

#[cfg(test)]
mod tests {
    use crate::text;
    use alloc::string::{String, ToString};

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 9, 10, 404, u64::MAX] {
            assert_eq!(text!("{number}"), number.to_string());
        }
        for number in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(text!("{}", number), number.to_string());
        }
        for number in [0, 10, u128::MAX] {
            assert_eq!(text!("{number}"), number.to_string());
        }
        for number in [-1, i128::MIN, i128::MAX] {
            assert_eq!(text!("{number}"), number.to_string());
        }
    }

    #[test]
    fn text_gives_the_same_as_format() {
        let (name, count) = (String::from("x"), 3_u8);
        let borrowed = &name;
        macro_rules! same {
            ($($what:tt)*) => { assert_eq!(text!($($what)*), alloc::format!($($what)*)) };
        }
        same!("");
        same!("plain");
        same!("{name}");
        same!("{name}{count} {}, {borrowed}", 'c');
        same!(
            "\"{}\": {{{}}} \u{e9} \\ \
               joined",
            name.as_str(),
            Some(true).is_some()
        );
        same!(r#"raw "{name}" \u{{41}}"#);
        same!("{}", { i32::from(count) - 5 });
    }
}
