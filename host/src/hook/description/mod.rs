//! Supervisor and compiler: what a hook says about itself, and whether its settings agree with it. The description of a
//! built-in hook is part of the binary; that of a file is read and parsed only by its compiler.

mod check;
mod kind;

pub use check::{Findings, Listing};

use kind::Kind;
use std::borrow::Cow;

/// Bytes of a name in a description.
const NAME_LIMIT: usize = 64;

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
    pub reads: Vec<&'a str>,
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

    /// The lines that `--check` and `--inspect` show.
    pub fn report(&self, findings: Option<&Findings>) -> String {
        let settings = self.settings.iter().map(|setting| {
            let required = if setting.required { "required" } else { setting.default };
            format!("setting\t{}\t{}\t{required}\n", setting.name, setting.values())
        });
        let about = [("about", self.about), ("phase", self.phase.unwrap_or("any"))];
        let reads: Vec<_> = match findings {
            Some(findings) => findings.reads.iter().map(String::as_str).collect(),
            None => self.reads.clone(),
        };
        let reads = reads.into_iter().map(|read| ("reads", read));
        let needs =
            findings.into_iter().flat_map(|findings| &findings.needs).map(|need| ("needs", need.shown.as_str()));
        let lines = about.into_iter().chain(reads).chain(needs).map(|(key, value)| format!("{key}\t{value}\n"));
        lines.chain(settings).collect()
    }
}

impl Declared<'_> {
    /// Its values, as people write them.
    pub fn values(&self) -> Cow<'_, str> {
        self.kind.values()
    }
}

/// Whether it can be the name of a variable, a setting or a placeholder.
fn is_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=NAME_LIMIT).contains(&text.len()) && text.bytes().all(is_of_name)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
