//! Any word as the value of any option: taken or refused, never a panic.
#![no_main]

#[path = "../../host/src/cli/values.rs"]
#[allow(dead_code)]
mod values;

#[path = "../../host/src/hook/allow_list.rs"]
#[allow(dead_code)]
mod allow_list;

#[path = "../../host/src/hook/address.rs"]
#[allow(dead_code)]
mod address;

#[path = "../../host/src/outcome.rs"]
#[allow(dead_code)]
mod outcome;

/// What the values' module expects of its crate.
mod hook {
    pub use crate::allow_list::Rule;
}

#[allow(dead_code)]
mod log {
    #[derive(Clone, Copy)]
    pub enum Level {
        Debug,
        Info,
        Warn,
        Error,
    }

    #[derive(Clone, Copy)]
    pub enum Format {
        Text,
        Json,
    }
}

use libfuzzer_sys::fuzz_target;
use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

fuzz_target!(|bytes: &[u8]| {
    let value = OsStr::from_bytes(bytes);
    if let Ok(time) = values::duration(value) {
        assert!(!time.is_zero());
    }
    if let Ok(size) = values::memory(value) {
        assert!((64 * 1024..=4 << 30).contains(&size));
    }
    let _ = (values::flag(value), values::failure_counts(value), values::when(value));
    let _ = (values::level(value).is_ok(), values::format(value).is_ok());
    let _ = (values::variable(value), values::allowed(value), values::digests(value));
});
