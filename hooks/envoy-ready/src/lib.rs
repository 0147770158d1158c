//! `envoy-ready`: waits until an Envoy is ready, by its admin interface.
//!
//! The ports are those of `envoy-quit`.
#![cfg_attr(target_family = "wasm", no_std)]

use ready::{Gate, wait};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

const ENVOY: Gate = Gate {
    name: "Envoy",
    variable: "HOOK_ENVOY_READY",
    urls: &["http://localhost:9901/ready", "http://localhost:15000/ready", "http://localhost:19000/ready"],
};

fn run(cx: &Context) -> Result {
    wait(cx, &ENVOY)
}
