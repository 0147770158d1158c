//! Asks for HOOK_BYTES random bytes at once.

use wrapper_hook::{Context, Result, bindings::wasi::random::random, log, text};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let count = cx.var("HOOK_BYTES").and_then(|count| count.parse().ok()).ok_or("HOOK_BYTES is no number")?;
    let bytes = random::get_random_bytes(count);
    log::info(&text!("got {}", bytes.len()));
    Ok(())
}
