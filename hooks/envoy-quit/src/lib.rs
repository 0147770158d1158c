//! `envoy-quit`: asks an Envoy to quit, by its admin interface.
//!
//! The ports are the usual ones of Envoy's own examples, of Istio, and of Consul and App Mesh.
#![cfg_attr(target_family = "wasm", no_std)]

use quit::{Sidecar, quit};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

const ENVOY: Sidecar = Sidecar {
    name: "Envoy",
    variable: "HOOK_ENVOY_QUIT",
    urls: &[
        "http://localhost:9901/quitquitquit",
        "http://localhost:15000/quitquitquit",
        "http://localhost:19000/quitquitquit",
    ],
    elsewhere: &[],
    enabled_by: "its admin interface takes POST, if `admin.address` is configured",
};

fn run(cx: &Context) -> Result {
    quit(cx, &ENVOY, |request| request)
}
