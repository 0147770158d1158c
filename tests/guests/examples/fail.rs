//! Fails in the way HOOK_FAIL says.

use wrapper_hook::{Context, Error, Result};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    match cx.var("HOOK_FAIL").as_deref() {
        Some("misconfigured") => Err(Error::Misconfigured("set HOOK_URL".into())),
        Some("long") => Err("~".repeat(cx.var("HOOK_LENGTH").unwrap_or_default().parse().unwrap()).into()),
        Some("empty") => Err("".into()),
        Some("lines") => Err("first\nwrapper: second".into()),
        _ => Err("the cat is out".into()),
    }
}
