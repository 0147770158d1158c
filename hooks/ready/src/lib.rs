//! Waiting before the command until something it needs is ready: what all gates share.
//!
//! Ready is who answers a GET with 2xx. Anything else is asked again, until the time is up; what happens then can be
//! chosen. Who refuses every connection may be absent and not merely late, and that can be chosen too.
#![cfg_attr(target_family = "wasm", no_std)]

use core::time::Duration;
use wrapper_hook::{
    Context, Error, Result, String,
    http::{self, ErrorKind},
    log, sleep, text,
};

/// Something a command may have to wait for.
pub struct Gate<'a> {
    /// What the log calls it.
    pub name: &'a str,
    /// What its variables begin with when none is set under the hook's own name: `HOOK_ISTIO_READY`.
    pub prefix: &'a str,
    /// Where it says whether it is ready, as it is usually set up. One of them has to.
    pub urls: &'a [&'a str],
}

/// Makes a crate the hook for the [`Gate`] with these fields.
#[macro_export]
macro_rules! hook {
    ($($field:ident: $value:expr,)*) => {
        ::wrapper_hook::hook!(run);

        const GATE: $crate::Gate = $crate::Gate { $($field: $value),* };

        fn run(cx: &::wrapper_hook::Context) -> ::wrapper_hook::Result {
            $crate::wait(cx, &GATE)
        }
    };
}

/// Between two questions.
const PERIOD: Duration = Duration::from_millis(250);

/// How long a single question may take, in milliseconds: one that hangs is not the last.
const ANSWER: u64 = 2000;

/// How long it may take even if the time is nearly up.
const LEAST_ANSWER: u64 = 100;

/// How old the container is when someone who still refuses is taken for absent, if that was asked for.
const STARTUP: Duration = Duration::from_secs(5);

/// How long before it is killed the hook gives up, in milliseconds: what it needs to say so, and no more than a quarter
/// of its time.
const REPORT_MARGIN: u64 = 500;

/// Waits until one of the addresses is ready.
///
/// `HOOK_…_URL` names others, with commas between several; `HOOK_…_PERIOD` is a time. How long to wait is what wrapper
/// gives the hook: its `HOOK_<NAME>_TIMEOUT`, or `--plugin-timeout`. `HOOK_…_ON_TIMEOUT` is `fail` or `start`, and `HOOK_…_ABSENT` says what becomes of the command when every connection
/// was refused for `HOOK_…_STARTUP`: `wait` for the timeout, `start` without it, or `fail`.
pub fn wait(cx: &Context, gate: &Gate) -> Result {
    let name = |setting: &str| cx.setting_name_or(setting, gate.prefix);
    let mut urls = cx.list(&name("URL"));
    if urls.is_empty() {
        urls.extend(gate.urls.iter().copied().map(String::from));
    }
    if urls.is_empty() {
        return Err(Error::Misconfigured(text!("{} is not set", cx.setting_name("URL"))));
    }
    let period = cx.duration(&name("PERIOD"))?.unwrap_or(PERIOD);
    let startup = cx.duration(&name("STARTUP"))?.unwrap_or(STARTUP);
    let on_timeout = cx.choice(&name("ON_TIMEOUT"), &["start", "fail"])?.unwrap_or("fail");
    let absent = cx.choice(&name("ABSENT"), &["wait", "start", "fail"])?.unwrap_or("wait");
    // In milliseconds: arithmetic with `Duration` carries the words for its overflows.
    let end = REPORT_MARGIN.min(milliseconds(cx.time_left()) / 4);
    let left = || milliseconds(cx.time_left()).saturating_sub(end);
    let (mut heard, mut why) = (false, String::new());
    loop {
        let mut answered = false;
        for url in &urls {
            let patience = Duration::from_millis(left().clamp(LEAST_ANSWER, ANSWER));
            match http::get(url).timeout(patience).send() {
                Ok(answer) if (200..300).contains(&answer.status()) => {
                    log::info(&text!("{} is ready", gate.name));
                    return Ok(());
                }
                Ok(answer) => {
                    (heard, answered) = (true, true);
                    why = text!("\"{url}\": answered {}", answer.status());
                }
                Err(error) if matches!(error.kind, ErrorKind::Invalid | ErrorKind::Denied) => return Err(error.into()),
                // What somebody answered says more than that another one is silent, or that no answer came in the moment
                // that was left.
                Err(error) => {
                    heard |= error.kind != ErrorKind::Refused;
                    let cut_off = error.kind == ErrorKind::Timeout && milliseconds(patience) < ANSWER;
                    if !answered && (!cut_off || why.is_empty()) {
                        why = error.text().into();
                    }
                }
            }
        }
        sleep(Duration::from_millis(milliseconds(period).min(left())));
        let late = left() == 0;
        if !heard && absent != "wait" && (late || cx.uptime() >= startup) {
            return decide(absent, text!("{} is taken for absent: {why}", gate.name));
        }
        if late {
            return decide(on_timeout, text!("{} is not ready: {why}", gate.name));
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    time.as_secs() * 1000 + u64::from(time.subsec_millis())
}

/// What was chosen for a gate that does not open: `start` or `fail`.
fn decide(choice: &str, why: String) -> Result {
    if choice != "start" {
        return Err(why.into());
    }
    log::warn(&text!("{why}; the command starts without"));
    Ok(())
}
