//! The common part of the readiness gates, which wait before the command until something that it needs is ready.
//!
//! Ready means that a GET has a 2xx response. Otherwise the probe is repeated until the time is up. Settings decide
//! what happens then, and whether a peer that refuses all connections is absent instead of late.
#![cfg_attr(target_family = "wasm", no_std)]

use core::{slice, time::Duration};
use wrapper_hook::{
    Context, Error, Result, String, http, log, milliseconds,
    probe::{self, Failure},
    sleep, text,
};

/// Something that a command may have to wait for.
pub struct Gate<'a> {
    /// Its name in the log.
    pub name: &'a str,
    /// The prefix of its variables if none is set under the hook's own name: `HOOK_ISTIO_READY`.
    pub prefix: &'a str,
    /// Default URLs of its readiness endpoint. One of them has to be ready.
    pub urls: &'a [&'a str],
}

/// Makes a crate the hook for the [`Gate`] with these fields.
#[macro_export]
macro_rules! hook {
    (name: $name:literal, prefix: $prefix:literal, urls: &[$($url:literal),* $(,)?] $(,)?) => {
        ::wrapper_hook::hook!(run);
        ::wrapper_hook::describe! {
            about: ::core::concat!("waits until ", $name, " is ready"),
            phase: before,
            prefix: $prefix,
            settings: [
                URL: targets = ::core::concat!($($url, " "),*),
                PERIOD: positive_time = "250ms",
                STARTUP: time = "5s",
                ON_TIMEOUT: one_of("start|fail") = "fail",
                ABSENT: one_of("wait|start|fail") = "wait",
            ],
        }

        const GATE: $crate::Gate = $crate::Gate { name: $name, prefix: $prefix, urls: &[$($url),*] };

        fn run(cx: &::wrapper_hook::Context) -> ::wrapper_hook::Result {
            $crate::wait(cx, &GATE)
        }
    };
}

/// Default pause between two probes.
pub const PERIOD: Duration = Duration::from_millis(250);

/// Timeout of the first probe in milliseconds: one that hangs must not be the last.
pub const PROBE_TIMEOUT: u64 = 2000;

/// Timeout of the next probes if this one was too short for all: some servers take seconds for a health check. Where
/// others respond or refuse connections, they are probed as often as before.
pub fn longer(timeout: u64) -> u64 {
    const MOST: u64 = 10_000;
    (timeout * 2).min(MOST)
}

/// Timeout of a probe in milliseconds if the time is nearly up.
pub const LEAST_PROBE_TIMEOUT: u64 = 100;

/// Default age of the container at which a peer that still refuses connections is absent, unless absent peers are
/// waited for.
const STARTUP: Duration = Duration::from_secs(5);

/// Milliseconds before its deadline at which the hook gives up, to log the reason; at most a quarter of its time.
const REPORT_MARGIN: u64 = 500;

/// Waits until one of the addresses is ready.
///
/// Settings: `HOOK_…_URL` replaces the addresses, targets of probes, separated by commas; `HOOK_…_PERIOD` is the pause
/// between two probes; `HOOK_…_ON_TIMEOUT` is `fail` or `start`; `HOOK_…_ABSENT` is what to do if all connections were
/// refused for `HOOK_…_STARTUP`: `wait` for the timeout, `start` the command, or `fail`. The time to wait is that of
/// the hook: `HOOK_<NAME>_TIMEOUT`, or `--plugin-timeout`.
pub fn wait(cx: &Context, gate: &Gate) -> Result {
    let name = |setting: &str| cx.setting_name_or(setting, gate.prefix);
    let mut urls = cx.list(&name("URL"));
    if urls.is_empty() {
        urls.extend(gate.urls.iter().copied().map(String::from));
    }
    if urls.is_empty() {
        return Err(Error::Misconfigured(text!("{} is not set", cx.setting_name("URL"))));
    }
    let period = cx.positive_duration(&name("PERIOD"))?.unwrap_or(PERIOD);
    let startup = cx.duration(&name("STARTUP"))?.unwrap_or(STARTUP);
    let on_timeout = cx.choice(&name("ON_TIMEOUT"), &["start", "fail"])?.unwrap_or("fail");
    let absent = cx.choice(&name("ABSENT"), &["wait", "start", "fail"])?.unwrap_or("wait");
    let left = waiting_time(cx);
    let limit = left();
    let (mut reached, mut why) = (false, String::new());
    let mut probe_timeout = PROBE_TIMEOUT;
    loop {
        let (mut responded, mut too_short) = (false, true);
        for url in &urls {
            let timeout = Duration::from_millis(left().min(probe_timeout).max(LEAST_PROBE_TIMEOUT));
            let Some(Err(failure)) = probe::all(slice::from_ref(url), timeout).pop() else {
                log::info(&text!("{} is ready", gate.name));
                return Ok(());
            };
            reached |= !matches!(failure, Failure::Refused(_));
            // The log gets the most telling result: a response rather than another URL's error, and no timeout that was
            // shortened because the time is nearly up.
            let (is_response, cut_off) = match &failure {
                Failure::Invalid(why) | Failure::Denied(why) => return Err(Error::Misconfigured(why.clone())),
                Failure::Answered(_) => (true, false),
                Failure::TimedOut(_) => (false, milliseconds(timeout) < probe_timeout),
                _ => (false, false),
            };
            too_short &= matches!(failure, Failure::TimedOut(_));
            if is_response || !responded && (!cut_off || why.is_empty()) {
                why = text!("\"{}\": {}", http::without_query(url), failure.reason());
            }
            responded |= is_response;
        }
        if too_short {
            probe_timeout = longer(probe_timeout);
        }
        sleep(Duration::from_millis(milliseconds(period).min(left())));
        let expired = left() == 0;
        if !reached && absent != "wait" && (expired || cx.uptime() >= startup) {
            return decide(absent, text!("{} is considered absent: {why}", gate.name));
        }
        if expired {
            return decide(on_timeout, text!("{} is {}", gate.name, not_ready(cx, limit, &why)));
        }
    }
}

/// A clock of the milliseconds that are left to wait. (Arithmetic of `Duration` adds the messages of its overflows.)
pub fn waiting_time(cx: &Context) -> impl Fn() -> u64 {
    let end = REPORT_MARGIN.min(milliseconds(cx.time_left()) / 4);
    move || milliseconds(cx.time_left()).saturating_sub(end)
}

/// What a gate that has waited for so many milliseconds logs.
pub fn not_ready(cx: &Context, waited: u64, why: &str) -> String {
    let tenths = waited.saturating_add(50) / 100;
    let setting = cx.setting_name("TIMEOUT");
    text!("not ready after {}.{} s: {why}; {setting} gives it more time", tenths / 10, tenths % 10)
}

/// The result of a gate that does not open, by the setting for it: `start` or `fail`.
pub fn decide(choice: &str, why: String) -> Result {
    if choice != "start" {
        return Err(why.into());
    }
    log::warn(&text!("{why}; starting the command anyway"));
    Ok(())
}
