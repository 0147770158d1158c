//! The common part of the hooks that notify a server.
#![cfg_attr(target_family = "wasm", no_std)]

use core::time::Duration;
use wrapper_hook::{
    Context, Error, Result, String,
    http::{self, Request},
    log, text,
};

/// Default timeout of one attempt.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// Sends a request, with retries after transient failures, and logs its destination. The URL may be a secret: only its
/// scheme, host and port are logged.
///
/// `HOOK_…_TRY_TIMEOUT` limits one attempt; `HOOK_…_TIMEOUT`, which wrapper reads, limits all of them.
pub fn send(cx: &Context, url: &str, request: impl Fn() -> Request) -> Result {
    let origin = http::origin(url).ok_or_else(|| not_a_url(&cx.setting_name("URL")))?;
    let timeout = timeout(cx)?.unwrap_or(TIMEOUT);
    http::send_with_retries(cx, || request().timeout(timeout))?;
    log::info(&text!("sent to {origin}"));
    Ok(())
}

/// The time limit of one attempt, if it is set.
pub fn timeout(cx: &Context) -> Result<Option<Duration>> {
    cx.positive_duration(&cx.setting_name("TRY_TIMEOUT"))
}

/// The error for a URL without an origin, in this variable.
pub fn not_a_url(variable: &str) -> Error {
    Error::Misconfigured(text!("{variable} is not a URL of the form https://host/path"))
}

/// The command's name without its directory.
pub fn program(cx: &Context) -> String {
    let path = cx.command().into_iter().next().unwrap_or_default();
    let start = path.bytes().rposition(|byte| byte == b'/').map_or(0, |place| place + 1);
    path.get(start..).unwrap_or_default().into()
}
