//! `envoy-quit`: asks an Envoy to quit, through its admin interface.
//!
//! Ports: Envoy's own examples, Istio, Consul and App Mesh.
#![cfg_attr(target_family = "wasm", no_std)]

quit::hook! {
    name: "Envoy",
    prefix: "HOOK_ENVOY_QUIT",
    urls: &[
        "http://localhost:9901/quitquitquit",
        "http://localhost:15000/quitquitquit",
        "http://localhost:19000/quitquitquit",
    ],
    elsewhere: &[],
    hint: "the admin interface, enabled by `admin.address`, accepts POST requests",
}
