//! Lines in wrapper's log, each marked with the hook's name.
//!
//! The functions take a finished text, so that a hook that formats nothing stays small:
//! `log::info(&text!("status {status}"))`.

use crate::host::{Level, log};

/// For whoever looks for a fault; shown with `--log debug`.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// What the hook did.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// Something is odd, but the hook goes on.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// Something failed; shown at every level.
pub fn error(message: &str) {
    log(Level::Error, message);
}
