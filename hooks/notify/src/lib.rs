//! Telling a server what happened: what the hooks that do it share.
#![cfg_attr(target_family = "wasm", no_std)]

use core::time::Duration;
use wrapper_hook::{
    Context, Error, Result, String, format,
    http::{ErrorKind, Request},
    log, sleep,
};

/// How long one try may take, unless the hook is told otherwise.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How often a try is repeated: with the pauses below that is about six seconds of waiting.
const RETRIES: u32 = 5;

/// Before the first repetition, in milliseconds; doubled before each one that follows.
const PAUSE: u64 = 200;

/// What a hook needs for its last words, in milliseconds.
const RESERVE: u64 = 300;

/// Sends a request, again if it may help, and logs where it went. The URL itself may be a secret: only scheme, host and
/// port of it are ever told.
///
/// `HOOK_…_TIMEOUT` is the time of one try.
pub fn send(cx: &Context, url: &str, request: impl Fn() -> Request) -> Result {
    let origin = origin(url);
    let timeout = cx.duration(&cx.variable("TIMEOUT"))?.unwrap_or(TIMEOUT);
    let mut pause = PAUSE;
    for left in (0..=RETRIES).rev() {
        let (why, again) = match request().timeout(timeout).send() {
            Ok(answer) => match answer.status() {
                200..300 => {
                    log::info(&format!("told {origin}"));
                    return Ok(());
                }
                status => (format!("answered {status}"), matches!(status, 408 | 429 | 500..600)),
            },
            Err(error) if matches!(error.kind, ErrorKind::Invalid | ErrorKind::Denied) => {
                return Err(Error::Misconfigured(format!("\"{origin}\": {}", error.reason())));
            }
            Err(error) => (error.reason().into(), error.kind != ErrorKind::Tls),
        };
        let why = format!("\"{origin}\": {why}");
        if !again || left == 0 || milliseconds(cx.time_left()) < pause + RESERVE {
            return Err(why.into());
        }
        log::debug(&why);
        sleep(Duration::from_millis(pause));
        pause *= 2;
    }
    Ok(())
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let slash = url.bytes().enumerate().filter(|(_, byte)| matches!(byte, b'/' | b'?' | b'#')).nth(2);
    slash.and_then(|(place, _)| url.get(..place)).unwrap_or(url)
}

/// Whole milliseconds.
pub fn milliseconds(time: Duration) -> u64 {
    time.as_secs() * 1000 + u64::from(time.subsec_millis())
}

/// Seconds with three decimals.
pub fn seconds(time: Duration) -> String {
    let thousandths = u64::from(time.subsec_millis());
    format!("{}.{}{}{}", time.as_secs(), thousandths / 100, thousandths / 10 % 10, thousandths % 10)
}

/// When the command ended, since 1970; nothing if it did not run.
pub fn ended_at(cx: &Context) -> Option<Duration> {
    cx.started_at()?.checked_add(cx.elapsed()?)
}
