//! `consul-shutdown`: asks Consul's dataplane to shut down.
//!
//! Ports: the default of consul-k8s, and that of consul-dataplane itself.
#![cfg_attr(target_family = "wasm", no_std)]

quit::hook! {
    name: "consul-dataplane",
    prefix: "HOOK_CONSUL_SHUTDOWN",
    urls: &["http://localhost:20600/graceful_shutdown", "http://localhost:20300/graceful_shutdown"],
    elsewhere: &[],
    hint: "the annotation consul.hashicorp.com/enable-sidecar-proxy-lifecycle: \"true\" enables the endpoint",
}
