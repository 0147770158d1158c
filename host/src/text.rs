//! The system's words for an error, without Rust's number behind them: `No such file or directory`.

use anyhow::{Context, Result};
use std::io;

pub fn words(error: impl Into<io::Error>) -> String {
    let text = error.into().to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.into(),
        None => text,
    }
}

/// How long the reason of a failure may be, whoever words it: a hook chooses its error's text and its functions'
/// names. As long as a line of its output.
pub const REASON_LIMIT: usize = 4096;

/// At most so many bytes of a text.
pub fn truncate(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
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
    fn the_number_is_left_out() {
        assert_eq!(words(nix::errno::Errno::ELOOP), "Too many levels of symbolic links");
        assert_eq!(words(rustix::io::Errno::NOENT), "No such file or directory");
        assert_eq!(words(io::Error::other("custom")), "custom");
    }
}
