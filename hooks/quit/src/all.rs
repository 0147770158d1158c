//! Asks several sidecars at the same time, of which any may be there.

use crate::{PERIOD, REPORT_MARGIN, Requests, STARTUP, Sidecar, State, patience};
use core::{slice, time::Duration};
use wrapper_hook::{
    Context, Error, Result, String, Vec,
    http::{self, Pending},
    log, sleep, text,
};

/// One of the sidecars.
struct Candidate<'a> {
    requests: Requests<'a>,
    state: State,
    request: Option<Sent<'a>>,
    /// Why it, or another program at its address, rejected the request.
    rejection: Option<Error>,
}

/// A request whose response is still to come.
struct Sent<'a> {
    pending: Pending,
    url: &'a &'a str,
    /// The addresses to ask if this one refuses.
    others: &'a [&'a str],
}

impl<'a> Candidate<'a> {
    fn new(sidecar: &'a Sidecar<'a>, url: &'a Option<&'a str>) -> Self {
        let urls = url.as_ref().map_or(sidecar.urls, slice::from_ref);
        let requests = Requests { sidecar, urls, accepted: false, why: String::new() };
        Self { requests, state: State::NotListening, request: None, rejection: None }
    }

    /// Sends the request to the first of these addresses. If none is left, all of them have refused.
    fn ask(&mut self, urls: &'a [&'a str], timeout: Duration) {
        match urls.split_first() {
            Some((url, others)) => {
                let pending = self.requests.sidecar.with_header(http::post(url)).timeout(timeout).start();
                self.request = Some(Sent { pending, url, others });
            }
            None => self.state = self.state.then(State::NotListening),
        }
    }

    /// Waits for the response, and asks the next address if this one refuses.
    fn receive(&mut self, Sent { pending, url, others }: Sent<'a>, timeout: Duration) {
        match self.requests.receive(url, pending.wait()) {
            Ok(State::NotListening) => self.ask(others, timeout),
            Ok(seen) => self.state = self.state.then(seen),
            Err(error) => self.rejection = Some(error),
        }
    }

    fn is_settled(&self) -> bool {
        self.was_asked() || self.rejection.is_some()
    }

    fn was_asked(&self) -> bool {
        matches!(self.state, State::Asked | State::Gone)
    }

    /// Whether it is there, as far as is known, and is asked until it agrees or is gone.
    fn is_open(&self) -> bool {
        !self.is_settled() && (self.request.is_some() || self.state == State::NoAnswer)
    }

    fn is_missing(&self) -> bool {
        !self.is_settled() && self.state != State::NoAnswer
    }
}

/// Asks all of these sidecars to quit, and succeeds if one agrees.
///
/// Settings begin with `prefix`: `…_STARTUP`, `…_ABSENT` and `…_WAIT_GONE` are as for one sidecar, and hold for all
/// together; `…_EXCEPT` lists sidecars that are not asked, by the names of their hooks. `HOOK_<HOOK>_URL` replaces the
/// addresses of a sidecar, as it does for its own hook.
///
/// While the container is young, those that refuse connections are asked again, also once another has agreed: a pod
/// may have two. A response that is no agreement is reported, but only counts if no sidecar agrees, because at that
/// address may be another program. A wrong setting is a failure, but the other sidecars are still asked.
pub fn quit_all(cx: &Context, prefix: &str, sidecars: &[Sidecar]) -> Result {
    let name = |setting: &str| cx.setting_name_or(setting, prefix);
    let startup = cx.duration(&name("STARTUP"))?.unwrap_or(STARTUP);
    let wait_gone = cx.flag(&name("WAIT_GONE"))?;
    let if_absent = cx.choice(&name("ABSENT"), &["ok", "wait", "fail"])?.unwrap_or("ok");
    let stopped = cx.stop_signal().is_some();
    let except = cx.list(&name("EXCEPT"));
    let mut failure = None;
    for hook in &except {
        if !sidecars.iter().any(|sidecar| is_of(hook, sidecar)) {
            let why = text!("{}: \"{hook}\" is not the hook of a known sidecar", name("EXCEPT"));
            fail(&mut failure, Error::Misconfigured(why));
        }
    }

    let urls: Vec<_> = sidecars.iter().map(|sidecar| cx.trimmed(&text!("{}_URL", sidecar.prefix))).collect();
    let urls: Vec<_> = urls.iter().map(Option::as_deref).collect();
    let listed = sidecars.iter().zip(&urls).filter(|(sidecar, _)| !except.iter().any(|hook| is_of(hook, sidecar)));
    let mut candidates = Vec::new();
    for (sidecar, url) in listed {
        match sidecar.misconfigured {
            Some(why) => fail(&mut failure, Error::Misconfigured(why.into())),
            None => candidates.push(Candidate::new(sidecar, url)),
        }
    }
    if candidates.is_empty() {
        let all = || Error::Misconfigured(text!("{} lists every sidecar", name("EXCEPT")));
        return Err(failure.unwrap_or_else(all));
    }
    let patience = patience(cx);
    let mut is_wait_logged = false;
    loop {
        let pause = ask(&mut candidates, patience());
        let is_young = cx.uptime() < startup;
        let found = candidates.iter().any(Candidate::was_asked);
        let waits = is_young || (if_absent == "wait" && !stopped && !found);
        let open = candidates.iter().any(Candidate::is_open);
        let missing = candidates.iter().any(Candidate::is_missing);
        if (open || missing && waits) && cx.time_left() > REPORT_MARGIN {
            if !open && !is_young && !is_wait_logged {
                log::info("waiting for a sidecar: connections are refused");
                is_wait_logged = true;
            }
            sleep(pause);
            continue;
        }
        // Before the others, whose responses are waited for until nothing can be sent any more.
        for candidate in candidates.iter_mut().filter(|candidate| wait_gone && candidate.state == State::Asked) {
            candidate.state = candidate.requests.wait_until_gone(cx);
        }
        // The host ends these waits before the hook's deadline, each with what it has waited for.
        for candidate in &mut candidates {
            if let Some(sent) = candidate.request.take() {
                candidate.receive(sent, patience());
            }
        }
        let found = candidates.iter().any(Candidate::was_asked);
        report(&mut candidates, wait_gone, &name, failure)?;
        if found {
            return Ok(());
        }
        let mut text = String::from("no sidecar: connection refused by");
        let mut comma = " ";
        for Candidate { requests, .. } in &candidates {
            text += &text!("{comma}{}", requests.sidecar.name);
            comma = ", ";
        }
        return match if_absent {
            _ if waits => Err(text!("{text}; {} gives it more time", cx.setting_name("TIMEOUT")).into()),
            "fail" => Err(text.into()),
            _ if stopped => {
                log::warn(&text!("{text}; it may have been stopped together with the command"));
                Ok(())
            }
            _ => {
                log::warn(&text!("{text}; if it is only late, set {}=wait", name("ABSENT")));
                Ok(())
            }
        };
    }
}

/// Whether this is the name of the sidecar's hook: `istio-quit` has the prefix `HOOK_ISTIO_QUIT`.
fn is_of(hook: &str, sidecar: &Sidecar) -> bool {
    let capitals = hook.bytes().map(|byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() });
    sidecar.prefix.bytes().skip("HOOK_".len()).eq(capitals)
}

/// Asks all that are not settled and have no request under way, and receives the responses that arrive within
/// [`PERIOD`]. Returns what is left of it: a sidecar that takes longer keeps its request, and holds up no other.
fn ask(candidates: &mut [Candidate], timeout: Duration) -> Duration {
    for candidate in candidates.iter_mut().filter(|candidate| !candidate.is_settled() && candidate.request.is_none()) {
        candidate.ask(candidate.requests.urls, timeout);
    }
    let mut time = PERIOD;
    for candidate in candidates {
        while let Some(sent) = candidate.request.take() {
            if !sent.pending.is_ready_within(time) {
                candidate.request = Some(sent);
                time = Duration::ZERO;
                break;
            }
            candidate.receive(sent, timeout);
        }
    }
    time
}

/// Makes this the error that the hook returns, and logs the one before.
fn fail(failure: &mut Option<Error>, error: Error) {
    if let Some(error) = failure.replace(error) {
        log::warn(error.text());
    }
}

/// Reports those that were there and did not quit. Fails if that keeps the pod running, or with the failure so far.
fn report(
    candidates: &mut [Candidate],
    wait_gone: bool,
    name: &impl Fn(&str) -> String,
    mut failure: Option<Error>,
) -> Result {
    let found = candidates.iter().any(Candidate::was_asked);
    for candidate in candidates {
        let sidecar = candidate.requests.sidecar.name;
        let error = match (candidate.rejection.take(), candidate.state) {
            (Some(error), _) => {
                let why = error.text();
                let text =
                    text!("{sidecar}, or another program at its address: {why}; to skip it, set {}", name("EXCEPT"));
                if let Error::Misconfigured(_) = error { Error::Misconfigured(text) } else { Error::Failed(text) }
            }
            (None, State::NoAnswer) => Error::Failed(text!(
                "{sidecar} accepted a connection but did not confirm the request: {}",
                candidate.requests.why
            )),
            (None, State::NotReached) => {
                Error::Failed(text!("{sidecar} could not be reached: {}", candidate.requests.why))
            }
            (None, State::Asked) if wait_gone => {
                Error::Failed(text!("{sidecar} is still running: {}", candidate.requests.why))
            }
            (None, State::Gone) => {
                log::info(&text!("{sidecar} is gone"));
                continue;
            }
            _ => continue,
        };
        // What rejects a request may be no sidecar, if there is one.
        let is_minor = found && !matches!(candidate.state, State::NoAnswer | State::Asked);
        if is_minor {
            log::warn(error.text());
        } else {
            fail(&mut failure, error);
        }
    }
    failure.map_or(Ok(()), Err)
}
