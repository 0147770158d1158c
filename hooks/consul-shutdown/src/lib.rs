//! `consul-shutdown`: asks Consul's dataplane to shut down.
//!
//! The ports are those of consul-k8s and of consul-dataplane by itself.
#![cfg_attr(target_family = "wasm", no_std)]

use quit::{Sidecar, quit};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

const CONSUL: Sidecar = Sidecar {
    name: "consul-dataplane",
    variable: "HOOK_CONSUL_SHUTDOWN",
    urls: &["http://localhost:20600/graceful_shutdown", "http://localhost:20300/graceful_shutdown"],
    elsewhere: &[],
    enabled_by: "the endpoint comes with the annotation consul.hashicorp.com/enable-sidecar-proxy-lifecycle: \"true\"",
};

fn run(cx: &Context) -> Result {
    quit(cx, &CONSUL, |request| request)
}
