//! Any word as the value of any option: taken or refused, never a panic.
#![no_main]

#[path = "../../host/src/cli/values.rs"]
#[allow(dead_code)]
mod values;

#[path = "../../guest-sdk/src/values.rs"]
#[allow(dead_code)]
mod sdk_values;

#[path = "../../host/src/hook/allow_list.rs"]
#[allow(dead_code)]
mod allow_list;

#[path = "../../host/src/hook/address.rs"]
#[allow(dead_code)]
mod address;

#[path = "../../host/src/outcome.rs"]
#[allow(dead_code)]
mod outcome;

#[path = "../../host/src/hook/settings.rs"]
#[allow(dead_code)]
mod settings;

#[path = "../../host/src/text.rs"]
#[allow(dead_code)]
mod text;

use allow_list::Rule;
use libfuzzer_sys::fuzz_target;
use outcome::RunOn;
use settings::Digest;
use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

fuzz_target!(|bytes: &[u8]| {
    let value = OsStr::from_bytes(bytes);
    if let Ok(time) = values::duration(value) {
        assert!(!time.is_zero());
    }
    if let Ok(size) = values::memory(value) {
        assert!((64 * 1024..=4 << 30).contains(&size));
    }
    let _ = (values::flag(value), values::failure_counts(value), values::variable(value));
    let _ = (values::parsed::<RunOn>(value), values::parsed::<Rule>(value), values::all_parsed::<Digest>(value));
});
