//! POSTs HOOK_BODY to HOOK_URL and logs the answer.

use wrapper_hook::{Context, Result, http, log};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let url = cx.var("HOOK_URL").ok_or("HOOK_URL is not set")?;
    let mut request = http::post(&url).body(cx.var("HOOK_BODY").unwrap_or_default());
    if let Some(header) = cx.var("HOOK_HEADER") {
        request = request.header(&header, "value");
    }
    if let Some(seconds) = cx.var("HOOK_TIMEOUT") {
        request = request.timeout_secs(seconds.parse().unwrap());
    }
    let answer = request.send()?;
    log::info(&format!("status {}", answer.status()));
    log::info(&format!("server {:?}", answer.header("server").map(|name| String::from_utf8(name).unwrap())));
    log::info(&format!("body {:?}", String::from_utf8(answer.body(64)?).unwrap()));
    Ok(())
}
