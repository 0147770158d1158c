//! Supervisor and compiler: what a hook says about itself, and whether its settings agree with it. The description of a
//! built-in hook is part of the binary; that of a file is read and parsed only by its compiler.

use super::{
    allow_list::{Host, Origin, Scheme},
    settings::{OF_WRAPPER, Settings},
    target::{Target, without_secrets},
};
use crate::{
    job::Phase,
    sdk_values::{self as values, DURATION, SWITCH},
    text::{closest, ellipsize, list},
};
use humantime::format_duration;
use std::iter::from_fn;

/// Most lines about one hook: a file's description can be made to cause any number.
const MOST_FINDINGS: usize = 20;

/// Bytes of a name in a description, and of all the words of a setting.
const NAME_LIMIT: usize = 64;
const WORDS_LIMIT: usize = 256;

/// Bytes of a variable's value that are repeated in a line.
const VALUE_SHOWN: usize = 100;

/// What a hook says about itself. Lines of unknown kinds are ignored, so that later versions can add some, and so are
/// those whose names are not names: wrapper repeats them in lines of its own, where a sentence would pass for one of
/// wrapper's. The first line about a setting counts.
#[derive(Default)]
pub struct Description<'a> {
    /// What it does: `asks istio-proxy to quit`.
    pub about: &'a str,
    /// When it is of use, if not in both phases.
    pub phase: Option<&'a str>,
    /// Start of the other names of its settings, without the last `_`.
    prefix: Option<&'a str>,
    /// Variables that it reads besides `HOOK_…`.
    pub reads: Vec<Read<'a>>,
    /// Where it connects: URLs, of which it needs one, and variables in braces that replace them.
    connects: Vec<&'a str>,
    placeholders: Vec<&'a str>,
    pub settings: Vec<Declared<'a>>,
}

/// A variable that a hook reads, and of which wrapper knows no more than the hook says.
pub struct Read<'a> {
    pub name: &'a str,
    kind: Kind<'a>,
    /// The setting that replaces it, if one does.
    unless: Option<&'a str>,
}

/// A setting that a hook has.
pub struct Declared<'a> {
    pub name: &'a str,
    kind: Kind<'a>,
    pub required: bool,
    /// Empty if there is none.
    pub default: &'a str,
}

/// The values of a setting.
#[derive(Clone, Copy)]
enum Kind<'a> {
    Url,
    Urls,
    /// A URL to which the hook appends one of these paths, separated by `|`.
    BaseUrl(&'a str),
    /// Of probes.
    Targets,
    Time,
    PositiveTime,
    /// A time in which a peer has to start.
    Startup,
    Switch,
    /// One of these words, separated by `|`.
    OneOf(&'a str),
    Method,
    Milliseconds,
    Pairs,
    /// In `OTEL_EXPORTER_OTLP_…PROTOCOL`; the hook has HTTP only.
    OtlpProtocol,
    /// With `true` the hook does nothing.
    Disables,
    Template,
    Headers,
    Text,
}

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
}

/// The result of comparing the two.
#[derive(Default)]
pub struct Findings {
    /// What the hook would fail with.
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
    /// Where it connects.
    pub needs: Vec<String>,
    /// Which of the variables that it reads are set.
    pub reads: Vec<String>,
}

impl<'a> Description<'a> {
    pub fn parse(text: &'a str) -> Self {
        let mut description = Self::default();
        for line in text.lines() {
            let mut columns = line.split('\t');
            let (key, value) = (columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
            match key {
                "about" => description.about = value,
                "phase" if ["before", "after"].contains(&value) => description.phase = Some(value),
                "prefix" if is_name(value) => description.prefix = Some(value),
                "reads" if is_name(value) => {
                    let kind = Kind::parse(columns.next().unwrap_or_default());
                    let unless = columns.next().filter(|setting| is_name(setting));
                    description.reads.push(Read { name: value, kind, unless });
                }
                "connects" => description.connects.extend(value.split_whitespace()),
                "placeholder" if is_name(value) => description.placeholders.push(value),
                "setting" if is_name(value) && !description.settings.iter().any(|known| known.name == value) => {
                    let kind = columns.next().unwrap_or_default();
                    let (kind, required) = kind.strip_prefix('!').map_or((kind, false), |kind| (kind, true));
                    let default = columns.next().unwrap_or_default().trim_ascii();
                    description.settings.push(Declared { name: value, kind: Kind::parse(kind), required, default });
                }
                _ => {}
            }
        }
        description
    }

    /// Compares it with a listed hook and the container's variables. A finding contains a value only where a time, a
    /// switch or a word is expected, and only of a variable that the hook may read.
    pub fn check(&self, listing: &Listing) -> Findings {
        let mut findings = Findings::default();
        self.check_phase(listing, &mut findings);
        let is_on = |read: &Read| listing.value(read.name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if !self.reads.iter().any(|read| matches!(read.kind, Kind::Disables) && is_on(read)) {
            for setting in &self.settings {
                self.check_setting(setting, listing, &mut findings);
            }
            self.check_connections(listing, &mut findings);
            for read in &self.reads {
                self.check_read(read, listing, &mut findings);
            }
        }
        for Read { name, .. } in &self.reads {
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

    /// The lines that `--check` and `--inspect` show.
    pub fn report(&self, findings: Option<&Findings>) -> String {
        let settings = self.settings.iter().map(|setting| {
            let required = if setting.required { "required" } else { setting.default };
            format!("setting\t{}\t{}\t{required}\n", setting.name, setting.values())
        });
        let about = [("about", self.about), ("phase", self.phase.unwrap_or("any"))];
        let reads: Vec<_> = match findings {
            Some(findings) => findings.reads.iter().map(String::as_str).collect(),
            None => self.reads.iter().map(|read| read.name).collect(),
        };
        let reads = reads.into_iter().map(|read| ("reads", read));
        let needs = findings.into_iter().flat_map(|findings| &findings.needs).map(|need| ("needs", need.as_str()));
        let lines = about.into_iter().chain(reads).chain(needs).map(|(key, value)| format!("{key}\t{value}\n"));
        lines.chain(settings).collect()
    }

    fn check_phase(&self, listing: &Listing, findings: &mut Findings) {
        let (option, other) = match (self.phase, listing.phase) {
            (Some("before"), Phase::After) => ("--before", "after"),
            (Some("after"), Phase::Before) => ("--after", "before"),
            _ => return,
        };
        let counterpart = (listing.counterpart)().map(|hook| format!("; the hook for {other} it is {hook}"));
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
                (_, true) => findings.errors.push(format!("{variable} is not set")),
                (Kind::Url | Kind::Urls | Kind::BaseUrl(_), _) => check_defaults(setting.default, listing, findings),
                _ => {}
            }
            return;
        };
        findings.errors.extend(setting.kind.problem(&variable, value));
        match setting.kind {
            Kind::Url | Kind::BaseUrl(_) => check_url(value, &variable, listing, findings),
            Kind::Urls => list(value).for_each(|url| check_url(url, &variable, listing, findings)),
            Kind::Targets => list(value).for_each(|target| check_target(target, &variable, listing, findings)),
            Kind::Method => findings.warnings.extend(unusual_method(&variable, value)),
            _ => {}
        }
        if matches!(setting.kind, Kind::Url | Kind::Headers | Kind::Template) && !self.placeholders.is_empty() {
            self.check_placeholders(value, &variable, listing, findings);
        }
    }

    /// A variable that is not the hook's own may be meant for the command. It is checked where the hook would fail.
    fn check_read(&self, read: &Read, listing: &Listing, findings: &mut Findings) {
        let replaced = read.unless.map(|setting| self.variable(setting, listing));
        if replaced.as_ref().is_some_and(|setting| listing.value(setting).is_some()) {
            return;
        }
        let Some(value) = listing.value(read.name) else { return };
        findings.errors.extend(read.kind.problem(read.name, value));
        if !matches!(read.kind, Kind::OtlpProtocol) || value != "grpc" {
            return;
        }
        // A signal's own variable goes before the one for all.
        let is_set = |name: &str| listing.value(&format!("OTEL_EXPORTER_OTLP_{name}")).is_some();
        let is_for_all = read.name == "OTEL_EXPORTER_OTLP_PROTOCOL";
        let overridden = is_for_all && (is_set("TRACES_PROTOCOL") || is_set("METRICS_PROTOCOL"));
        let own = read.name.replace("PROTOCOL", "ENDPOINT");
        let endpoints = [own.as_str(), "OTEL_EXPORTER_OTLP_ENDPOINT"];
        let endpoint = endpoints.into_iter().find(|endpoint| listing.value(endpoint).is_some());
        if let Some(endpoint) = endpoint.filter(|_| !overridden) {
            let (name, url) = (read.name, replaced.unwrap_or_default());
            let fix = format!("set {url} to the collector's URL for HTTP, usually of port 4318");
            findings.errors.push(format!("{endpoint} is for {name}=grpc; {fix}"));
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
        if startup >= limit.value && !is_changed {
            let (startup, limit) = (format_duration(startup), limit.written(format_duration(limit.value)));
            findings.warnings.push(format!(
                "{variable} ({startup}) is not less than {limit}: after a short command the hook fails if there is no \
                 sidecar; lower the one or raise the other"
            ));
        }
    }

    /// A URL of its own replaces all of them.
    fn check_connections(&self, listing: &Listing, findings: &mut Findings) {
        if listing.value(&self.variable("URL", listing)).is_some() {
            return;
        }
        let (mut urls, mut replaced) = (Vec::new(), false);
        for connects in &self.connects {
            let Some(variable) = connects.strip_prefix('{').and_then(|name| name.strip_suffix('}')) else {
                urls.push(*connects);
                continue;
            };
            if let Some(url) = listing.value(variable) {
                check_url(url, variable, listing, findings);
                replaced = true;
            }
        }
        if !replaced {
            check_defaults(&urls.join(" "), listing, findings);
        }
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
            let state = if !name.starts_with("HOOK_") && (listing.is_set)(name) {
                format!("is set, but hooks may not read it (--plugin-env {name})")
            } else {
                "is not set".into()
            };
            findings.errors.push(format!("{variable}: {{{name}}} {state}"));
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
}

impl<'a> Kind<'a> {
    /// One of a later version is text.
    fn parse(text: &'a str) -> Self {
        match (text, text.split_once('=')) {
            (_, Some(("", words))) if are_words(words, b"") => Self::OneOf(words),
            (_, Some(("base-url", paths))) if are_words(paths, b"/") => Self::BaseUrl(paths),
            ("url", _) => Self::Url,
            ("urls", _) => Self::Urls,
            ("targets", _) => Self::Targets,
            ("time", _) => Self::Time,
            ("positive-time", _) => Self::PositiveTime,
            ("startup", _) => Self::Startup,
            ("switch", _) => Self::Switch,
            ("method", _) => Self::Method,
            ("milliseconds", _) => Self::Milliseconds,
            ("pairs", _) => Self::Pairs,
            ("otlp-protocol", _) => Self::OtlpProtocol,
            ("disables", _) => Self::Disables,
            ("template", _) => Self::Template,
            ("headers", _) => Self::Headers,
            _ => Self::Text,
        }
    }

    /// What is wrong with the form of a value. A value that may be a secret is left out.
    fn problem(self, variable: &str, value: &str) -> Option<String> {
        let is_one_of = |words: &[&str]| values::choice(value, words).is_some();
        let unless = |fits: bool, problem: String| (!fits).then_some(problem);
        match self {
            Self::Time | Self::PositiveTime | Self::Startup => match values::duration(value) {
                None => Some(format!("{}: not {DURATION}", shown(variable, value))),
                Some(time) if time.is_zero() && matches!(self, Self::PositiveTime) => {
                    Some(format!("{variable} must be more than 0"))
                }
                Some(_) => None,
            },
            Self::Switch => {
                unless(is_one_of(&SWITCH), format!("{}: not one of {}", shown(variable, value), SWITCH.join(", ")))
            }
            Self::OneOf(words) => {
                let all: Vec<_> = words.split('|').collect();
                unless(is_one_of(&all), format!("{}: not one of {}", shown(variable, value), all.join(", ")))
            }
            Self::Method if is_one_of(&FORBIDDEN_METHODS) => {
                Some(format!("{}: hooks may not use it", shown(variable, value)))
            }
            Self::Method => unless(is_token(value), format!("{}: not a method such as POST", shown(variable, value))),
            Self::Urls | Self::Targets if list(value).next().is_none() => Some(format!("{variable} is an empty list")),
            Self::Milliseconds => unless(
                value.parse::<u64>().is_ok(),
                format!("{}: not a number of milliseconds", shown(variable, value)),
            ),
            Self::Pairs => unless(
                is_pairs(value),
                format!("{variable}: not of the form name=value,name=value with percent-encoded values"),
            ),
            Self::Headers => unless(value.lines().all(is_header), format!("{variable}: a line is not \"Name: value\"")),
            Self::BaseUrl(paths) => {
                let url = value.trim_end_matches('/');
                let path = paths.split('|').find(|path| url.ends_with(path))?;
                Some(format!("{variable} ends in {path}, which the hook appends; leave it out"))
            }
            _ => None,
        }
    }
}

impl Declared<'_> {
    /// Its values, as people write them.
    pub fn values(&self) -> &str {
        match self.kind {
            Kind::Url | Kind::BaseUrl(_) => "URL",
            Kind::Urls => "URLs",
            Kind::Targets => "targets",
            Kind::Time | Kind::Startup => "time",
            Kind::PositiveTime => "time, more than 0",
            Kind::Switch | Kind::Disables => "true|false",
            Kind::OneOf(words) => words,
            Kind::Method => "method",
            Kind::Milliseconds => "milliseconds",
            Kind::Pairs => "name=value,name=value",
            Kind::Template => "text with placeholders",
            Kind::Headers => "lines of Name: value",
            Kind::OtlpProtocol | Kind::Text => "text",
        }
    }
}

/// Whether it can be the name of a variable, a setting or a placeholder.
fn is_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=NAME_LIMIT).contains(&text.len()) && text.bytes().all(is_of_name)
}

/// Whether these are words, separated by `|`, of letters, digits, `-`, `_`, `.` and the bytes `also`.
fn are_words(text: &str, also: &[u8]) -> bool {
    let is_of_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) || also.contains(&byte);
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_of_word);
    text.len() <= WORDS_LIMIT && text.split('|').all(is_word)
}

/// A variable with its value, or the start of a long one.
fn shown(variable: &str, value: &str) -> String {
    format!("{variable}={:?}", ellipsize(value, VALUE_SHOWN))
}

/// Methods that the runner refuses.
const FORBIDDEN_METHODS: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];

/// The methods of RFC 9110 and RFC 5789 that hooks can use.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A method that looks like a typo in a usual one. Others exist, such as PURGE.
fn unusual_method(variable: &str, value: &str) -> Option<String> {
    let is_usable = is_token(value) && values::choice(value, &FORBIDDEN_METHODS).is_none();
    let meant = closest(value, METHODS).filter(|meant| is_usable && !meant.eq_ignore_ascii_case(value))?;
    Some(format!("{} is not a usual method; did you mean {meant}?", shown(variable, value)))
}

/// Whether it is a token of RFC 9110.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_pairs(text: &str) -> bool {
    let is_encoded = |text: &str| {
        text.split('%').skip(1).all(|part| {
            part.as_bytes().first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
    };
    let mut pairs = text.split(',').map(str::trim_ascii).filter(|pair| !pair.is_empty());
    pairs.all(|pair| pair.find('=').is_some_and(|equals| equals > 0) && is_encoded(pair))
}

fn check_target(target: &str, variable: &str, listing: &Listing, findings: &mut Findings) {
    let shown = ellipsize(&without_secrets(target), VALUE_SHOWN);
    match target.parse::<Target>() {
        Ok(Target { origin, .. }) => {
            let allow = &listing.settings.allow_http;
            let is_allowed = allow.value.allows(&origin);
            findings.needs.push(format!("{shown} ({variable}){}", if is_allowed { "" } else { " (not allowed)" }));
            if !is_allowed {
                findings.errors.push(format!("{variable} {shown:?}: {}", allow.refusal(&origin)));
            }
        }
        Err(why) => findings.errors.push(format!("{variable} {shown:?}: {why:#}")),
    }
}

/// A hook needs one of its usual URLs; which one is known when it runs.
fn check_defaults(urls: &str, listing: &Listing, findings: &mut Findings) {
    let allow = &listing.settings.allow_http;
    let origins: Vec<_> =
        urls.split_whitespace().filter(|url| is_fixed(url)).filter_map(|url| Origin::of_url(url).ok()).collect();
    let denied = !origins.is_empty() && !origins.iter().any(|origin| allow.value.allows(origin));
    for origin in &origins {
        let mark = if allow.value.allows(origin) { "" } else { " (not allowed)" };
        findings.needs.push(format!("{origin}{mark}"));
    }
    if let Some(origin) = origins.first().filter(|_| denied) {
        findings.errors.push(not_allowed(origin, listing));
    }
}

fn check_url(url: &str, variable: &str, listing: &Listing, findings: &mut Findings) {
    if !is_fixed(url) {
        findings.needs.push(format!("the host in {variable}"));
        return;
    }
    match Origin::of_url(url) {
        Ok(origin) if listing.settings.allow_http.value.allows(&origin) => {
            findings.needs.push(format!("{origin} ({variable})"));
        }
        Ok(origin) => {
            findings.needs.push(format!("{origin} ({variable}) (not allowed)"));
            findings.errors.push(not_allowed(&origin, listing));
        }
        // Not the URL itself: it may be a secret.
        Err(_) => findings.errors.push(format!("{variable} is not a URL of the form http://host:port/path")),
    }
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

fn is_header(line: &str) -> bool {
    let name = line.split_once(':').map(|(name, _)| name.trim_ascii());
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    line.trim_ascii().is_empty() || name.is_some_and(is_name)
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

    #[test]
    fn a_description_of_a_later_version_is_read_as_far_as_it_is_known() {
        let text = "about\tx\nlater\ty\nsetting\tA\tcolour\tred\nsetting\tB\t!time\nsetting\tC\t=a|b\ta\n\nsetting\n\
                    setting\tA";
        let description = Description::parse(text);
        let settings: Vec<_> = description.settings.iter().map(|s| (s.name, s.required, s.default)).collect();
        let expected = [("A", false, "red"), ("B", true, ""), ("C", false, "a")];
        assert_eq!((description.about, settings.as_slice()), ("x", &expected[..]));
    }

    #[test]
    fn what_is_not_a_name_is_ignored() {
        let long = "X".repeat(NAME_LIMIT + 1);
        for text in ["", "A is fine. B", "A\u{202e}", "HOOK-A", "É", &long] {
            let lines = format!("prefix\t{text}\nphase\t{text}\nreads\t{text}\nplaceholder\t{text}\nsetting\t{text}");
            let Description { phase, prefix, reads, placeholders, settings, .. } = Description::parse(&lines);
            assert_eq!(
                (phase, prefix, reads.len(), placeholders.len(), settings.len()),
                (None, None, 0, 0, 0),
                "{text}"
            );
        }
        let no_words = ["", "a||b", "a b", "/a"];
        for (words, are) in [("a|b-2|c.d", true), ("a", true)].into_iter().chain(no_words.map(|text| (text, false))) {
            assert_eq!(are_words(words, b""), are, "{words}");
        }
        assert!(are_words("/v1/traces|/v1/metrics", b"/"));
    }
}
