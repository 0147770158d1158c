//! Why a hook did not do its work.

use crate::bindings::exports::wrapper::hook::run;
use alloc::string::String;
use core::fmt;

/// What a hook returns; `Result` alone is `Result<(), Error>`.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// Why a hook did not do its work. wrapper writes the text as one line that starts with the hook's name, so it
/// says what, which address or variable, why, and what would mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// It failed; another time it may succeed. A `&str` or `String` turns into this by `?` or `.into()`.
    Failed(String),
    /// It cannot succeed until somebody changes a setting, which the text names.
    Misconfigured(String),
}

impl Error {
    /// The text, in one line.
    pub fn text(&self) -> &str {
        match self {
            Self::Failed(text) | Self::Misconfigured(text) => text,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Error {}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl From<&str> for Error {
    fn from(text: &str) -> Self {
        Self::Failed(text.into())
    }
}

impl From<Error> for run::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Failed(text) => Self::Failed(text),
            Error::Misconfigured(text) => Self::Misconfigured(text),
        }
    }
}
