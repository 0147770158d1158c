//! `cloudsql-quit`: asks the Cloud SQL or AlloyDB Auth Proxy to quit.
#![cfg_attr(target_family = "wasm", no_std)]

quit::hook! {
    name: "cloud-sql-proxy",
    prefix: "HOOK_CLOUDSQL_QUIT",
    urls: &["http://localhost:9091/quitquitquit"],
    elsewhere: &["http://localhost:9090/"],
    hint: "the proxy's option --quitquitquit enables the endpoint",
}
