//! Probes the targets in HOOK_TARGETS at once, as often as HOOK_TIMES says, and logs the results in their order.

use std::time::Duration;
use wrapper_hook::{Context, Result, log, probe};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let times: usize = cx.var("HOOK_TIMES").and_then(|times| times.parse().ok()).unwrap_or(1);
    let targets: Vec<String> = std::iter::repeat_n(cx.list("HOOK_TARGETS"), times).flatten().collect();
    for (target, result) in targets.iter().zip(probe::all(&targets, Duration::from_secs(1))) {
        log::info(&format!("{target} {result:?}"));
    }
    Ok(())
}
