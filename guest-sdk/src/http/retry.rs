//! Requests that are sent again after transient failures.

use super::{ErrorKind, HTTP, HTTPS, Request, Response};
use crate::{Context, Error, Result, String, log, milliseconds, sleep, text};
use core::time::Duration;

/// Retries after the first attempt: with the pauses below, about six seconds of waiting.
const RETRIES: u32 = 5;

/// Milliseconds before the first retry; doubled before each further one.
const PAUSE: u64 = 200;

/// Milliseconds that a hook needs for its final message.
const REPORT_MARGIN: u64 = 300;

/// Sends a request until a server accepts it, that is, answers with 2xx: up to six times within about six seconds, as
/// long as the hook has [time](Context::time_left). A failed connection, no response, and the statuses 408, 429 and 5xx
/// are reasons to try again. A server may therefore get a request twice, if its first response was lost.
///
/// ```
/// # use core::time::Duration;
/// # use wrapper_hook::{Context, Result, http, testing::{Job, Server}};
/// fn run(cx: &Context) -> Result {
///     let url = cx.var("HOOK_URL").ok_or("HOOK_URL is not set")?;
///     http::send_with_retries(cx, || http::post(&url).body("done"))?;
///     Ok(())
/// }
///
/// let server = Server::answering_in_turn([(503, ""), (503, ""), (200, "")]);
/// let report = Job::exited(0).var("HOOK_URL", &server.url("/")).run(run);
/// assert_eq!((report.result, server.requests().len()), (Ok(()), 3));
/// assert_eq!(report.slept, Duration::from_millis(200 + 400));
/// ```
///
/// # Errors
///
/// The last failure. The text names scheme, host and port only: the rest of a webhook's URL is often a secret.
pub fn send_with_retries(cx: &Context, request: impl Fn() -> Request) -> Result<Response> {
    send_with_retries_if(cx, |status| matches!(status, 408 | 429 | 500..600), request)
}

/// [`send_with_retries`], after other statuses.
///
/// # Errors
///
/// The last failure, as with `send_with_retries`.
pub fn send_with_retries_if(
    cx: &Context,
    is_transient: impl Fn(u16) -> bool,
    request: impl Fn() -> Request,
) -> Result<Response> {
    let mut pause = PAUSE;
    let mut left = RETRIES;
    loop {
        let request = request();
        let origin = String::from(origin(&request.url).unwrap_or("the URL"));
        let (why, transient) = match request.send() {
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

/// Scheme, host and port of a URL, for the log: the rest may be a secret. `None` if it does not begin with them.
///
/// ```
/// # use wrapper_hook::http;
/// assert_eq!(http::origin("https://hooks.example.com:8443/services/T0/SECRET"), Some("https://hooks.example.com:8443"));
/// assert_eq!(http::origin("https://user:SECRET@example.com/"), None);
/// ```
pub fn origin(url: &str) -> Option<&str> {
    let begins = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let scheme = [HTTP, HTTPS].into_iter().find(|scheme| begins(scheme))?.len();
    let rest = url.bytes().enumerate().skip(scheme);
    let end = rest.clone().find(|(_, byte)| matches!(byte, b'/' | b'?' | b'#')).map_or(url.len(), |(place, _)| place);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let known = end > scheme && rest.take(end - scheme).all(|(_, byte)| is_host(byte));
    url.get(..end).filter(|_| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http,
        testing::{Job, Report, Server},
    };

    fn sent_to(server: &Server, job: Job) -> Report {
        job.run(|cx| send_with_retries(cx, || http::get(&server.url("/SECRET"))).map(|_| ()))
    }

    #[test]
    fn a_failure_that_lasts_is_the_error_after_six_attempts() {
        let server = Server::answering(503, "");
        let report = sent_to(&server, Job::exited(0));
        assert_eq!(report.result, Err(text!("\"{}\": answered 503", server.url("")).into()));
        assert_eq!((server.requests().len(), report.slept), (6, Duration::from_millis(6200)));
    }

    #[test]
    fn there_is_no_attempt_for_which_no_time_is_left() {
        let server = Server::answering(503, "");
        // After the first pause there would be time for a second one that is shorter than 200 ms.
        let report = sent_to(&server, Job::exited(0).time_left(Duration::from_millis(600)));
        assert_eq!((server.requests().len(), report.slept), (2, Duration::from_millis(200)));
    }

    #[test]
    fn a_failure_that_will_not_pass_is_not_repeated() {
        for status in [301, 400, 401, 404] {
            let server = Server::answering(status, "");
            let report = sent_to(&server, Job::exited(0));
            assert_eq!((server.requests().len(), report.slept), (1, Duration::ZERO), "{status}");
        }
        let report = Job::exited(0).run(|cx| send_with_retries(cx, || http::get("localhost/SECRET")).map(|_| ()));
        let why = "\"the URL\": not a URL of the form http://host:port/path";
        assert_eq!(report.result, Err(Error::Misconfigured(why.into())));
    }
}
