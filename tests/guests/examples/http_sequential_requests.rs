//! Makes HOOK_COUNT requests, one after the other, and counts the answers.

use wrapper_hook::{Context, Result, http, log, text};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let count = cx.var("HOOK_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0);
    let url = cx.var("HOOK_URL").ok_or("HOOK_URL is not set")?;
    let mut answered = 0;
    for _ in 0..count {
        answered += usize::from(http::post(&url).send().is_ok());
    }
    log::info(&text!("{answered} answered"));
    Ok(())
}
