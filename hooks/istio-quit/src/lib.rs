//! `istio-quit`: asks Istio's sidecar to quit, so that the pod of a finished Job can complete.
//!
//! pilot-agent ends Envoy at once and without draining, so this is a pod's last word over HTTP.
#![cfg_attr(target_family = "wasm", no_std)]

use quit::{Sidecar, quit};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

const ISTIO: Sidecar = Sidecar {
    name: "istio-proxy",
    variable: "HOOK_ISTIO_QUIT",
    urls: &["http://localhost:15020/quitquitquit"],
    elsewhere: &["http://localhost:15000/"],
    enabled_by: "pilot-agent takes POST from the pod's own loopback on port 15020, Envoy itself on port 15000",
};

fn run(cx: &Context) -> Result {
    quit(cx, &ISTIO, |request| request)
}
