//! Starts a GET of each of the URLs in HOOK_URLS, waits for them, the last one first, and logs the results; four times,
//! because the host then uses the numbers of its handles again, in other orders.

use wrapper_hook::{Context, Result, http, log};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let urls = cx.list("HOOK_URLS");
    for _ in 0..4 {
        let start = |url| http::get(url).timeout_secs(1).start();
        let pending: Vec<_> = urls.iter().map(|url| start(url)).collect();
        let result = |pending: http::Pending| match pending.wait() {
            Ok(response) => format!("{}", response.status()),
            Err(error) => format!("{:?}", error.kind),
        };
        let results: Vec<_> = pending.into_iter().rev().map(result).collect();
        log::info(&results.join(" "));
    }
    Ok(())
}
