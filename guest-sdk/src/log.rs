//! Lines in wrapper's log, each with the hook's name.
//!
//! The functions take a finished text, so that a hook that formats nothing stays small:
//! `log::info(&text!("status {status}"))`.

use crate::host::{Level, log};

/// Logs a detail for debugging; shown with `--log debug`.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// Logs what the hook did.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// Logs something unexpected that the hook can cope with.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// Logs a failure; shown at every level.
pub fn error(message: &str) {
    log(Level::Error, message);
}
