//! `sidecars`: asks every known sidecar to quit, whichever of them the pod has.
//!
//! Where a sidecar consists of an agent and its Envoy, Envoy is asked only if the agent refuses connections: an Envoy
//! that exits before its agent was asked may look like a crash to it.
#![cfg_attr(target_family = "wasm", no_std)]

use quit::{Sidecar, quit_all, with_dapr};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

wrapper_hook::describe! {
    about: "asks every known sidecar to quit",
    phase: after,
    prefix: "HOOK_SIDECARS",
    reads: ["DAPR_HTTP_PORT", "DAPR_API_TOKEN"],
    connects: [
        quit::urls!(ISTIO),
        quit::urls!(CONSUL),
        quit::urls!(ENVOY),
        quit::urls!(quit::LINKERD),
        "http://localhost:3500/v1.0/shutdown",
        quit::urls!(quit::CLOUD_SQL),
        quit::urls!(quit::VAULT),
        "{HOOK_ISTIO_QUIT_URL} {HOOK_CONSUL_SHUTDOWN_URL} {HOOK_ENVOY_QUIT_URL} {HOOK_LINKERD_SHUTDOWN_URL}",
        "{HOOK_DAPR_SHUTDOWN_URL} {HOOK_CLOUDSQL_QUIT_URL} {HOOK_VAULT_QUIT_URL}",
    ],
    settings: [
        STARTUP: startup = "5s",
        ABSENT: one_of("ok|wait|fail") = "ok",
        WAIT_GONE: switch = "false",
        EXCEPT: some_of(
            "istio-quit|envoy-quit|linkerd-shutdown|consul-shutdown|dapr-shutdown|cloudsql-quit|vault-quit"
        ),
    ],
}

const ISTIO: Sidecar =
    Sidecar { urls: &["http://localhost:15020/quitquitquit", "http://localhost:15000/quitquitquit"], ..quit::ISTIO };

const CONSUL: Sidecar = Sidecar {
    urls: &[
        "http://localhost:20600/graceful_shutdown",
        "http://localhost:20300/graceful_shutdown",
        "http://localhost:19000/quitquitquit",
    ],
    ..quit::CONSUL
};

const ENVOY: Sidecar = Sidecar { urls: &["http://localhost:9901/quitquitquit"], ..quit::ENVOY };

fn run(cx: &Context) -> Result {
    with_dapr(cx, |daprd| {
        quit_all(cx, "HOOK_SIDECARS", &[ISTIO, CONSUL, ENVOY, quit::LINKERD, daprd, quit::CLOUD_SQL, quit::VAULT])
    })
}
