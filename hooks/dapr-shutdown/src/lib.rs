//! `dapr-shutdown`: asks Dapr's sidecar to shut down.
//!
//! `HOOK_DAPR_SHUTDOWN_TOKEN` is the token of Dapr's API, where one is required.
#![cfg_attr(target_family = "wasm", no_std)]

use quit::{Sidecar, quit};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

const DAPR: Sidecar = Sidecar {
    name: "daprd",
    variable: "HOOK_DAPR_SHUTDOWN",
    urls: &["http://localhost:3500/v1.0/shutdown"],
    enabled_by: "where Dapr's API requires a token, HOOK_DAPR_SHUTDOWN_TOKEN has to hold it",
};

fn run(cx: &Context) -> Result {
    let token = cx.var("HOOK_DAPR_SHUTDOWN_TOKEN");
    quit(cx, &DAPR, |request| match &token {
        Some(token) => request.header("dapr-api-token", token),
        None => request,
    })
}
