//! `linkerd-ready`: waits until Linkerd's proxy is ready.
#![cfg_attr(target_family = "wasm", no_std)]

gate::hook! {
    name: "linkerd-proxy",
    prefix: "HOOK_LINKERD_READY",
    urls: &["http://localhost:4191/ready"],
}
