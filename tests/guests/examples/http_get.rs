//! GETs each of the URLs in HOOK_URLS and says what came of it.

use wrapper_hook::{Context, Result, http, log};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    for url in cx.var("HOOK_URLS").ok_or("HOOK_URLS is not set")?.split(' ') {
        match http::get(url).send() {
            Ok(answer) => log::info(&format!("{url} answered {}", answer.status())),
            Err(error) => log::info(&format!("{url} failed: {:?}", error.kind)),
        }
    }
    Ok(())
}
