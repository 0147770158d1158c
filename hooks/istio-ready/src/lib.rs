//! `istio-ready`: waits until Istio's sidecar is ready.
#![cfg_attr(target_family = "wasm", no_std)]

gate::hook! {
    name: "istio-proxy",
    prefix: "HOOK_ISTIO_READY",
    urls: &["http://localhost:15021/healthz/ready"],
}
