//! `vault-quit`: asks the agent of Vault or OpenBao to quit.
#![cfg_attr(target_family = "wasm", no_std)]

use quit::{VAULT, quit};
use wrapper_hook::{Context, Result};

wrapper_hook::hook!(run);

quit::describe!(VAULT.name, VAULT.prefix, quit::urls!(VAULT), []);

fn run(cx: &Context) -> Result {
    quit(cx, &VAULT, |request| VAULT.with_header(request))
}
