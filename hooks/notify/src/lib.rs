//! The common part of the hooks that notify a server.
#![cfg_attr(target_family = "wasm", no_std)]

use core::time::Duration;
use wrapper_hook::{
    Context, Error, Outcome, Result, String,
    http::{ErrorKind, Request, Response},
    log, sleep, text,
};

/// Default timeout of one attempt.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// Retries after the first attempt: with the pauses below, about six seconds of waiting.
const RETRIES: u32 = 5;

/// Milliseconds before the first retry; doubled before each further one.
const PAUSE: u64 = 200;

/// Milliseconds that a hook needs for its final message.
const REPORT_MARGIN: u64 = 300;

/// Sends a request, with retries after transient failures, and logs its destination. The URL may be a secret: only its
/// scheme, host and port are logged.
///
/// `HOOK_…_TRY_TIMEOUT` limits one attempt; `HOOK_…_TIMEOUT`, which wrapper reads, limits all of them.
pub fn send(cx: &Context, url: &str, request: impl Fn() -> Request) -> Result {
    let origin = origin(url).ok_or_else(|| not_a_url(&cx.setting_name("URL")))?;
    let timeout = timeout(cx)?.unwrap_or(TIMEOUT);
    let is_transient = |status| matches!(status, 408 | 429 | 500..600);
    deliver(cx, origin, is_transient, || request().timeout(timeout))?;
    log::info(&text!("sent to {origin}"));
    Ok(())
}

/// The time limit of one attempt, if it is set.
pub fn timeout(cx: &Context) -> Result<Option<Duration>> {
    cx.duration(&cx.setting_name("TRY_TIMEOUT"))
}

/// The error for a URL without an [`origin`], in this variable.
pub fn not_a_url(variable: &str) -> Error {
    Error::Misconfigured(text!("{variable} is not a URL of the form https://host/path"))
}

/// Sends a request, with retries after transient failures, of which some are statuses; returns the response of a server
/// that has accepted it.
pub fn deliver(
    cx: &Context,
    origin: &str,
    is_transient: impl Fn(u16) -> bool,
    request: impl Fn() -> Request,
) -> Result<Response> {
    let mut pause = PAUSE;
    let mut left = RETRIES;
    loop {
        let (why, transient) = match request().send() {
            Ok(response) => match response.status() {
                200..300 => return Ok(response),
                status => (text!("answered {status}"), is_transient(status)),
            },
            Err(error) if matches!(error.kind, ErrorKind::Invalid | ErrorKind::Denied) => {
                return Err(Error::Misconfigured(text!("\"{origin}\": {}", error.reason())));
            }
            Err(error) => (error.reason().into(), error.kind != ErrorKind::Tls),
        };
        let why = text!("\"{origin}\": {why}");
        if !transient || left == 0 || milliseconds(cx.time_left()) < pause + REPORT_MARGIN {
            return Err(why.into());
        }
        log::debug(&why);
        sleep(Duration::from_millis(pause));
        pause *= 2;
        left -= 1;
    }
}

/// Scheme, host and port, if the URL begins with them: anything else may be a secret.
pub fn origin(url: &str) -> Option<&str> {
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

/// The time at which the command exited, since 1970; `None` if it did not run.
pub fn ended_at(cx: &Context) -> Option<Duration> {
    cx.started_at()?.checked_add(cx.elapsed()?)
}

/// The command's name without its directory.
pub fn program(cx: &Context) -> String {
    let path = cx.command().into_iter().next().unwrap_or_default();
    let start = path.bytes().rposition(|byte| byte == b'/').map_or(0, |place| place + 1);
    path.get(start..).unwrap_or_default().into()
}

/// What became of the command, behind its name.
pub fn summary(cx: &Context) -> String {
    let ended = match cx.outcome() {
        None => "is about to start".into(),
        Some(Outcome::Exited(status)) => text!("exited with {status}"),
        Some(Outcome::Killed { signal, .. }) => text!("was killed by signal {signal}"),
        Some(Outcome::NotStarted { reason, .. }) => text!("was not started: {reason}"),
        Some(_) => "ended".into(),
    };
    match &*cause(cx) {
        "" => ended,
        cause => {
            let words: String = cause.chars().map(|char| if char == '-' { ' ' } else { char }).collect();
            text!("{ended}: {words}")
        }
    }
}

/// The outcome in one word.
pub fn outcome(cx: &Context) -> &'static str {
    match cx.outcome() {
        None => "starting",
        Some(Outcome::Exited(_)) => "exited",
        Some(Outcome::Killed { .. }) => "killed",
        Some(Outcome::NotStarted { .. }) => "not-started",
        Some(_) => "other",
    }
}

/// Why the command ended, if more is known than its outcome; otherwise nothing.
pub fn cause(cx: &Context) -> String {
    // From the variable: another import of a function makes a hook some hundred bytes larger.
    cx.var("WRAPPER_CAUSE").unwrap_or_default()
}

/// Appends a value as a part of a string in JSON.
pub fn push_json(text: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '"' | '\\' => text.extend(['\\', char]),
            '\0'..' ' => {
                text.push_str("\\u00");
                text.extend([hex_digit(char as u8 >> 4), hex_digit(char as u8)]);
            }
            _ => text.push(char),
        }
    }
}

/// The hexadecimal digit of the lower half of a byte.
pub fn hex_digit(half: u8) -> char {
    char::from(b"0123456789ABCDEF".get(usize::from(half & 15)).copied().unwrap_or(b'0'))
}
