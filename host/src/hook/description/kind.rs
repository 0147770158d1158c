//! Supervisor and compiler: the kinds of a setting's value, and what is wrong with a value by itself.

use crate::{
    hook::settings::FORBIDDEN_METHODS,
    sdk_values::{self as values, DURATION, FORBIDDEN_HEADERS, SWITCH},
    text::{closest, ellipsize, list},
};
use std::borrow::Cow;

/// Bytes of all the words of a setting.
const WORDS_LIMIT: usize = 256;

/// Bytes of a variable's value that are repeated in a line.
pub const VALUE_SHOWN: usize = 100;

/// The values of a setting.
#[derive(Clone, Copy)]
pub enum Kind<'a> {
    Url,
    /// Of probes.
    Targets,
    Time,
    PositiveTime,
    /// A time in which a peer has to start.
    Startup,
    Switch,
    /// One of these words, separated by `|`.
    OneOf(&'a str),
    /// Some of these words.
    SomeOf(&'a str),
    Method,
    Template,
    Headers,
    /// `name=value`, several.
    Pairs,
    Text,
}

impl<'a> Kind<'a> {
    /// One of a later version is text.
    pub fn parse(text: &'a str) -> Self {
        match text {
            "url" => Self::Url,
            "targets" => Self::Targets,
            "time" => Self::Time,
            "positive-time" => Self::PositiveTime,
            "startup" => Self::Startup,
            "switch" => Self::Switch,
            "method" => Self::Method,
            "template" => Self::Template,
            "headers" => Self::Headers,
            "pairs" => Self::Pairs,
            _ => {
                let words = |sign| text.strip_prefix(sign).filter(|words| are_words(words));
                words('=').map(Self::OneOf).or_else(|| words('+').map(Self::SomeOf)).unwrap_or(Self::Text)
            }
        }
    }

    /// What is wrong with the form of a value. A value that may be a secret is left out.
    pub fn problem(self, variable: &str, value: &str) -> Option<String> {
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
            Self::SomeOf(words) => {
                let known = |item: &str| words.split('|').any(|word| word.eq_ignore_ascii_case(item));
                let unknown = list(value).find(|item| !known(item))?;
                let meant = closest(unknown, words.split('|'));
                let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
                let words = words.replace('|', ", ");
                Some(format!("{variable}: {:?} is not one of {words}{meant}", ellipsize(unknown, VALUE_SHOWN)))
            }
            Self::Method if is_one_of(&FORBIDDEN_METHODS) => {
                Some(format!("{}: hooks may not use it", shown(variable, value)))
            }
            Self::Method => unless(is_token(value), format!("{}: not a method such as POST", shown(variable, value))),
            Self::Pairs => {
                let wrong = list(value).position(|item| item.find('=').is_none_or(|place| place == 0))?;
                Some(format!("{variable}: item {} is not of the form name=value", wrong + 1))
            }
            Self::Headers if !value.lines().all(is_header) => {
                Some(format!("{variable}: a line is not \"Name: value\""))
            }
            Self::Headers => {
                let mut names = value.lines().filter_map(|line| line.split(':').next()).map(str::trim_ascii);
                let name = names.find(|name| values::choice(name, &FORBIDDEN_HEADERS).is_some())?;
                Some(format!("{variable}: hooks may not set the header {name}"))
            }
            _ => None,
        }
    }

    /// Its values, as people write them.
    pub fn values(self) -> Cow<'a, str> {
        match self {
            Self::Url => "URL".into(),
            Self::Targets => "targets".into(),
            Self::Time | Self::Startup => "time".into(),
            Self::PositiveTime => "time, more than 0".into(),
            Self::Switch => "true|false".into(),
            Self::OneOf(words) => words.into(),
            Self::SomeOf(words) => format!("{words}, several").into(),
            Self::Method => "method".into(),
            Self::Template => "text with placeholders".into(),
            Self::Headers => "lines of Name: value".into(),
            Self::Pairs => "name=value, several".into(),
            Self::Text => "text".into(),
        }
    }
}

/// Whether these are words, separated by `|`.
fn are_words(text: &str) -> bool {
    let is_of_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_of_word);
    text.len() <= WORDS_LIMIT && text.split('|').all(is_word)
}

/// A variable with its value, or the start of a long one.
fn shown(variable: &str, value: &str) -> String {
    format!("{variable}={:?}", ellipsize(value, VALUE_SHOWN))
}

/// The methods of RFC 9110 and RFC 5789 that hooks can use.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A method that looks like a typo in a usual one. Others exist, such as PURGE.
pub fn unusual_method(variable: &str, value: &str) -> Option<String> {
    let is_usable = is_token(value) && values::choice(value, &FORBIDDEN_METHODS).is_none();
    let meant = closest(value, METHODS).filter(|meant| is_usable && !meant.eq_ignore_ascii_case(value))?;
    Some(format!("{} is not a usual method; did you mean {meant}?", shown(variable, value)))
}

/// Whether it is a token of RFC 9110.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_header(line: &str) -> bool {
    let name = line.split_once(':').map(|(name, _)| name.trim_ascii());
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    line.trim_ascii().is_empty() || name.is_some_and(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_separated_by_bars() {
        for (words, are) in [("a|b-2|c.d", true), ("a", true), ("", false), ("a||b", false), ("a b", false)] {
            assert_eq!(are_words(words), are, "{words}");
        }
    }
}
