//! Sleeps until HOOK_PERCENT of the hook's time have gone, HOOK_TIME_MS being all of it.

use std::time::Duration;
use wrapper_hook::{Context, Result, log, sleep};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let number = |name: &str| cx.var(name).and_then(|number| number.parse::<u32>().ok()).ok_or("not a number");
    let all = Duration::from_millis(number("HOOK_TIME_MS")?.into());
    let gone = all.saturating_sub(cx.time_left());
    sleep((all * number("HOOK_PERCENT")? / 100).saturating_sub(gone));
    log::info("awake");
    Ok(())
}
