//! `istio-quit`: asks Istio's sidecar to quit, so that the pod of a finished Job can complete.
//!
//! `HOOK_ISTIO_QUIT_URL` names another address than pilot-agent's, for example Envoy's own
//! `http://localhost:15000/quitquitquit`. `HOOK_ISTIO_QUIT_STARTUP` says for how many seconds of the container's
//! life a refused connection may still mean that the sidecar is starting.

#![cfg_attr(target_family = "wasm", no_std)]

use core::time::Duration;
use wrapper_hook::{Context, Error, Result, String, format, http, log, sleep};

wrapper_hook::hook!(run);

/// Where pilot-agent listens in every meshed pod.
const URL: &str = "http://localhost:15020/quitquitquit";

/// A command faster than its sidecar is refused at first, and its pod would hang for ever if that were taken for
/// "no sidecar". Without a sidecar a command that ends at once pays this time once.
const STARTUP: Duration = Duration::from_secs(5);

/// Between two tries while the sidecar may be starting: short beside the start of an Envoy, about a second.
const PERIOD: Duration = Duration::from_millis(100);

fn run(cx: &Context) -> Result {
    let url = cx.var("HOOK_ISTIO_QUIT_URL").unwrap_or_else(|| URL.into());
    let startup = match cx.var("HOOK_ISTIO_QUIT_STARTUP") {
        Some(seconds) => seconds.parse().map(Duration::from_secs).map_err(|_| not_seconds(&seconds))?,
        None => STARTUP,
    };
    loop {
        match http::post(&url).send() {
            Ok(answer) => return judge(&url, answer.status()),
            // Istio's agent may be gone before its answer is out.
            Err(error) if error.kind == http::ErrorKind::Closed => return success(),
            Err(error) if error.kind == http::ErrorKind::Refused => {
                if cx.uptime() >= startup || cx.time_left() <= 2 * PERIOD {
                    log::info("No istio-proxy running to quit");
                    return Ok(());
                }
                sleep(PERIOD);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn judge(url: &str, status: u16) -> Result {
    let mend = match status {
        200..300 => return success(),
        403 => "it takes this from loopback only; does HOOK_ISTIO_QUIT_URL name this pod's own sidecar?",
        404 => {
            "no quit endpoint there; set HOOK_ISTIO_QUIT_URL to http://localhost:15020/quitquitquit (pilot-agent) or \
             http://localhost:15000/quitquitquit (Envoy)"
        }
        405 => "it does not take POST there; does HOOK_ISTIO_QUIT_URL end in /quitquitquit?",
        _ => return Err(Error::Failed(answered(url, status))),
    };
    Err(Error::Misconfigured(format!("{}: {mend}", answered(url, status))))
}

fn answered(url: &str, status: u16) -> String {
    format!("\"{url}\": answered {status}")
}

fn success() -> Result {
    log::info("Success to send quit message to istio-proxy");
    Ok(())
}

fn not_seconds(value: &str) -> Error {
    Error::Misconfigured(format!("HOOK_ISTIO_QUIT_STARTUP=\"{value}\": not a number of seconds"))
}
