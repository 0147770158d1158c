//! `istio-ready`: waits until Istio's sidecar is ready.
#![cfg_attr(target_family = "wasm", no_std)]

use ready::{Gate, wait};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

const ISTIO: Gate =
    Gate { name: "istio-proxy", variable: "HOOK_ISTIO_READY", urls: &["http://localhost:15021/healthz/ready"] };

fn run(cx: &Context) -> Result {
    wait(cx, &ISTIO)
}
