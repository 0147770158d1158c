//! `envoy-ready`: waits until an Envoy is ready, by its admin interface, on the ports of `envoy-quit`.
#![cfg_attr(target_family = "wasm", no_std)]

gate::hook! {
    name: "Envoy",
    prefix: "HOOK_ENVOY_READY",
    urls: &["http://localhost:9901/ready", "http://localhost:15000/ready", "http://localhost:19000/ready"],
}
