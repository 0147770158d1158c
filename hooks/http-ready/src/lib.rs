//! `http-ready`: waits until a given URL, or one of several, has a 2xx response.
//!
//! Listed under another name, as in `--before database=http-ready`, it has settings under that name:
//! `HOOK_DATABASE_URL`.
#![cfg_attr(target_family = "wasm", no_std)]

use ready::{Gate, wait};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    wait(cx, &Gate { name: &cx.name(), prefix: "HOOK_HTTP_READY", urls: &[] })
}
