//! The error of a hook.

use crate::bindings::exports::wrapper::hook::run;
use alloc::string::String;
use core::fmt;

/// The result of a hook; `Result` alone is `Result<(), Error>`.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// The reason why a hook failed. wrapper logs the text in one line after the hook's name, so the text names what
/// failed, with which address or variable, why, and how to fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// It failed; another run may succeed. `?` and `.into()` turn a `&str` or `String` into this.
    Failed(String),
    /// It cannot succeed before a setting is changed, which the text names.
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
