//! Logs HOOK_WORDS at each level and fails with them.

use wrapper_hook::{Context, Result, log};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let words = cx.var("HOOK_WORDS").unwrap_or_default();
    log::error(&words);
    log::warn(&words);
    log::info(&words);
    Err(words.into())
}
