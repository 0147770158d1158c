//! Asking a sidecar to quit: what all hooks that do it share.
//!
//! What is known about the sidecar is one of a few [states](State), and the log uses their names. Only a 2xx answer says
//! that the sidecar was asked to quit, and it is never asked again after one. A connection that is closed, reset or
//! silent, and an answer such as 503, say only that somebody listens: a dying sidecar closes its connections, but so does
//! a busy one. It is asked again until its port refuses, and so it is gone, or the hook's time is up, which is a failure.
//!
//! A refused connection may mean that there is no sidecar, which is no error, so that one manifest serves with and
//! without a mesh; or that the command was faster than its sidecar, whose pod would never complete. While the container
//! is young the hook therefore tries again, and `HOOK_…_ABSENT` says what follows then.
#![cfg_attr(target_family = "wasm", no_std)]

use core::{slice, time::Duration};
use wrapper_hook::{
    Context, Error, Result, String,
    http::{self, ErrorKind, Request},
    log, sleep, text,
};

/// A product that runs beside the command and exits when it is asked to.
pub struct Sidecar<'a> {
    /// What the log calls it.
    pub name: &'a str,
    /// What its variables begin with when none is set under the hook's own name: `HOOK_ISTIO_QUIT`.
    pub prefix: &'a str,
    /// Where it listens, as it is usually set up. The first address that accepts a connection is the sidecar.
    pub urls: &'a [&'a str],
    /// Where the product listens besides. If it refuses at its `urls`, the log says whether it does here; nothing here is
    /// asked to quit, because it may be something else.
    pub elsewhere: &'a [&'a str],
    /// What enables the endpoint, logged when it answers that it is not there or not for us.
    pub hint: &'a str,
}

/// Makes a crate the hook for the [`Sidecar`] with these fields, which needs no headers.
#[macro_export]
macro_rules! hook {
    ($($field:ident: $value:expr,)*) => {
        ::wrapper_hook::hook!(run);

        const SIDECAR: $crate::Sidecar = $crate::Sidecar { $($field: $value),* };

        fn run(cx: &::wrapper_hook::Context) -> ::wrapper_hook::Result {
            $crate::quit(cx, &SIDECAR, |request| request)
        }
    };
}

/// What is known about the sidecar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not listening yet: every address refuses.
    NotListening,
    /// Neither refused nor accepted: an address could not be reached for now.
    NotReached,
    /// Accepted but no answer, or none that says that it quits.
    NoAnswer,
    /// Asked to quit: it answered 2xx.
    Asked,
    /// Gone: it had accepted, and refuses now.
    Gone,
    /// Absent: refused for the whole startup time.
    Absent,
}

/// How old the container is when refused connections mean that the sidecar is absent.
const STARTUP: Duration = Duration::from_secs(5);

/// Between two attempts: short beside the start of a proxy, about a second.
const PERIOD: Duration = Duration::from_millis(100);

/// How long another address of the product may take to answer: it is on this machine.
const LOOK: Duration = Duration::from_millis(200);

/// What one more attempt and the final message need: the host ends every wait shortly before the hook's time does.
const REPORT_MARGIN: Duration = Duration::from_millis(600);

/// Asks the sidecar to quit. `with_headers` adds the headers that it requires.
///
/// `HOOK_…_URL` names another address, `HOOK_…_STARTUP` another time than five seconds, `HOOK_…_ABSENT` says what to do
/// if nobody listens by then (`ok`, `wait` or `fail`), and `HOOK_…_WAIT_GONE` asks for waiting until the sidecar is gone.
pub fn quit(cx: &Context, sidecar: &Sidecar, with_headers: impl Fn(Request) -> Request) -> Result {
    let name = |setting: &str| cx.setting_name_or(setting, sidecar.prefix);
    let named = cx.trimmed(&name("URL"));
    let named = named.as_deref();
    let urls = named.as_ref().map_or(sidecar.urls, slice::from_ref);
    let startup = cx.duration(&name("STARTUP"))?.unwrap_or(STARTUP);
    let wait_gone = cx.flag(&name("WAIT_GONE"))?;
    let if_absent = cx.choice(&name("ABSENT"), &["ok", "wait", "fail"])?.unwrap_or("ok");

    let mut asking = Asking { sidecar, urls, why: String::new() };
    let mut state = State::NotListening;
    loop {
        state = match (state, asking.ask(&with_headers)?) {
            (State::NoAnswer, State::NotListening) => State::Gone,
            // A connection can be reset before anything was sent.
            (State::NoAnswer, State::NotReached) => State::NoAnswer,
            (_, State::NotListening) if if_absent != "wait" && cx.uptime() >= startup => State::Absent,
            (_, seen) => seen,
        };
        if state == State::Asked && wait_gone {
            state = asking.wait_until_gone(cx);
        }
        let words = match state {
            State::Asked if !wait_gone => return Ok(()),
            State::Gone => {
                log::info(&text!("{} is gone", sidecar.name));
                return Ok(());
            }
            State::Asked => "still runs",
            State::Absent => "is taken for absent",
            _ if cx.time_left() > REPORT_MARGIN => {
                sleep(PERIOD);
                continue;
            }
            State::NotListening => "is not listening yet",
            State::NotReached => "could not be reached",
            State::NoAnswer => "accepted but no answer came that it quits",
        };
        let more = match (state, if_absent) {
            (State::Absent, "ok") => text!("; if it is only late, set {}=wait", name("ABSENT")),
            (State::NotListening, "wait") => "; --plugin-timeout gives it more time".into(),
            (State::NotListening, _) => text!("; --plugin-timeout is shorter than {}", name("STARTUP")),
            _ => String::new(),
        };
        if let State::Absent | State::NotListening = state {
            asking.refused(named.is_none());
        }
        let text = text!("{} {words}: {}{more}", sidecar.name, asking.why);
        if state == State::Absent && if_absent == "ok" {
            log::warn(&text);
            return Ok(());
        }
        return Err(text.into());
    }
}

/// A sidecar while it is asked.
struct Asking<'a> {
    sidecar: &'a Sidecar<'a>,
    /// Where it may be, or where it is.
    urls: &'a [&'a str],
    /// What happened to the last attempt.
    why: String,
}

impl Asking<'_> {
    /// Asks at the addresses in their order until one accepts a connection. That one is the sidecar from then on: when it
    /// is gone, whoever listens at another address is somebody else.
    fn ask(&mut self, with_headers: &impl Fn(Request) -> Request) -> Result<State> {
        let mut seen = State::NotListening;
        for url in self.urls {
            match with_headers(http::post(url)).send() {
                Ok(answer) => seen = self.judge(url, answer.status())?,
                Err(error) if error.kind == ErrorKind::Refused => continue,
                Err(error) => {
                    seen = match error.kind {
                        ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::Tls => return Err(error.into()),
                        ErrorKind::Unresolved | ErrorKind::Unreachable => State::NotReached,
                        _ => State::NoAnswer,
                    };
                    self.why = error.text().into();
                    if seen == State::NotReached {
                        continue;
                    }
                }
            }
            self.urls = slice::from_ref(url);
            break;
        }
        Ok(seen)
    }

    fn judge(&mut self, url: &str, status: u16) -> Result<State> {
        let name = self.sidecar.name;
        self.why = text!("\"{url}\": answered {status}");
        match status {
            200..300 => {
                log::info(&text!("asked {name} to quit ({status})"));
                Ok(State::Asked)
            }
            // Overloaded, or not ready yet.
            408 | 429 | 500..600 => Ok(State::NoAnswer),
            401 | 403 | 404 | 405 | 412 => Err(Error::Misconfigured(text!("{}{}", self.why, &*self.hint()))),
            _ => Err(Error::Failed(self.why.clone())),
        }
    }

    /// Many answer first and drain their connections then; gone is who refuses, and nobody else.
    fn wait_until_gone(&mut self, cx: &Context) -> State {
        let root = self.urls.first().map(|url| root(url)).unwrap_or_default();
        while cx.time_left() > REPORT_MARGIN {
            match http::get(&root).timeout(PERIOD).send() {
                Err(error) if error.kind == ErrorKind::Refused => return State::Gone,
                _ => sleep(PERIOD),
            }
        }
        self.why = text!("\"{root}\" does not refuse yet");
        State::Asked
    }

    /// Which addresses refuse, and what listens elsewhere that may be the sidecar.
    fn refused(&mut self, look: bool) {
        self.why = "connection refused by".into();
        for url in self.urls {
            self.why += &text!(" \"{url}\"");
        }
        for url in self.sidecar.elsewhere.iter().filter(|_| look) {
            // Any answer will do, and even a connection that is closed. Silence may be this machine's, when it is busy.
            let listens = match http::get(url).timeout(LOOK).send() {
                Ok(_) => true,
                Err(error) => matches!(error.kind, ErrorKind::Closed | ErrorKind::Protocol),
            };
            if listens {
                self.why += &text!("; but \"{url}\" accepts connections{}", &*self.hint());
            }
        }
    }

    fn hint(&self) -> String {
        text!("; {}; {}_URL names another address", self.sidecar.hint, self.sidecar.prefix)
    }
}

/// The URL without its path: a request that has no effect.
fn root(url: &str) -> String {
    let slash = url.bytes().enumerate().filter(|(_, byte)| *byte == b'/').nth(2);
    let end = slash.map_or(url.len(), |(place, _)| place);
    text!("{}/", url.get(..end).unwrap_or(url))
}
