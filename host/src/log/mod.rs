//! All processes: lines of the log. wrapper writes nothing else to stderr, and nothing of its own to stdout.
//!
//! The start of a line names its author: `hook "NAME": ` is wrapper's line about a hook, `NAME: ` is the hook's own
//! output, and a hook's own reason for its failure follows `it reports: `.

mod stderr;

use crate::text::{choose, is_control, one_line};
use humantime::format_rfc3339_micros;
use serde_json::{Map, Value};
use std::{
    fmt,
    str::FromStr,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub use stderr::writer_was_killed;

/// Severity of a line; `--log` sets the lowest that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

impl FromStr for Level {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        choose(text, &[("error", Self::Error), ("warn", Self::Warn), ("info", Self::Info), ("debug", Self::Debug)])
    }
}

impl FromStr for Format {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        choose(text, &[("text", Self::Text), ("json", Self::Json)])
    }
}

/// Settings of the log: which lines are written, and how.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub level: Level,
    pub format: Format,
}

/// Set once, as soon as the options are known; lines before that are about the options themselves.
static SETTINGS: OnceLock<Settings> = OnceLock::new();

pub fn set(settings: Settings) {
    SETTINGS.get_or_init(|| settings);
    stderr::share();
}

pub fn enabled(level: Level) -> bool {
    level >= settings().level
}

fn settings() -> Settings {
    SETTINGS.get().copied().unwrap_or(Settings { level: Level::Info, format: Format::Text })
}

pub fn error(message: impl Into<String>) {
    Line::new(Level::Error, message).write();
}

pub fn warn(message: impl Into<String>) {
    Line::new(Level::Warn, message).write();
}

pub fn info(message: impl Into<String>) {
    Line::new(Level::Info, message).write();
}

pub fn debug(message: impl FnOnce() -> String) {
    if enabled(Level::Debug) {
        Line::new(Level::Debug, message()).write();
    }
}

/// A hook as the log names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// `istio-quit`, or what the user called it.
    pub name: String,
    /// As the user wrote it: a built-in hook's name, or a path.
    pub source: String,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name == self.source {
            write!(f, "{:?}", self.name)
        } else {
            write!(f, "{:?} ({})", self.name, self.source)
        }
    }
}

/// Author of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Author {
    Wrapper,
    Hook,
}

/// One line, with fields that the JSON format shows one by one.
pub struct Line {
    level: Level,
    message: String,
    /// Start of the line in the text format: its subject and its author.
    prefix: String,
    author: Author,
    fields: Map<String, Value>,
}

impl Line {
    pub fn new(level: Level, message: impl Into<String>) -> Self {
        Self { level, message: message.into(), prefix: String::new(), author: Author::Wrapper, fields: Map::new() }
    }

    /// Marks the line as a hook's own output.
    pub fn by_hook(mut self, hook: &Label) -> Self {
        self.prefix = format!("{}: ", hook.name);
        if let Some(mark) = match self.level {
            Level::Error => Some("error: "),
            Level::Warn => Some("warning: "),
            Level::Info | Level::Debug => None,
        } {
            self.prefix.push_str(mark);
        }
        self.author = Author::Hook;
        self.named(hook)
    }

    /// Marks the line as about a hook.
    pub fn about_hook(mut self, hook: &Label) -> Self {
        self.prefix = format!("hook {:?}: ", hook.name);
        self.named(hook)
    }

    /// The same for what is wrong with its file or its name, which the text then shows as the user wrote it.
    pub fn about_source(mut self, hook: &Label) -> Self {
        self.prefix = format!("hook {hook}: ");
        self.named(hook)
    }

    /// Marks the message as the hook's own reason why it ended so.
    pub fn reported_as(mut self, verdict: &str) -> Self {
        self.prefix.push_str(&format!("{verdict}: it reports: "));
        self.author = Author::Hook;
        self.field("verdict", verdict)
    }

    fn named(self, hook: &Label) -> Self {
        self.field("hook", hook.name.as_str()).field("source", hook.source.as_str())
    }

    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    pub fn write(self) {
        if enabled(self.level) {
            stderr::write_line(match settings().format {
                Format::Text => format!("wrapper: {}", one_line(&(self.prefix + &self.message))),
                Format::Json => self.into_json(),
            });
        }
    }

    fn into_json(mut self) -> String {
        let level = match self.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let author = match self.author {
            Author::Wrapper => "wrapper",
            Author::Hook => "hook",
        };
        self.fields.insert("level".into(), level.into());
        self.fields.insert("from".into(), author.into());
        self.fields.insert("message".into(), self.message.into());
        self.fields.insert("time".into(), timestamp(SystemTime::now()).into());
        json_line(self.fields)
    }
}

/// RFC 3339 with microseconds. A clock that is not set yet may be anywhere; the format ends with the year 9999.
fn timestamp(time: SystemTime) -> String {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
    UNIX_EPOCH.checked_add(since).map(|time| format_rfc3339_micros(time).to_string()).unwrap_or_default()
}

/// An object in one line, with the characters escaped that JSON need not escape.
pub fn json_line(fields: Map<String, Value>) -> String {
    let mut line = String::new();
    for c in Value::Object(fields).to_string().chars() {
        if is_control(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| line.push_str(&format!("\\u{unit:04x}")))
        } else {
            line.push(c)
        }
    }
    line
}

/// A duration as JSON has it, to the microsecond.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_control_characters() {
        let line = Line::new(Level::Info, "a\u{2028}b\u{9b}c\u{7f}\n").into_json();
        assert!(line.contains(r#""a\u2028b\u009bc\u007f\n""#), "{line}");
        let line = Line::new(Level::Info, "a\u{e0041}b\u{61c}").into_json();
        assert!(line.contains(r#""a\udb40\udc41b\u061c""#), "{line}");
    }

    #[test]
    fn times_are_rfc_3339_whatever_the_clock_is_set_to() {
        for (time, text) in [
            (UNIX_EPOCH, "1970-01-01T00:00:00.000000Z"),
            (UNIX_EPOCH + Duration::from_micros(1_795_628_024_123_456), "2026-11-25T17:33:44.123456Z"),
            (UNIX_EPOCH - Duration::from_secs(1), "1970-01-01T00:00:00.000000Z"),
            (UNIX_EPOCH + Duration::from_secs(1 << 40), "9999-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(timestamp(time), text);
        }
    }

    #[test]
    fn a_hooks_own_text_is_marked_wherever_it_is() {
        let hook = Label { name: "x".into(), source: "./x.wasm".into() };
        let text = |line: Line| line.prefix + &line.message;
        let line = || Line::new(Level::Error, "crashed: SIGSEGV");
        assert_eq!(text(line().about_hook(&hook)), r#"hook "x": crashed: SIGSEGV"#);
        assert_eq!(text(line().about_source(&hook)), r#"hook "x" (./x.wasm): crashed: SIGSEGV"#);
        assert_eq!(
            text(line().about_hook(&hook).reported_as("failed")),
            r#"hook "x": failed: it reports: crashed: SIGSEGV"#
        );
        assert_eq!(text(line().by_hook(&hook)), "x: error: crashed: SIGSEGV");
    }
}
