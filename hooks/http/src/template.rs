//! Texts with facts in them: `{exit_code}`. A brace that does not hold a name alone is itself, as in JSON.

use notify::{ended_at, milliseconds, seconds};
use wrapper_hook::{Context, Error, Outcome, Phase, Result, String, Vec, format};

/// How a value is written so that it stays one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    Nothing,
    /// Inside a string of JSON.
    Json,
    /// As a part of a URL's path or query.
    Url,
}

/// Whether a text is meant as JSON: it begins with a bracket, or with a brace that holds no name.
pub fn is_json(text: &str) -> bool {
    match text.trim_ascii().as_bytes() {
        [b'[', ..] => true,
        [b'{', next, ..] => !next.is_ascii_alphabetic(),
        _ => false,
    }
}

/// Puts facts and variables in the place of their names.
pub fn fill(cx: &Context, template: &str, escape: Escape) -> Result<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some(open) = rest.bytes().position(|byte| byte == b'{') {
        let inside = rest.get(open + 1..).unwrap_or_default();
        let end = inside.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || byte == b'_')).unwrap_or(0);
        let name = inside.get(..end).unwrap_or_default();
        text.push_str(rest.get(..open).unwrap_or_default());
        if name.is_empty() || inside.as_bytes().get(end) != Some(&b'}') {
            text.push('{');
            rest = inside;
            continue;
        }
        escaped(&mut text, &value(cx, name)?, escape);
        rest = inside.get(end + 1..).unwrap_or_default();
    }
    text.push_str(rest);
    Ok(text)
}

fn value(cx: &Context, name: &str) -> Result<String> {
    let number = |number: u64| format!("{number}");
    Ok(match name {
        "command" => words(cx.command()),
        "phase" => if cx.phase() == Phase::Before { "before" } else { "after" }.into(),
        "outcome" => match cx.outcome() {
            None => "starting",
            Some(Outcome::Exited(_)) => "exited",
            Some(Outcome::Killed { .. }) => "killed",
            Some(Outcome::NotStarted { .. }) => "not-started",
            Some(_) => "other",
        }
        .into(),
        "result" => match cx.outcome() {
            None => "",
            Some(_) if cx.succeeded() => "success",
            Some(_) => "failure",
        }
        .into(),
        "exit_code" => number(cx.exit_code().into()),
        "signal" => match cx.outcome() {
            Some(Outcome::Killed { signal, .. }) => number(signal.into()),
            _ => number(0),
        },
        "duration" => seconds(cx.elapsed().unwrap_or_default()),
        "duration_ms" => number(milliseconds(cx.elapsed().unwrap_or_default())),
        "started_at" => number(cx.started_at().unwrap_or_default().as_secs()),
        "ended_at" => number(ended_at(cx).unwrap_or_default().as_secs()),
        "summary" => match cx.outcome() {
            None => "is about to start".into(),
            Some(Outcome::Exited(status)) => format!("exited with {status}"),
            Some(Outcome::Killed { signal, .. }) => format!("was killed by signal {signal}"),
            Some(Outcome::NotStarted { reason, .. }) => format!("was not started: {reason}"),
            Some(_) => "ended".into(),
        },
        name if name.bytes().any(|byte| byte.is_ascii_lowercase()) => {
            return Err(Error::Misconfigured(format!("{{{name}}} is not a fact that there is")));
        }
        name => cx.var(name).ok_or_else(|| {
            Error::Misconfigured(format!("{{{name}}} is not set, or not given to hooks (--plugin-env {name})"))
        })?,
    })
}

/// Not `join`, which carries the words for its overflow.
fn words(all: Vec<String>) -> String {
    all.into_iter().reduce(|words, word| words + " " + &word).unwrap_or_default()
}

fn escaped(text: &mut String, value: &str, escape: Escape) {
    let hex = |half: u8| char::from(b"0123456789ABCDEF".get(usize::from(half & 15)).copied().unwrap_or(b'0'));
    match escape {
        Escape::Nothing => text.push_str(value),
        Escape::Json => {
            for char in value.chars() {
                match char {
                    '"' | '\\' => text.extend(['\\', char]),
                    '\0'..' ' => {
                        text.push_str("\\u00");
                        text.extend([hex(char as u8 >> 4), hex(char as u8)]);
                    }
                    _ => text.push(char),
                }
            }
        }
        Escape::Url => {
            for byte in value.bytes() {
                match byte {
                    b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => text.push(byte.into()),
                    _ => text.extend(['%', hex(byte >> 4), hex(byte)]),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrapper_hook::testing::Job;

    fn filled(job: Job, template: &str, escape: Escape) -> String {
        let mut text = None;
        let report = job.run(|cx| {
            text = Some(fill(cx, template, escape)?);
            Ok(())
        });
        text.unwrap_or_else(|| report.result.unwrap_err().text().into())
    }

    #[test]
    fn braces_that_hold_no_name_are_themselves() {
        for text in ["", "{", "}", "{}", "{ }", r#"{"a":{"b":1}}"#, "{a b}", "{é}", "{x", "{{}}"] {
            assert_eq!(filled(Job::exited(0), text, Escape::Json), text);
        }
    }

    #[test]
    fn values_cannot_leave_the_string_they_stand_in() {
        let job = || Job::exited(7).command(&["a\"b", "\\\n", "é{exit_code}"]);
        assert_eq!(filled(job(), r#"{"c":"{command}"}"#, Escape::Json), r#"{"c":"a\"b \\\u000A é{exit_code}"}"#);
        assert_eq!(filled(job(), "/{command}", Escape::Url), "/a%22b%20%5C%0A%20%C3%A9%7Bexit_code%7D");
        assert_eq!(filled(Job::exited(7), "{exit_code}, {result}", Escape::Nothing), "7, failure");
    }

    #[test]
    fn each_end_has_its_facts() {
        let text = "{outcome} {result} {exit_code} {signal} {summary}";
        for (job, facts) in [
            (Job::exited(0), "exited success 0 0 exited with 0"),
            (Job::killed(9), "killed failure 137 9 was killed by signal 9"),
            (Job::not_started("no such file", 127), "not-started failure 127 0 was not started: no such file"),
            (Job::about_to_start(), "starting  0 0 is about to start"),
        ] {
            assert_eq!(filled(job, text, Escape::Nothing), facts);
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert_eq!(filled(Job::exited(0), "{exitcode}", Escape::Json), "{exitcode} is not a fact that there is");
        assert!(filled(Job::exited(0), "{POD}", Escape::Json).contains("--plugin-env POD"));
        assert_eq!(filled(Job::exited(0).var("POD", "x\"y"), "{POD}", Escape::Json), "x\\\"y");
    }

    #[test]
    fn json_is_recognised_by_its_first_character() {
        for (text, json) in [("{\"a\":1}", true), (" [1]", true), ("{ }", true), ("{summary}", false), ("ok", false)] {
            assert_eq!(is_json(text), json, "{text}");
        }
    }
}
