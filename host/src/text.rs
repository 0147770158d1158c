//! The system's words for an error, without Rust's number behind them: `No such file or directory`.

use std::io;

pub fn words(error: impl Into<io::Error>) -> String {
    let text = error.into().to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.into(),
        None => text,
    }
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
