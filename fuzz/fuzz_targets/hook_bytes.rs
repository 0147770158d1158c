//! Any bytes as a hook: checked or refused, never a panic, and no refusal of more than a line.
#![no_main]

#[path = "../../host/src/hook/compiler/contract.rs"]
#[allow(dead_code)]
mod contract;

#[path = "../../host/src/hook/compiler/explain.rs"]
mod explain;

#[path = "../../host/src/hook/compiler/validate.rs"]
#[allow(dead_code)]
mod validate;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(why) = validate::validate(bytes) {
        assert!(!why.is_empty());
    }
    // Most mutations break the header; what follows it is more interesting.
    let component = [b"\0asm\x0d\0\x01\0", bytes].concat();
    let _ = validate::validate(&component);
});
