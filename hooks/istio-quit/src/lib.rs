//! `istio-quit`: asks Istio's sidecar to quit, so that the pod of a finished Job can complete.
//!
//! pilot-agent stops Envoy at once, without draining: afterwards the pod has no HTTP.
#![cfg_attr(target_family = "wasm", no_std)]

quit::hook! {
    name: "istio-proxy",
    prefix: "HOOK_ISTIO_QUIT",
    urls: &["http://localhost:15020/quitquitquit"],
    elsewhere: &["http://localhost:15000/"],
    hint: "pilot-agent accepts POST requests from the pod's own loopback on port 15020, Envoy itself on port 15000",
}
