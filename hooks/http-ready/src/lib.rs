//! `http-ready`: waits until a given URL, or one of several, has a 2xx response.
//!
//! Listed under another name, as in `--before database=http-ready`, it has settings under that name:
//! `HOOK_DATABASE_URL`.
#![cfg_attr(target_family = "wasm", no_std)]

use gate::{Gate, wait};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

wrapper_hook::describe! {
    about: "waits until a URL, or one of several, responds with 2xx",
    phase: before,
    prefix: "HOOK_HTTP_READY",
    settings: [
        URL: required targets,
        PERIOD: positive_time = "250ms",
        STARTUP: time = "5s",
        ON_TIMEOUT: one_of("start|fail") = "fail",
        ABSENT: one_of("wait|start|fail") = "wait",
    ],
}

fn run(cx: &Context) -> Result {
    wait(cx, &Gate { name: &cx.name(), prefix: "HOOK_HTTP_READY", urls: &[] })
}
