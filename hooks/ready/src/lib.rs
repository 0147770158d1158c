//! `ready`: waits until everything that the command needs is there: servers of HTTP, of gRPC and of anything else on
//! TCP, and names.
//!
//! Listed under another name, as in `--before database=ready`, it has settings under that name: `HOOK_DATABASE_FOR`.
#![cfg_attr(target_family = "wasm", no_std)]

use core::time::Duration;
use gate::{LEAST_PROBE_TIMEOUT, PERIOD, PROBE_TIMEOUT, decide, longer, not_ready, waiting_time};
use wrapper_hook::{
    Context, Error, Result, String, Vec, http, log, milliseconds,
    probe::{self, Failure},
    sleep, text,
};

wrapper_hook::hook!(run);

wrapper_hook::describe! {
    about: "waits until all listed servers and names are available",
    phase: before,
    prefix: "HOOK_READY",
    settings: [
        FOR: required targets,
        PERIOD: positive_time = "250ms",
        ON_TIMEOUT: one_of("start|fail") = "fail",
    ],
}

/// The prefix of the variables if none is set under the hook's own name.
const PREFIX: &str = "HOOK_READY";

/// A target that was not ready when it was last probed.
struct Missing {
    target: String,
    /// Why not; empty before the first probe.
    reason: String,
    is_ready: bool,
}

/// Milliseconds between two lines that say what is missing.
const PAUSE: u64 = 1000;

/// Waits until all targets are ready. One that was ready is not probed again, and one that is listed twice is one.
///
/// Settings: `HOOK_READY_FOR` has the targets, separated by commas or white space; `HOOK_READY_PERIOD` is the pause
/// between two rounds; `HOOK_READY_ON_TIMEOUT` is `fail` or `start`. The time to wait is that of the hook:
/// `HOOK_READY_TIMEOUT`, or `--plugin-timeout`.
fn run(cx: &Context) -> Result {
    let name = |setting: &str| cx.setting_name_or(setting, PREFIX);
    let mut missing: Vec<Missing> = Vec::new();
    for target in cx.list(&name("FOR")) {
        if missing.iter().all(|other| other.target != target) {
            missing.push(Missing { target, reason: String::new(), is_ready: false });
        }
    }
    if missing.is_empty() {
        return Err(Error::Misconfigured(text!("{} is not set", cx.setting_name("FOR"))));
    }
    let period = cx.positive_duration(&name("PERIOD"))?.unwrap_or(PERIOD);
    let on_timeout = cx.choice(&name("ON_TIMEOUT"), &["start", "fail"])?.unwrap_or("fail");
    let left = waiting_time(cx);
    let limit = left();
    let mut logged = (String::new(), 0);
    let mut probe_timeout = PROBE_TIMEOUT;
    loop {
        let timeout = left().min(probe_timeout).max(LEAST_PROBE_TIMEOUT);
        let targets: Vec<String> = missing.iter().map(|missing| missing.target.clone()).collect();
        let results = probe::all(&targets, Duration::from_millis(timeout));
        let too_short = results.iter().all(|result| matches!(result, Err(Failure::TimedOut(_))));
        let mut why = String::new();
        for (Missing { target, reason, is_ready }, result) in missing.iter_mut().zip(results) {
            let shown = http::without_query(target);
            match result {
                Ok(()) => {
                    log::info(&text!("{shown} is ready"));
                    *is_ready = true;
                    continue;
                }
                Err(Failure::Invalid(why) | Failure::Denied(why)) => return Err(Error::Misconfigured(why)),
                // Because the time is nearly up: an earlier reason says more.
                Err(Failure::TimedOut(_)) if timeout < probe_timeout && !reason.is_empty() => {}
                Err(failure) => *reason = failure.reason().into(),
            }
            let separator = if why.is_empty() { "" } else { ", " };
            why += &text!("{separator}{shown} ({reason})");
        }
        missing.retain(|missing| !missing.is_ready);
        if missing.is_empty() {
            return Ok(());
        }
        let now = milliseconds(cx.uptime());
        if why != logged.0 && now >= logged.1 {
            log::info(&text!("waiting for {why}"));
            logged = (why.clone(), now + PAUSE);
        }
        if too_short {
            probe_timeout = longer(probe_timeout);
        }
        sleep(Duration::from_millis(milliseconds(period).min(left())));
        if left() == 0 {
            return decide(on_timeout, not_ready(cx, limit, &why));
        }
    }
}
