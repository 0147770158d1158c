//! All processes: text for people: kept to one line, cut to a length, and the system's message for an error.

use anyhow::{Context, Result};
use std::io;

/// The system's message for an error, without the number that Rust adds (strerror(3)): `No such file or directory`.
pub fn strerror(error: impl Into<io::Error>) -> String {
    let text = error.into().to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.into(),
        None => text,
    }
}

/// Bytes of the reason of a failure, as of a line of output: a hook chooses its error's text and its functions' names.
pub const REASON_LIMIT: usize = 4096;

/// At most so many bytes of a text.
pub fn truncate(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

/// At most so many bytes of a text, with a mark where it goes on.
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

/// The value of a word, in capital or small letters.
pub fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T> {
    let found = choices.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    found.map(|(_, choice)| *choice).with_context(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        format!("must be {}", names.join(" or "))
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
    fn the_number_is_left_out() {
        assert_eq!(strerror(nix::errno::Errno::ELOOP), "Too many levels of symbolic links");
        assert_eq!(strerror(rustix::io::Errno::NOENT), "No such file or directory");
        assert_eq!(strerror(io::Error::other("custom")), "custom");
    }
}
