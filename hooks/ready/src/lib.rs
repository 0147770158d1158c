//! `ready`: waits until everything that the command needs is there: servers of HTTP, of gRPC and of anything else on
//! TCP, and names.
//!
//! Listed under another name, as in `--before database=ready`, it has settings under that name: `HOOK_DATABASE_FOR`.
#![cfg_attr(target_family = "wasm", no_std)]

use core::time::Duration;
use wrapper_hook::{
    Context, Error, Result, String, Vec, log,
    probe::{self, Failure},
    sleep, text,
};

wrapper_hook::hook!(run);

wrapper_hook::describe! {
    about: "waits until all of several servers and names are there",
    prefix: "HOOK_READY",
    settings: [
        FOR: required text,
        PERIOD: time = "250ms",
        ON_TIMEOUT: one_of("start|fail") = "fail",
    ],
}

/// The prefix of the variables if none is set under the hook's own name.
const PREFIX: &str = "HOOK_READY";

/// Default pause between two rounds of probes.
const PERIOD: Duration = Duration::from_millis(250);

/// Timeout of a probe in milliseconds: one that hangs must not be the last.
const PROBE_TIMEOUT: u64 = 2000;

/// Timeout of a probe in milliseconds if the time is nearly up.
const LEAST_PROBE_TIMEOUT: u64 = 100;

/// Milliseconds between two lines that say what is missing.
const PAUSE: u64 = 1000;

/// Milliseconds before its deadline at which the hook gives up, to log the reason; at most a quarter of its time.
const REPORT_MARGIN: u64 = 500;

/// Waits until all targets are ready. One that was ready is not probed again.
///
/// Settings: `HOOK_READY_FOR` has the targets, separated by commas or white space; `HOOK_READY_PERIOD` is the pause
/// between two rounds; `HOOK_READY_ON_TIMEOUT` is `fail` or `start`. The time to wait is that of the hook:
/// `HOOK_READY_TIMEOUT`, or `--plugin-timeout`.
fn run(cx: &Context) -> Result {
    let name = |setting: &str| cx.setting_name_or(setting, PREFIX);
    let mut missing = cx.list(&name("FOR"));
    if missing.is_empty() {
        return Err(Error::Misconfigured(text!("{} is not set", cx.setting_name("FOR"))));
    }
    let period = cx.duration(&name("PERIOD"))?.unwrap_or(PERIOD);
    let on_timeout = cx.choice(&name("ON_TIMEOUT"), &["start", "fail"])?.unwrap_or("fail");
    let end = REPORT_MARGIN.min(milliseconds(cx.time_left()) / 4);
    let left = || milliseconds(cx.time_left()).saturating_sub(end);
    let mut reasons: Vec<String> = missing.iter().map(|_| String::new()).collect();
    let mut logged = (String::new(), 0);
    loop {
        let timeout = left().clamp(LEAST_PROBE_TIMEOUT, PROBE_TIMEOUT);
        let results = probe::all(&missing, Duration::from_millis(timeout));
        let probed = missing.into_iter().zip(reasons).zip(results);
        let mut why = String::new();
        (missing, reasons) = (Vec::new(), Vec::new());
        for ((target, mut reason), result) in probed {
            let shown = without_query(&target);
            match result {
                Ok(()) => {
                    log::info(&text!("{shown} is ready"));
                    continue;
                }
                Err(Failure::Invalid(why) | Failure::Denied(why)) => return Err(Error::Misconfigured(why)),
                // Because the time is nearly up: an earlier reason says more.
                Err(Failure::TimedOut(_)) if timeout < PROBE_TIMEOUT && !reason.is_empty() => {}
                Err(failure) => reason = failure.reason().into(),
            }
            let separator = if why.is_empty() { "" } else { ", " };
            why += &text!("{separator}{shown} ({reason})");
            missing.push(target);
            reasons.push(reason);
        }
        if missing.is_empty() {
            return Ok(());
        }
        let now = milliseconds(cx.uptime());
        if why != logged.0 && now >= logged.1 {
            log::info(&text!("waiting for {why}"));
            logged = (why.clone(), now + PAUSE);
        }
        sleep(Duration::from_millis(milliseconds(period).min(left())));
        if left() == 0 {
            let why = text!("not ready: {why}");
            if on_timeout != "start" {
                return Err(why.into());
            }
            log::warn(&text!("{why}; starting the command anyway"));
            return Ok(());
        }
    }
}

/// A target for the log: a query may contain a token.
fn without_query(target: &str) -> &str {
    let query = target.bytes().position(|byte| byte == b'?').unwrap_or(target.len());
    target.get(..query).unwrap_or_default()
}

fn milliseconds(time: Duration) -> u64 {
    time.as_secs() * 1000 + u64::from(time.subsec_millis())
}
