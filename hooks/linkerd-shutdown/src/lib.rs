//! `linkerd-shutdown`: asks Linkerd's proxy to shut down.
//!
//! It answers at once and may go on draining for two minutes.
#![cfg_attr(target_family = "wasm", no_std)]

use quit::{Sidecar, quit};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

const LINKERD: Sidecar = Sidecar {
    name: "linkerd-proxy",
    variable: "HOOK_LINKERD_SHUTDOWN",
    urls: &["http://localhost:4191/shutdown"],
    elsewhere: &["http://localhost:4143/"],
    enabled_by: "the proxy's endpoint is enabled with proxy.enableShutdownEndpoint=true (LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED)",
};

fn run(cx: &Context) -> Result {
    quit(cx, &LINKERD, |request| request)
}
