//! `dapr-shutdown`: asks Dapr's sidecar to shut down.
//!
//! Dapr's injector sets `DAPR_HTTP_PORT` in the job's container, and `DAPR_API_TOKEN` if its API requires a token;
//! wrapper passes them to this hook alone. `HOOK_DAPR_SHUTDOWN_URL` and `HOOK_DAPR_SHUTDOWN_TOKEN` override them.
#![cfg_attr(target_family = "wasm", no_std)]

use quit::{Sidecar, quit};
use wrapper_hook::{Context, Error, Result, text};

wrapper_hook::hook!(run);

quit::describe!(
    "daprd",
    PREFIX,
    ["http://localhost:{DAPR_HTTP_PORT}/v1.0/shutdown"],
    ["DAPR_HTTP_PORT", "DAPR_API_TOKEN"],
    TOKEN
);

const PREFIX: &str = "HOOK_DAPR_SHUTDOWN";

/// The default port; the annotation `dapr.io/sidecar-http-port` (or `--dapr-http-port`) sets another.
const PORT: &str = "3500";

fn run(cx: &Context) -> Result {
    let token = cx.trimmed(&cx.setting_name_or("TOKEN", PREFIX)).or_else(|| cx.trimmed("DAPR_API_TOKEN"));
    let port = cx.trimmed("DAPR_HTTP_PORT");
    let port = port.as_deref().unwrap_or(PORT);
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::Misconfigured(text!("DAPR_HTTP_PORT=\"{port}\": not a port")));
    }
    let url = text!("http://localhost:{port}/v1.0/shutdown");
    let daprd = Sidecar {
        name: "daprd",
        prefix: PREFIX,
        urls: &[&url],
        elsewhere: &["http://localhost:3501/"],
        hint: "if Dapr's API requires a token, set HOOK_DAPR_SHUTDOWN_TOKEN or DAPR_API_TOKEN",
    };
    quit(cx, &daprd, |request| match &token {
        Some(token) => request.header("dapr-api-token", token),
        None => request,
    })
}
