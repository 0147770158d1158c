//! `linkerd-shutdown`: asks Linkerd's proxy to shut down.
//!
//! The proxy answers at once and may drain for another two minutes.
#![cfg_attr(target_family = "wasm", no_std)]

quit::hook! {
    name: "linkerd-proxy",
    prefix: "HOOK_LINKERD_SHUTDOWN",
    urls: &["http://localhost:4191/shutdown"],
    elsewhere: &["http://localhost:4143/"],
    hint: "proxy.enableShutdownEndpoint=true (LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED) enables the endpoint",
}
