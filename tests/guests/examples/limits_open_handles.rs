//! Makes HOOK_COUNT things in the host, each with HOOK_BYTES of content, and lets go of none.

use std::mem::forget;
use wrapper_hook::{
    Context, Result,
    bindings::wasi::{clocks::monotonic_clock, http::types::Fields},
    log,
};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let number = |name: &str| cx.var(name).and_then(|number| number.parse::<usize>().ok());
    let count = number("HOOK_COUNT").ok_or("HOOK_COUNT is no number")?;
    let content = vec![b'c'; number("HOOK_BYTES").unwrap_or(0)];
    for _ in 0..count {
        if content.is_empty() {
            forget(monotonic_clock::subscribe_duration(u64::MAX));
        } else {
            let fields = Fields::new();
            fields.append("content", &content).map_err(|error| format!("{error:?}"))?;
            forget(fields);
        }
    }
    log::info(&format!("has {count}"));
    Ok(())
}
