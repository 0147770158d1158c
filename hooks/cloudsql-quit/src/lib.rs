//! `cloudsql-quit`: asks the Cloud SQL or AlloyDB Auth Proxy to quit.
#![cfg_attr(target_family = "wasm", no_std)]

use quit::{Sidecar, quit};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

const CLOUD_SQL: Sidecar = Sidecar {
    name: "cloud-sql-proxy",
    variable: "HOOK_CLOUDSQL_QUIT",
    urls: &["http://localhost:9091/quitquitquit"],
    elsewhere: &["http://localhost:9090/"],
    enabled_by: "the proxy serves it when it is started with --quitquitquit",
};

fn run(cx: &Context) -> Result {
    quit(cx, &CLOUD_SQL, |request| request)
}
