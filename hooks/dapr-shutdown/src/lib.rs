//! `dapr-shutdown`: asks Dapr's sidecar to shut down.
#![cfg_attr(target_family = "wasm", no_std)]

use quit::{quit, with_dapr};
use wrapper_hook::{Context, Error, Result};

wrapper_hook::hook!(run);

quit::describe!(
    "daprd",
    "HOOK_DAPR_SHUTDOWN",
    "http://localhost:{DAPR_HTTP_PORT}/v1.0/shutdown",
    ["DAPR_HTTP_PORT", "DAPR_API_TOKEN"],
    TOKEN
);

fn run(cx: &Context) -> Result {
    with_dapr(cx, |daprd| match daprd.misconfigured {
        Some(why) => Err(Error::Misconfigured(why.into())),
        None => quit(cx, &daprd, |request| daprd.with_header(request)),
    })
}
