//! Asking a sidecar to quit: what all hooks that do it share.
//!
//! A 2xx answer is success, and so is a connection that closes once the request was sent: the sidecar may be gone
//! before its answer is out. A refused connection means that there is no sidecar, which is no error, so that one
//! manifest serves with and without a mesh; but a command faster than its sidecar is refused too, and its pod would hang
//! for ever if that were taken for "no sidecar". While the container is young the hook therefore tries again.
#![cfg_attr(target_family = "wasm", no_std)]

use core::time::Duration;
use wrapper_hook::{
    Context, Error, Result, String, format,
    http::{self, ErrorKind, Request},
    log, sleep,
};

/// A product that runs beside the command and ends when it is asked to.
pub struct Sidecar {
    /// What the log calls it.
    pub name: &'static str,
    /// What its variables begin with when none is set under the hook's own name: `HOOK_ISTIO_QUIT`.
    pub variable: &'static str,
    /// Where it listens, as it is usually set up. The first address that does not refuse is it.
    pub urls: &'static [&'static str],
    /// What enables the endpoint, told when it answers that it is not there or not for us.
    pub enabled_by: &'static str,
}

/// How old the container is when a refused connection no longer means that the sidecar is starting.
const STARTUP: Duration = Duration::from_secs(5);

/// Between two tries: short beside the start of a proxy, about a second.
const PERIOD: Duration = Duration::from_millis(100);

/// What one more try and the last words need: the host ends every wait shortly before the hook's time does.
const RESERVE: Duration = Duration::from_millis(600);

/// Asks the sidecar to quit. `dress` adds the headers it wants.
///
/// `HOOK_…_URL` names another address, `HOOK_…_STARTUP` another time than five seconds, and `HOOK_…_WAIT_GONE` asks for
/// waiting until nobody listens there any more.
pub fn quit(cx: &Context, sidecar: &Sidecar, dress: impl Fn(Request) -> Request) -> Result {
    let variable = |setting: &str| cx.variable_or(setting, sidecar.variable);
    let named = cx.var(&variable("URL"));
    let named = named.as_deref();
    let urls = named.as_ref().map_or(sidecar.urls, core::slice::from_ref);
    let startup = cx.duration(&variable("STARTUP"))?.unwrap_or(STARTUP);
    let wait_gone = cx.flag(&variable("WAIT_GONE"))?;
    loop {
        for url in urls {
            match dress(http::post(url)).send() {
                Err(error) if error.kind == ErrorKind::Refused => continue,
                Err(error) if error.kind == ErrorKind::Closed => {}
                answer => judge(sidecar, url, answer?.status())?,
            }
            log::info(&format!("Success to send quit message to {}", sidecar.name));
            return if wait_gone { until_gone(cx, sidecar, url) } else { Ok(()) };
        }
        if cx.uptime() >= startup {
            log::info(&format!("No {} running to quit", sidecar.name));
            return Ok(());
        }
        if cx.time_left() <= RESERVE {
            let words = "may still be starting: --plugin-timeout is shorter than";
            return Err(format!("{} {words} {}", sidecar.name, variable("STARTUP")).into());
        }
        sleep(PERIOD);
    }
}

fn judge(sidecar: &Sidecar, url: &str, status: u16) -> Result {
    let answered = format!("\"{url}\": answered {status}");
    match status {
        200..300 => Ok(()),
        401 | 403 | 404 | 405 | 412 => Err(Error::Misconfigured(format!(
            "{answered}; {}; {}_URL names another address",
            sidecar.enabled_by, sidecar.variable
        ))),
        _ => Err(Error::Failed(answered)),
    }
}

/// Many answer first and drain their connections then; gone is who refuses.
fn until_gone(cx: &Context, sidecar: &Sidecar, url: &str) -> Result {
    let root = root(url);
    loop {
        match http::get(&root).timeout(PERIOD).send() {
            Err(error) if error.kind == ErrorKind::Refused => return Ok(()),
            _ if cx.time_left() <= RESERVE => {
                return Err(format!("{} still runs: \"{root}\" does not refuse yet", sidecar.name).into());
            }
            _ => sleep(PERIOD),
        }
    }
}

/// The URL without its path: a question that has no effect.
fn root(url: &str) -> String {
    let slash = url.bytes().enumerate().filter(|(_, byte)| *byte == b'/').nth(2);
    let end = slash.map_or(url.len(), |(place, _)| place);
    format!("{}/", url.get(..end).unwrap_or(url))
}
