//! Supervisor and compiler: what a hook says about itself, and whether its settings agree with it. The description of a
//! built-in hook is part of the binary; that of a file is read and parsed only by its compiler.

use super::{
    allow_list::{Host, Origin, Scheme},
    settings::{OF_WRAPPER, Settings},
};
use crate::{
    job::Phase,
    sdk_values::{self as values, DURATION, SWITCH},
    text::{closest, ellipsize, list},
};
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
    reads: Vec<&'a str>,
    /// Where it connects: URLs, of which it needs one, and variables in braces that replace them.
    connects: Vec<&'a str>,
    placeholders: Vec<&'a str>,
    pub settings: Vec<Declared<'a>>,
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
    Time,
    Switch,
    /// One of these words, separated by `|`.
    OneOf(&'a str),
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
    /// The built-in hook for the other phase.
    pub counterpart: &'a dyn Fn() -> Option<&'static str>,
}

/// The result of comparing the two.
#[derive(Default)]
pub struct Findings {
    /// What the hook would fail with.
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
    /// Where it connects, and which variables it reads.
    pub needs: Vec<String>,
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
                "reads" if is_name(value) => description.reads.push(value),
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
        for setting in &self.settings {
            self.check_setting(setting, listing, &mut findings);
        }
        self.check_connections(listing, &mut findings);
        for name in &self.reads {
            let mark = if listing.value(name).is_some() { "" } else { " (not set, or not allowed by --plugin-env)" };
            findings.needs.push(format!("variable {name}{mark}"));
        }
        self.check_names(listing, &mut findings);
        findings.errors.truncate(MOST_FINDINGS);
        findings.warnings.truncate(MOST_FINDINGS);
        findings
    }

    /// The lines that `--check` and `--inspect` show.
    pub fn report(&self, findings: &Findings) -> String {
        let settings = self.settings.iter().map(|setting| {
            let required = if setting.required { "required" } else { setting.default };
            format!("setting\t{}\t{}\t{required}\n", setting.name, setting.values())
        });
        let about = [("about", self.about), ("phase", self.phase.unwrap_or("any"))];
        let reads = self.reads.iter().map(|name| ("reads", *name));
        let needs = findings.needs.iter().map(|need| ("needs", need.as_str()));
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
        let Some(value) = listing.value(&variable) else {
            match (setting.kind, setting.required) {
                (_, true) => findings.errors.push(format!("{variable} is not set")),
                (Kind::Url | Kind::Urls, _) => check_defaults(setting.default, listing, findings),
                _ => {}
            }
            return;
        };
        match setting.kind {
            Kind::Time if values::duration(value).is_none() => {
                findings.errors.push(format!("{}: not {DURATION}", shown(&variable, value)));
            }
            Kind::Switch if values::choice(value, &SWITCH).is_none() => {
                findings.errors.push(format!("{}: not one of {}", shown(&variable, value), SWITCH.join(", ")));
            }
            Kind::OneOf(words) if values::choice(value, &words.split('|').collect::<Vec<_>>()).is_none() => {
                let words = words.replace('|', ", ");
                findings.errors.push(format!("{}: not one of {words}", shown(&variable, value)));
            }
            Kind::Url => check_url(value, &variable, listing, findings),
            Kind::Urls => {
                list(value).for_each(|url| check_url(url, &variable, listing, findings));
            }
            Kind::Headers if value.lines().any(|line| !is_header(line)) => {
                findings.errors.push(format!("{variable}: a line is not \"Name: value\""));
            }
            _ => {}
        }
        if matches!(setting.kind, Kind::Url | Kind::Headers | Kind::Template) && !self.placeholders.is_empty() {
            self.check_placeholders(value, &variable, listing, findings);
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
            let fix = if name.starts_with("HOOK_") {
                String::new()
            } else {
                format!(", or hooks may not read it (--plugin-env {name})")
            };
            findings.errors.push(format!("{variable}: {{{name}}} is not set{fix}"));
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
    fn parse(text: &'a str) -> Self {
        match text {
            "url" => Self::Url,
            "urls" => Self::Urls,
            "time" => Self::Time,
            "switch" => Self::Switch,
            "template" => Self::Template,
            "headers" => Self::Headers,
            _ => text.strip_prefix('=').filter(|words| are_words(words)).map_or(Self::Text, Self::OneOf),
        }
    }
}

impl Declared<'_> {
    /// Its values, as people write them.
    pub fn values(&self) -> &str {
        match self.kind {
            Kind::Url => "URL",
            Kind::Urls => "URLs",
            Kind::Time => "time",
            Kind::Switch => "true|false",
            Kind::OneOf(words) => words,
            Kind::Template => "text with placeholders",
            Kind::Headers => "lines of Name: value",
            Kind::Text => "text",
        }
    }
}

/// Whether it can be the name of a variable, a setting or a placeholder.
fn is_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=NAME_LIMIT).contains(&text.len()) && text.bytes().all(is_of_name)
}

/// Whether these are words, separated by `|`.
fn are_words(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    text.len() <= WORDS_LIMIT && text.split('|').all(is_word)
}

/// A variable with its value, or the start of a long one.
fn shown(variable: &str, value: &str) -> String {
    format!("{variable}={:?}", ellipsize(value, VALUE_SHOWN))
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
        for (words, are) in [("a|b-2|c.d", true), ("a", true), ("", false), ("a||b", false), ("a b", false)] {
            assert_eq!(are_words(words), are, "{words}");
        }
    }
}
