//! `vault-quit`: asks the agent of Vault or OpenBao to quit.
#![cfg_attr(target_family = "wasm", no_std)]

use quit::{Sidecar, quit};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

quit::describe!("vault-agent", "HOOK_VAULT_QUIT", ["http://localhost:8200/agent/v1/quit"], []);

const VAULT: Sidecar = Sidecar {
    name: "vault-agent",
    prefix: "HOOK_VAULT_QUIT",
    urls: &["http://localhost:8200/agent/v1/quit"],
    elsewhere: &["http://localhost:8100/"],
    hint: "`agent_api { enable_quit = true }` in the agent's listener enables the endpoint",
};

fn run(cx: &Context) -> Result {
    // Agents with `require_request_header` require it, because a browser cannot be made to send it.
    quit(cx, &VAULT, |request| request.header("X-Vault-Request", "true"))
}
