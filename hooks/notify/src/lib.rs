//! Telling a server what happened: what the hooks that do it share.
#![cfg_attr(target_family = "wasm", no_std)]

use core::time::Duration;
use wrapper_hook::{
    Context, Error, Result, String,
    http::{ErrorKind, Request},
    log, sleep, text,
};

/// How long one try may take, unless the hook is told otherwise.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How often a try is repeated: with the pauses below that is about six seconds of waiting.
const RETRIES: u32 = 5;

/// Before the first repetition, in milliseconds; doubled before each one that follows.
const PAUSE: u64 = 200;

/// What a hook needs for its last words, in milliseconds.
const REPORT_MARGIN: u64 = 300;

/// Sends a request, again if it may help, and logs where it went. The URL itself may be a secret: only scheme, host and
/// port of it are ever told.
///
/// `HOOK_…_TRY_TIMEOUT` is the time of one try; `HOOK_…_TIMEOUT`, which wrapper reads, is that of all.
pub fn send(cx: &Context, url: &str, request: impl Fn() -> Request) -> Result {
    let malformed =
        || Error::Misconfigured(text!("{} is not a URL of the form https://host/path", cx.setting_name("URL")));
    let origin = origin(url).ok_or_else(malformed)?;
    let timeout = cx.duration(&cx.setting_name("TRY_TIMEOUT"))?.unwrap_or(TIMEOUT);
    let mut pause = PAUSE;
    let mut left = RETRIES;
    loop {
        let (why, again) = match request().timeout(timeout).send() {
            Ok(answer) => match answer.status() {
                200..300 => {
                    log::info(&text!("told {origin}"));
                    return Ok(());
                }
                status => (text!("answered {status}"), matches!(status, 408 | 429 | 500..600)),
            },
            Err(error) if matches!(error.kind, ErrorKind::Invalid | ErrorKind::Denied) => {
                return Err(Error::Misconfigured(text!("\"{origin}\": {}", error.reason())));
            }
            Err(error) => (error.reason().into(), error.kind != ErrorKind::Tls),
        };
        let why = text!("\"{origin}\": {why}");
        if !again || left == 0 || milliseconds(cx.time_left()) < pause + REPORT_MARGIN {
            return Err(why.into());
        }
        log::debug(&why);
        sleep(Duration::from_millis(pause));
        pause *= 2;
        left -= 1;
    }
}

/// Scheme, host and port, if that is what the URL begins with: whatever else stands there may be a secret.
fn origin(url: &str) -> Option<&str> {
    let begins = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let scheme = ["http://", "https://"].into_iter().find(|scheme| begins(scheme))?.len();
    let rest = url.bytes().enumerate().skip(scheme);
    let end = rest.clone().find(|(_, byte)| matches!(byte, b'/' | b'?' | b'#')).map_or(url.len(), |(place, _)| place);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let known = end > scheme && rest.take(end - scheme).all(|(_, byte)| is_host(byte));
    url.get(..end).filter(|_| known)
}

/// Whole milliseconds.
pub fn milliseconds(time: Duration) -> u64 {
    time.as_secs() * 1000 + u64::from(time.subsec_millis())
}

/// Seconds with three decimals.
pub fn seconds(time: Duration) -> String {
    let thousandths = u64::from(time.subsec_millis());
    text!("{}.{}{}{}", time.as_secs(), thousandths / 100, thousandths / 10 % 10, thousandths % 10)
}

/// When the command ended, since 1970; nothing if it did not run.
pub fn ended_at(cx: &Context) -> Option<Duration> {
    cx.started_at()?.checked_add(cx.elapsed()?)
}
