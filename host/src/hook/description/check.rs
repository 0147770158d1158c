//! Supervisor and compiler: whether the settings of a listed hook agree with what the hook says about itself.

use super::{
    Declared, Description,
    kind::{Kind, VALUE_SHOWN, unusual_method},
};
use crate::{
    hook::{
        allow_list::{Host, Origin, Scheme},
        settings::{OF_WRAPPER, Settings},
        target::{Target, without_secrets},
    },
    job::Phase,
    outcome::RunOn,
    sdk_values as values,
    text::{closest, ellipsize, list},
};
use humantime::format_duration;
use std::{iter::from_fn, time::Duration};

/// Most lines about one hook: a file's description can be made to cause any number.
const MOST_FINDINGS: usize = 20;

/// Time that a hook needs besides waiting for a peer: the quit hooks stop that long before their limit.
const REPORT_MARGIN: Duration = Duration::from_millis(600);

/// A listed hook, as far as its description is compared with it.
pub struct Listing<'a> {
    pub phase: Phase,
    pub settings: &'a Settings,
    /// The variables that the hook may read.
    pub variables: &'a [(&'a str, &'a str)],
    /// Whether a variable is set in the container.
    pub is_set: &'a dyn Fn(&str) -> bool,
    /// The built-in hook for the other phase.
    pub counterpart: &'a dyn Fn() -> Option<&'static str>,
    /// The hook that ends the proxy of a mesh before this one runs.
    pub after_proxy: Option<&'a str>,
}

/// The result of comparing the two.
#[derive(Default)]
pub struct Findings {
    /// What the hook would fail with.
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
    /// Where it connects.
    pub needs: Vec<Need>,
    /// Which of the variables that it reads are set.
    pub reads: Vec<String>,
}

/// One address that a hook connects to.
pub struct Need {
    /// With the variable that it is in, and whether it is allowed.
    pub shown: String,
    leaves_pod: bool,
}

impl<'a> Description<'a> {
    /// Compares it with a listed hook and the container's variables. A finding contains the start of a value where that
    /// should be no secret, a time, a word or an address, and only of a variable that the hook may read.
    pub fn check(&self, listing: &Listing) -> Findings {
        let mut findings = Findings::default();
        self.check_phase(listing, &mut findings);
        for setting in &self.settings {
            self.check_setting(setting, listing, &mut findings);
        }
        self.check_connections(listing, &mut findings);
        check_order(listing, &mut findings);
        self.check_run_on(listing, &mut findings);
        for name in &self.reads {
            let state = match (listing.value(name), (listing.is_set)(name)) {
                (Some(_), _) => "set".into(),
                (None, true) => format!("set, but hooks may not read it (--plugin-env {name})"),
                (None, false) => "not set".into(),
            };
            findings.reads.push(format!("{name}\t{state}"));
        }
        self.check_names(listing, &mut findings);
        findings.errors.truncate(MOST_FINDINGS);
        findings.warnings.truncate(MOST_FINDINGS);
        findings
    }

    fn check_phase(&self, listing: &Listing, findings: &mut Findings) {
        let (option, other) = match (self.phase, listing.phase) {
            (Some("before"), Phase::After) => ("--before", "after"),
            (Some("after"), Phase::Before) => ("--after", "before"),
            _ => return,
        };
        let counterpart = (listing.counterpart)().map(|hook| format!("; {other} the command, use {hook}"));
        let phase = self.phase.unwrap_or_default();
        let counterpart = counterpart.unwrap_or_default();
        findings.errors.push(format!("runs {phase} the command only: list it with {option}{counterpart}"));
    }

    fn check_setting(&self, setting: &Declared, listing: &Listing, findings: &mut Findings) {
        let variable = self.variable(setting.name, listing);
        let found = listing.value(&variable);
        if let Kind::Startup = setting.kind {
            self.check_startup(&variable, found.unwrap_or(setting.default), listing, findings);
        }
        let Some(value) = found else {
            match (setting.kind, setting.required) {
                (_, true) => findings.errors.push(format!("{variable} {}", listing.absent(&variable))),
                (Kind::Url | Kind::Targets, _) => {
                    findings.errors.extend(check_defaults(setting.default, listing, &mut findings.needs))
                }
                _ => {}
            }
            return;
        };
        findings.errors.extend(setting.kind.problem(&variable, value));
        match setting.kind {
            Kind::Url => findings.errors.extend(check_url(value, &variable, listing, &mut findings.needs)),
            Kind::Targets if setting.required && list(value).next().is_none() => {
                findings.errors.push(format!("{variable} is an empty list"));
            }
            Kind::Targets => {
                let check = |target| check_target(target, &variable, listing, &mut findings.needs);
                findings.errors.extend(list(value).filter_map(check));
            }
            Kind::Method => findings.warnings.extend(unusual_method(&variable, value)),
            _ => {}
        }
        if matches!(setting.kind, Kind::Url | Kind::Headers | Kind::Template) && !self.placeholders.is_empty() {
            self.check_placeholders(value, &variable, listing, findings);
        }
    }

    /// Warns about a hook that has to wait longer for a peer than it can run. It is of no consequence if a peer that
    /// is absent is a failure, or waited for as long as possible.
    fn check_startup(&self, variable: &str, value: &str, listing: &Listing, findings: &mut Findings) {
        let Some(startup) = values::duration(value) else { return };
        let limit = &listing.settings.timeout;
        let absent = self.settings.iter().find(|setting| setting.name == "ABSENT");
        let is_changed = absent.is_some_and(|absent| {
            let value = listing.value(&self.variable(absent.name, listing));
            value.is_some_and(|value| !value.eq_ignore_ascii_case(absent.default))
        });
        if startup + REPORT_MARGIN >= limit.value && !is_changed {
            let (startup, limit) = (format_duration(startup), limit.written(format_duration(limit.value)));
            findings.warnings.push(format!(
                "{variable} ({startup}) does not fit into {limit}: after a short command the hook fails if there is no \
                 sidecar; lower the one or raise the other"
            ));
        }
    }

    /// A sidecar that is asked to quit only after a failure keeps the pod running after a success.
    fn check_run_on(&self, listing: &Listing, findings: &mut Findings) {
        let stops_peer = self.settings.iter().any(|setting| matches!(setting.kind, Kind::Startup));
        if stops_peer && listing.phase == Phase::After && listing.settings.run_on == RunOn::Failure {
            let variable = listing.settings.variables.named("ON");
            findings.warnings.push(format!(
                "runs only after a failure; after a success the sidecar keeps running ({variable}=always)"
            ));
        }
    }

    /// A URL of its own replaces all of them. Variables that are not the hook's may be meant for the command alone, which
    /// must start with them; the hook reports what it cannot use.
    fn check_connections(&self, listing: &Listing, findings: &mut Findings) {
        if listing.value(&self.variable("URL", listing)).is_some() {
            return;
        }
        let in_braces = |text: &'a str| text.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        let (variables, urls): (Vec<_>, Vec<_>) = self.connects.iter().partition(|text| in_braces(text).is_some());
        let variables = variables.into_iter().filter_map(in_braces);
        let is_own = variables.clone().all(|variable| variable.starts_with("HOOK_"));
        let set: Vec<_> = variables.filter_map(|variable| Some((variable, listing.value(variable)?))).collect();
        let problems: Vec<_> = match set.is_empty() {
            true => check_defaults(&urls.join(" "), listing, &mut findings.needs).into_iter().collect(),
            false => {
                let check = |(variable, url): (&str, &str)| check_url(url, variable, listing, &mut findings.needs);
                set.into_iter().filter_map(check).collect()
            }
        };
        if is_own { findings.errors.extend(problems) } else { findings.warnings.extend(problems) }
    }

    fn check_placeholders(&self, template: &str, variable: &str, listing: &Listing, findings: &mut Findings) {
        for name in placeholders(template) {
            let is_variable = !name.bytes().any(|byte| byte.is_ascii_lowercase());
            if !is_variable && !self.placeholders.contains(&name) {
                let meant = closest(name, self.placeholders.iter().copied());
                let meant = meant.map(|meant| format!("; did you mean {{{meant}}}?")).unwrap_or_default();
                findings.errors.push(format!("{variable}: unknown placeholder {{{name}}}{meant}"));
            }
            // Those of the Job are there when the hook runs.
            let of_job = name.starts_with("WRAPPER_") || name.starts_with("EXIT_") || name == "TRACEPARENT";
            if !is_variable || of_job || listing.value(name).is_some() {
                continue;
            }
            findings.errors.push(format!("{variable}: {{{name}}} {}", listing.absent(name)));
        }
    }

    /// Warns about variables of this hook that it does not read.
    fn check_names(&self, listing: &Listing, findings: &mut Findings) {
        let variables = &listing.settings.variables;
        for (name, _) in listing.variables {
            let Some((setting, as_listed)) = variables.setting_in(name) else { continue };
            let known = || OF_WRAPPER.into_iter().chain(self.settings.iter().map(|setting| setting.name));
            let of_wrapper = OF_WRAPPER.contains(&setting);
            let is_read = if as_listed {
                known().any(|known| known == setting)
            } else {
                !of_wrapper && self.prefix.is_some() && known().any(|known| known == setting)
            };
            if is_read || self.is_placeholder(name, listing) || listing.value(name).is_none() {
                continue;
            }
            let meant = match known().find(|known| *known == setting).or_else(|| closest(setting, known())) {
                Some(meant) => format!("; did you mean {}?", variables.named(meant)),
                None => String::new(),
            };
            findings.warnings.push(format!("there is no setting {name}{meant}"));
        }
    }

    /// Whether one of the hook's templates contains this variable.
    fn is_placeholder(&self, name: &str, listing: &Listing) -> bool {
        !self.placeholders.is_empty()
            && self.settings.iter().any(|setting| {
                let template = listing.value(&self.variable(setting.name, listing)).unwrap_or_default();
                placeholders(template).any(|placeholder| placeholder == name)
            })
    }

    /// The variable that a setting is in: of the name that the hook is listed under, or else of its other name.
    fn variable(&self, setting: &str, listing: &Listing) -> String {
        let own = listing.settings.variables.named(setting);
        let other = self.prefix.map(|prefix| format!("{prefix}_{setting}"));
        other.filter(|other| listing.value(&own).is_none() && listing.value(other).is_some()).unwrap_or(own)
    }
}

impl<'a> Listing<'a> {
    /// The value of a variable, trimmed as hooks do, if it is set and not empty.
    fn value(&self, name: &str) -> Option<&'a str> {
        let found = self.variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| value.trim_ascii()).filter(|value| !value.is_empty())
    }

    /// Why a variable has no value for the hook.
    fn absent(&self, name: &str) -> String {
        if !(self.is_set)(name) {
            "is not set".into()
        } else if self.settings.variables.hide(name) {
            "belongs to another hook".into()
        } else if name.starts_with("HOOK_") {
            "is not valid UTF-8".into()
        } else {
            format!("is set, but hooks may not read it (--plugin-env {name})")
        }
    }

    /// Whether the hook may connect there. It is noted as this among what it needs.
    fn allows(&self, origin: &Origin, shown: String, needs: &mut Vec<Need>) -> bool {
        let is_allowed = self.settings.allow_http.value.allows(origin);
        let shown = shown + if is_allowed { "" } else { " (not allowed)" };
        needs.push(Need { shown, leaves_pod: !origin.is_loopback() });
        is_allowed
    }
}

/// Warns about a hook that connects to another host when a mesh's proxy, through which the pod's connections go, has
/// been asked to quit.
fn check_order(listing: &Listing, findings: &mut Findings) {
    let leaves_pod = findings.needs.iter().any(|need| need.leaves_pod);
    if let Some(quit) = listing.after_proxy.filter(|_| leaves_pod) {
        findings.warnings.push(format!(
            "runs after {quit:?}: once the mesh's proxy has quit, the pod cannot connect to other hosts; list {quit:?} \
             last"
        ));
    }
}

/// What is wrong with a target.
fn check_target(target: &str, variable: &str, listing: &Listing, needs: &mut Vec<Need>) -> Option<String> {
    let shown = ellipsize(&without_secrets(target), VALUE_SHOWN);
    let origin = match target.parse::<Target>() {
        Ok(Target { origin, .. }) => origin,
        Err(why) => return Some(format!("{variable} {shown:?}: {why:#}")),
    };
    let is_allowed = listing.allows(&origin, format!("{shown} ({variable})"), needs);
    (!is_allowed).then(|| format!("{variable} {shown:?}: {}", listing.settings.allow_http.refusal(&origin)))
}

/// A hook needs one of its usual URLs; which one is known when it runs. The problem, if none is allowed.
fn check_defaults(urls: &str, listing: &Listing, needs: &mut Vec<Need>) -> Option<String> {
    let origins: Vec<_> =
        urls.split_whitespace().filter(|url| is_fixed(url)).filter_map(|url| Origin::of_url(url).ok()).collect();
    let allowed = origins.iter().filter(|origin| listing.allows(origin, origin.to_string(), needs)).count();
    origins.first().filter(|_| allowed == 0).map(|origin| not_allowed(origin, listing))
}

/// What is wrong with a URL.
fn check_url(url: &str, variable: &str, listing: &Listing, needs: &mut Vec<Need>) -> Option<String> {
    let has_space = url.contains(|c: char| c.is_whitespace() || c.is_control());
    if !is_fixed(url) && !has_space {
        needs.push(Need { shown: format!("the host in {variable}"), leaves_pod: false });
        return None;
    }
    // Not the URL itself: it may be a secret.
    let origin = Origin::of_url(url).ok().filter(|_| !has_space);
    let Some(origin) = origin else {
        let why = match url {
            _ if url.starts_with(['"', '\'']) => "; it begins with a quotation mark",
            _ if url.contains("$(") => "; Kubernetes has not replaced $(…)",
            _ if has_space => "; it contains white space",
            _ => "",
        };
        return Some(format!("{variable} is not a URL of the form http://host:port/path{why}"));
    };
    let is_allowed = listing.allows(&origin, format!("{origin} ({variable})"), needs);
    (!is_allowed).then(|| not_allowed(&origin, listing))
}

fn not_allowed(origin: &Origin, listing: &Listing) -> String {
    let replaced = match (origin.scheme, &origin.host) {
        (Scheme::Http, Host::Localhost) => " (the default http://localhost:* is replaced)",
        _ => "",
    };
    format!("not allowed: {origin}{replaced}; to allow it: {}", listing.settings.allow_http.written(origin))
}

/// Whether a URL has no placeholder in its scheme, host and port.
fn is_fixed(url: &str) -> bool {
    let start = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(start..).unwrap_or_default();
    !url.get(..start + rest.find(['/', '?', '#']).unwrap_or(rest.len())).unwrap_or_default().contains('{')
}

/// The names in braces, as the hook `http` finds them: letters, digits and `_`, and not digits alone.
fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    let mut rest = template;
    from_fn(move || {
        loop {
            let (_, inside) = rest.split_once('{')?;
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let (name, behind) = inside.split_at(inside.find(|c| !is_of_name(c)).unwrap_or(inside.len()));
            rest = inside;
            if name.bytes().any(|byte| !byte.is_ascii_digit()) && behind.starts_with('}') {
                return Some(name);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_names_in_braces() {
        for (template, names) in [
            ("", &[][..]),
            ("{a} {B_1}{c", &["a", "B_1"]),
            (r#"{"a": {exit_code}, "b": {}, "c": {3}}"#, &["exit_code"]),
            ("{{x}} {é} {a b}", &["x"]),
        ] {
            assert_eq!(placeholders(template).collect::<Vec<_>>(), names, "{template}");
        }
    }

    #[test]
    fn a_url_is_fixed_if_its_host_is() {
        for (url, fixed) in [
            ("http://localhost:{PORT}/x", false),
            ("{URL}", false),
            ("https://{host}", false),
            ("https://a/{x}", true),
            ("https://a?{x}", true),
            ("https://a", true),
        ] {
            assert_eq!(is_fixed(url), fixed, "{url}");
        }
    }
}
