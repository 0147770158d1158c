//! Parses `traceparent` of W3C Trace Context.
//!
//! wrapper compiles this very file for `--trace-context`, so that the command and the span are in the same trace.

/// A span as its children name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent<'a> {
    /// 32 hexadecimal digits, not all of them zero.
    pub trace_id: &'a str,
    /// 16 hexadecimal digits, not all of them zero.
    pub span_id: &'a str,
    /// Two hexadecimal digits, the lowest bit of which is whether spans of the trace are recorded.
    pub flags: &'a str,
}

impl<'a> Traceparent<'a> {
    /// `version-trace_id-span_id-flags`, in small letters. A version after 00 may append further fields.
    pub fn parse(text: &'a str) -> Option<Self> {
        let hex = |from: usize, to: usize| {
            let digits = text.get(from..to)?;
            digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')).then_some(digits)
        };
        let id = |from: usize, to: usize| hex(from, to).filter(|id| id.bytes().any(|digit| digit != b'0'));
        let (version, flags) = (hex(0, 2)?, hex(53, 55)?);
        let is_separated = [2, 35, 52].into_iter().all(|place| text.as_bytes().get(place) == Some(&b'-'));
        let may_end = match (version, text.as_bytes().get(55)) {
            ("ff", _) => false,
            (_, None) => true,
            ("00", _) => false,
            (_, next) => next == Some(&b'-'),
        };
        let found = Self { trace_id: id(3, 35)?, span_id: id(36, 52)?, flags };
        (is_separated && may_end).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_has_two_identifiers_that_are_not_zero_and_flags() {
        let (trace_id, span_id) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        for (text, flags) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "01"),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "00"),
            ("fe-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", "03"),
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02-what-follows", "02"),
        ] {
            assert_eq!(Traceparent::parse(text), Some(Traceparent { trace_id, span_id, flags }), "{text}");
        }
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c8031\u{e9}c-b7ad6b7169203331-01",
        ] {
            assert_eq!(Traceparent::parse(text), None, "{text}");
        }
    }
}
