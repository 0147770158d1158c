//! What the process does that checks and compiles hooks.

mod mistaken;
pub mod share;
mod unsupported;
pub mod validate;

use crate::hook::settings::{Digest, Set, Settings};
use ring::digest::{SHA256, digest};

/// Says why these bytes cannot be run as the hook of these settings.
pub fn check(bytes: &[u8], settings: &Settings) -> Result<(), String> {
    if let Some(Set { value: wanted, by }) = &settings.sha256 {
        let found = digest(&SHA256, bytes);
        if found.as_ref() != wanted.0 {
            let found = found.as_ref().try_into().map(Digest).map_err(|_| "no digest")?;
            return Err(format!("its SHA-256 is {found}, not the one of {by}"));
        }
    }
    validate::check(bytes)
}
