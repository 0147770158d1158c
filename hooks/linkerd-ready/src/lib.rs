//! `linkerd-ready`: waits until Linkerd's proxy is ready.
#![cfg_attr(target_family = "wasm", no_std)]

use ready::{Gate, wait};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

const LINKERD: Gate =
    Gate { name: "linkerd-proxy", variable: "HOOK_LINKERD_READY", urls: &["http://localhost:4191/ready"] };

fn run(cx: &Context) -> Result {
    wait(cx, &LINKERD)
}
