//! The common part of the hooks that ask a sidecar to quit.
//!
//! The hook distinguishes a few [states](State) of the sidecar, and the log has their names. Only a 2xx response means
//! that the sidecar was asked to quit, and no request follows it. A connection that is closed, reset or silent, and a
//! response such as 503, only show that something listens: an exiting sidecar closes its connections, but so does a
//! busy one. The request is repeated until the port refuses connections, which means that the sidecar is gone, or until
//! the hook's time is up, which is a failure.
//!
//! A refused connection may mean that there is no sidecar, which is not an error, so that one manifest serves with and
//! without a mesh; or that the sidecar is still starting, and then the pod would never complete. While the container is
//! young the hook therefore retries, and `HOOK_…_ABSENT` decides what follows.
#![cfg_attr(target_family = "wasm", no_std)]

mod all;
mod known;

pub use all::quit_all;
pub use known::{CLOUD_SQL, CONSUL, ENVOY, ISTIO, LINKERD, VAULT, with_dapr};

use core::{slice, time::Duration};
use wrapper_hook::{
    Context, Error, Result, String,
    http::{self, ErrorKind, Request, Response},
    log, milliseconds, sleep, text,
};

/// A program beside the command that exits on request.
pub struct Sidecar<'a> {
    /// Its name in the log.
    pub name: &'a str,
    /// The prefix of its variables if none is set under the hook's own name: `HOOK_ISTIO_QUIT`.
    pub prefix: &'a str,
    /// Default URLs. The first one that accepts a connection is the sidecar.
    pub urls: &'a [&'a str],
    /// Other URLs of the product. If all of `urls` refuse connections, the log names those of these that accept some;
    /// none is asked to quit, because it may be another program.
    pub elsewhere: &'a [&'a str],
    /// How to enable the endpoint, logged when the response shows that it is disabled or denied.
    pub hint: &'a str,
    /// A header that it requires.
    pub header: Option<(&'a str, &'a str)>,
    /// Why it cannot be asked: a variable that its address depends on is wrong.
    pub misconfigured: Option<&'a str>,
}

/// Makes a crate the hook for this [`Sidecar`], which requires no header.
#[macro_export]
macro_rules! hook {
    ($sidecar:expr) => {
        ::wrapper_hook::hook!(run);
        $crate::describe!($sidecar.name, $sidecar.prefix, $crate::urls!($sidecar), []);

        fn run(cx: &::wrapper_hook::Context) -> ::wrapper_hook::Result {
            $crate::quit(cx, &$sidecar, |request| request)
        }
    };
}

/// Describes the hook for a [`Sidecar`], with the variables that it reads and further settings of text.
#[macro_export]
macro_rules! describe {
    ($name:expr, $prefix:expr, $urls:expr, [$($variable:literal),*] $(, $text:ident)*) => {
        ::wrapper_hook::describe! {
            about: $crate::joined!("asks ", $name, " to quit"),
            phase: after,
            prefix: $prefix,
            reads: [$($variable),*],
            settings: [
                URL: url = $urls,
                STARTUP: startup = "5s",
                ABSENT: one_of("ok|wait|fail") = "ok",
                WAIT_GONE: switch = "false",
                $($text: text),*
            ],
        }
    };
}

/// The addresses of a constant [`Sidecar`], as text.
#[doc(hidden)]
#[macro_export]
macro_rules! urls {
    ($sidecar:expr) => {
        $crate::joined!(
            $crate::url($sidecar.urls, 0),
            " ",
            $crate::url($sidecar.urls, 1),
            " ",
            $crate::url($sidecar.urls, 2)
        )
    };
}

/// One text made of constant ones.
#[doc(hidden)]
#[macro_export]
macro_rules! joined {
    ($($part:expr),*) => {{
        const PARTS: &[&str] = &[$($part),*];
        const BYTES: [u8; ::wrapper_hook::__length(PARTS)] = ::wrapper_hook::__joined(PARTS);
        match ::core::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => ::core::panic!(),
        }
    }};
}

#[doc(hidden)]
#[allow(clippy::indexing_slicing, reason = "it runs in the compiler, which reports it")]
pub const fn url<'a>(urls: &[&'a str], place: usize) -> &'a str {
    assert!(urls.len() <= 3, "the macro urls takes no more");
    if place < urls.len() { urls[place] } else { "" }
}

impl Sidecar<'_> {
    /// Adds the header that it requires.
    pub fn with_header(&self, request: Request) -> Request {
        match self.header {
            Some((name, value)) => request.header(name, value),
            None => request,
        }
    }
}

/// The state of the sidecar, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// All addresses refuse connections.
    NotListening,
    /// An address could not be reached: neither refused nor accepted.
    NotReached,
    /// It accepted a connection, but sent no response that confirms the request.
    NoAnswer,
    /// It responded with 2xx.
    Asked,
    /// It had accepted a connection, and refuses now.
    Gone,
    /// All addresses refused for the whole startup time.
    Absent,
}

impl State {
    /// The state after another attempt, which has seen this.
    fn then(self, seen: Self) -> Self {
        match (self, seen) {
            (Self::NoAnswer, Self::NotListening) => Self::Gone,
            // A connection can be reset before anything was sent.
            (Self::NoAnswer, Self::NotReached) => Self::NoAnswer,
            (_, seen) => seen,
        }
    }
}

/// Default age of the container at which refused connections mean that the sidecar is absent.
const STARTUP: Duration = Duration::from_secs(5);

/// Pause between two attempts: short compared with the start of a proxy, about a second.
const PERIOD: Duration = Duration::from_millis(100);

/// Timeout of requests to `elsewhere`, which is on this machine.
const LOOK: Duration = Duration::from_millis(200);

/// Time for one more attempt and the final message: the host ends every wait shortly before the hook's deadline.
const REPORT_MARGIN: Duration = Duration::from_millis(600);

/// Asks the sidecar to quit. `with_header` adds the header that it requires: a hook that needs none is smaller.
///
/// Settings: `HOOK_…_URL` replaces the addresses, `HOOK_…_STARTUP` the five seconds after which a sidecar that refuses
/// connections is absent, `HOOK_…_ABSENT` is what to do then (`ok`, `fail`, or `wait`, which is `ok` after a stop
/// signal), and `HOOK_…_WAIT_GONE` waits until the sidecar is gone.
pub fn quit(cx: &Context, sidecar: &Sidecar, with_header: impl Fn(Request) -> Request) -> Result {
    let name = |setting: &str| cx.setting_name_or(setting, sidecar.prefix);
    let url = cx.trimmed(&name("URL"));
    let url = url.as_deref();
    let urls = url.as_ref().map_or(sidecar.urls, slice::from_ref);
    let startup = cx.duration(&name("STARTUP"))?.unwrap_or(STARTUP);
    let wait_gone = cx.flag(&name("WAIT_GONE"))?;
    let if_absent = cx.choice(&name("ABSENT"), &["ok", "wait", "fail"])?.unwrap_or("ok");
    // The containers of a pod are stopped together: a sidecar that is not there then is not late.
    let stopped = cx.stop_signal().is_some();
    let waits = if_absent == "wait" && !stopped;

    let patience = patience(cx);
    let request = |url: &str| with_header(http::post(url)).timeout(patience());
    let mut requests = Requests { sidecar, urls, accepted: false, why: String::new() };
    let mut state = State::NotListening;
    let mut is_wait_logged = false;
    loop {
        state = match state.then(requests.ask(&request)?) {
            State::NotListening if !waits && cx.uptime() >= startup => State::Absent,
            state => state,
        };
        if state == State::Asked && wait_gone {
            state = requests.wait_until_gone(cx);
        }
        let description = match state {
            State::Asked if !wait_gone => return Ok(()),
            State::Gone => {
                log::info(&text!("{} is gone", sidecar.name));
                return Ok(());
            }
            State::Asked => "is still running",
            State::Absent => "is considered absent",
            _ if cx.time_left() > REPORT_MARGIN => {
                if state == State::NotListening && cx.uptime() >= startup && !is_wait_logged {
                    log::info(&text!("waiting for {}: connection refused", sidecar.name));
                    is_wait_logged = true;
                }
                sleep(PERIOD);
                continue;
            }
            State::NotListening => "is not listening yet",
            State::NotReached => "could not be reached",
            State::NoAnswer => "accepted a connection but did not confirm the request",
        };
        let fix = match state {
            State::Absent if stopped => "; it may have been stopped together with the command".into(),
            State::Absent if if_absent == "ok" => text!("; if it is only late, set {}=wait", name("ABSENT")),
            State::NotListening => {
                text!("; {} is for another address, {} gives it more time", name("URL"), cx.setting_name("TIMEOUT"))
            }
            _ => String::new(),
        };
        if let State::Absent | State::NotListening = state {
            requests.explain_refusal(url.is_none());
        }
        let text = text!("{} {description}: {}{fix}", sidecar.name, requests.why);
        if state == State::Absent && if_absent != "fail" {
            log::warn(&text);
            return Ok(());
        }
        return Err(text.into());
    }
}

/// A clock of the time to give the next request: as much as has passed, so that a sidecar that responds only after it
/// has drained its connections can do so in the end.
fn patience(cx: &Context) -> impl Fn() -> Duration {
    let start = milliseconds(cx.time_left());
    move || {
        let passed = start.saturating_sub(milliseconds(cx.time_left()));
        Duration::from_millis(passed.max(milliseconds(http::DEFAULT_TIMEOUT)))
    }
}

/// The requests to a sidecar.
struct Requests<'a> {
    sidecar: &'a Sidecar<'a>,
    /// Its addresses, reduced to one as soon as that accepts a connection.
    urls: &'a [&'a str],
    /// Whether one has accepted a connection.
    accepted: bool,
    /// The result of the last attempt, for the log; of one that could not reach an address only if none has accepted a
    /// connection: it can be lost again before the request is sent.
    why: String,
}

impl<'a> Requests<'a> {
    /// Sends the request to the addresses in their order until one accepts a connection. That one is the sidecar from
    /// then on: once it is gone, a program at another address is a different one.
    fn ask(&mut self, request: &impl Fn(&str) -> Request) -> Result<State> {
        let mut seen = State::NotListening;
        for url in self.urls {
            match self.receive(url, request(url).send())? {
                State::NotListening => {}
                State::NotReached => seen = State::NotReached,
                found => return Ok(found),
            }
        }
        Ok(seen)
    }

    /// What the response of an address shows.
    fn receive(&mut self, url: &'a &'a str, response: Result<Response, http::Error>) -> Result<State> {
        let state = match response {
            Ok(response) => self.classify(url, response.status())?,
            Err(error) if error.kind == ErrorKind::Refused => return Ok(State::NotListening),
            Err(error) => {
                let state = match error.kind {
                    // No sidecar responds in another protocol while it is busy.
                    ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::Tls | ErrorKind::Protocol => {
                        return Err(error.into());
                    }
                    ErrorKind::Unresolved | ErrorKind::Unreachable => State::NotReached,
                    _ => State::NoAnswer,
                };
                if state != State::NotReached || !self.accepted {
                    self.why = error.text().into();
                }
                state
            }
        };
        if state != State::NotReached {
            self.urls = slice::from_ref(url);
            self.accepted = true;
        }
        Ok(state)
    }

    fn classify(&mut self, url: &str, status: u16) -> Result<State> {
        self.why = text!("\"{}\": answered {status}", http::without_query(url));
        match status {
            200..300 => {
                log::info(&text!("asked {} to quit ({status})", self.sidecar.name));
                Ok(State::Asked)
            }
            // Overloaded, or still starting.
            408 | 429 | 500 | 502..505 | 506..600 => Ok(State::NoAnswer),
            401 | 403 | 404 | 405 | 412 | 501 | 505 => Err(Error::Misconfigured(self.why.clone() + &self.hint(url))),
            _ => Err(Error::Failed(self.why.clone())),
        }
    }

    /// Waits until the port refuses connections: many sidecars respond first and drain their connections afterwards.
    fn wait_until_gone(&mut self, cx: &Context) -> State {
        let root = self.urls.first().map(|url| root(http::without_query(url))).unwrap_or_default();
        loop {
            match http::get(&root).timeout(PERIOD).send() {
                Err(error) if error.kind == ErrorKind::Refused => return State::Gone,
                _ if cx.time_left() <= REPORT_MARGIN => break,
                _ => sleep(PERIOD),
            }
        }
        self.why = text!("\"{root}\" still accepts connections");
        State::Asked
    }

    /// Sets `why` to the addresses that refuse, and those `elsewhere` that accept connections.
    fn explain_refusal(&mut self, look_elsewhere: bool) {
        self.why = "connection refused by".into();
        for url in self.urls {
            self.why += &text!(" \"{}\"", http::without_query(url));
        }
        for url in self.sidecar.elsewhere.iter().filter(|_| look_elsewhere) {
            // Any response counts, and a closed connection; no response may be due to a busy machine.
            let listens = match http::get(url).timeout(LOOK).send() {
                Ok(_) => true,
                Err(error) => matches!(error.kind, ErrorKind::Closed | ErrorKind::Protocol),
            };
            if listens {
                let Sidecar { hint, prefix, urls, .. } = self.sidecar;
                let path = urls.first().map(|url| path(url)).unwrap_or_default();
                self.why +=
                    &text!("; but \"{url}\" accepts connections; {hint}; if that is it, set {prefix}_URL={url}{path}");
            }
        }
    }

    /// What is probably wrong where the endpoint does not exist, or rejects the request.
    fn hint(&self, url: &str) -> String {
        let Sidecar { hint, prefix, urls, .. } = self.sidecar;
        let (check, otherwise) = match urls.contains(&url) {
            true => ("set ", " if it listens elsewhere"),
            false => ("check the port and the path in ", ""),
        };
        text!("; {hint}; {check}{prefix}_URL{otherwise}")
    }
}

/// Where the path of a URL begins.
fn slash(url: &str) -> usize {
    url.bytes().enumerate().filter(|(_, byte)| *byte == b'/').nth(2).map_or(url.len(), |(place, _)| place)
}

/// The URL without its path: a GET of it has no effect.
fn root(url: &str) -> String {
    text!("{}/", url.get(..slash(url)).unwrap_or(url))
}

/// The path of a URL, without its first slash.
fn path(url: &str) -> &str {
    url.get(slash(url) + 1..).unwrap_or_default()
}
