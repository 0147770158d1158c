//! All processes: text for people: kept to one line, cut to a length, and the system's message for an error.

use anyhow::{Context, Result};
use std::io;

/// The system's message for an error, without the number that Rust adds (strerror(3)): `No such file or directory`.
pub fn strerror(error: impl Into<io::Error>) -> String {
    let text = error.into().to_string();
    match text.split_once(" (os error ") {
        Some((message, _)) => message.into(),
        None => text,
    }
}

/// Bytes of the reason of a failure, as of a line of output: a hook chooses its error's text and its functions' names.
pub const REASON_LIMIT: usize = 4096;

/// At most so many bytes of a text.
pub fn truncate(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

/// At most so many bytes of a text, with an ellipsis if it was truncated.
pub fn ellipsize(text: &str, limit: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= limit { text.into() } else { truncate(text, limit.saturating_sub(MARK.len())).to_owned() + MARK }
}

/// Replaces characters by which a hook or a file name could forge lines of the log or control a terminal.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_control(c) && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Control characters, line separators, bidirectional overrides and invisible text. Not the joiners that scripts and
/// emoji are written with.
pub fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Line and paragraph separators.
            '\u{2028}' | '\u{2029}'
            // All that have Unicode's property Bidi_Control, and the deprecated ones of the same block.
            | '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Annotations between the lines, and tags: an invisible copy of ASCII.
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The one of these names that was probably meant by another: similar to it, in capital or small letters.
pub fn closest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let similar = names.into_iter().map(|name| (distance(word, name), name));
    similar.filter(|(distance, name)| *distance <= (name.len() / 4).max(1)).min().map(|(_, name)| name)
}

/// Number of bytes to insert, remove or replace, or of neighbours to exchange, to get from one to the other (optimal
/// string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    let at = |rows: &[Vec<usize>], row: usize, place: usize| {
        rows.get(row).and_then(|row| row.get(place)).copied().unwrap_or_default()
    };
    for (i, a) in one.iter().enumerate() {
        rows.push(vec![i + 1]);
        for (j, b) in other.iter().enumerate() {
            let replaced = at(&rows, i, j) + usize::from(a != b);
            let mut least = replaced.min(at(&rows, i, j + 1) + 1).min(at(&rows, i + 1, j) + 1);
            let exchanged = i > 0 && j > 0 && one.get(i - 1) == Some(b) && other.get(j - 1) == Some(a);
            if exchanged {
                least = least.min(at(&rows, i - 1, j - 1) + 1);
            }
            if let Some(row) = rows.last_mut() {
                row.push(least);
            }
        }
    }
    at(&rows, one.len(), other.len())
}

/// A dash or a quotation mark at the start of a word that an editor or a web page has put in place of an ASCII one.
pub fn typographic(word: &str) -> Option<String> {
    let char = word.chars().next()?;
    let name = match char {
        '\u{2013}' => "an en dash",
        '\u{2014}' => "an em dash",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "a dash that is no hyphen",
        '\u{ab}' | '\u{bb}' | '\u{2018}'..='\u{201f}' => "a typographic quotation mark",
        _ => return None,
    };
    Some(format!("{name} (U+{:04X})", u32::from(char)))
}

/// Several values of a hook's setting, separated by commas or white space.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', '\t', '\r', '\n']).filter(|value| !value.is_empty())
}

/// A number of bytes, as people write it: `64 MiB`.
pub fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string().replace(".0 ", " ")
}

/// The value of one of these names, in capital or small letters.
pub fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T> {
    let found = choices.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    found.map(|(_, choice)| *choice).with_context(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        format!("must be one of: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_break_out_of_its_line() {
        assert_eq!(one_line("a\nwrapper: b\u{1b}[2J\tc"), "a\u{fffd}wrapper: b\u{fffd}[2J\tc");
        assert_eq!(one_line("a\u{2028}b\u{202e}c\u{9b}d"), "a\u{fffd}b\u{fffd}c\u{fffd}d");
        // Persian is written with a joiner that must stay, and so are families of emoji.
        assert_eq!(
            one_line("\u{645}\u{6cc}\u{200c}\u{62e} \u{1f468}\u{200d}\u{1f469}"),
            "\u{645}\u{6cc}\u{200c}\u{62e} \u{1f468}\u{200d}\u{1f469}"
        );
    }

    #[test]
    fn a_name_with_a_typo_in_it_is_the_closest_and_any_other_word_is_none() {
        let names = ["istio-quit", "istio-ready", "http", "echo"];
        for (word, name) in [
            ("istio-quitt", Some("istio-quit")),
            ("istio_quit", Some("istio-quit")),
            ("ISTIO-REDAY", Some("istio-ready")),
            ("htp", Some("http")),
            ("linkerd", None),
            ("", None),
        ] {
            assert_eq!(closest(word, names), name, "{word}");
        }
    }

    #[test]
    fn the_number_is_left_out() {
        assert_eq!(strerror(nix::errno::Errno::ELOOP), "Too many levels of symbolic links");
        assert_eq!(strerror(rustix::io::Errno::NOENT), "No such file or directory");
        assert_eq!(strerror(io::Error::other("custom")), "custom");
    }
}
