//! Supervisor: answers to questions about a configuration or a hook, on stdout: as text for people, or as JSON.

use crate::{
    log::{self, Format},
    text::{one_line, size},
};
use serde_json::{Map, Value};
use std::time::Duration;

/// A part of an answer.
pub enum Item {
    Text(String),
    Flag(bool),
    /// A command and its arguments.
    Command(Vec<String>),
    /// In seconds as JSON.
    Time(Duration),
    /// In bytes as JSON.
    Size(u64),
    List(Vec<Item>),
    Fields(Vec<(&'static str, Item)>),
    /// The same, in one line of text.
    Row(Vec<(&'static str, Item)>),
}

impl From<&str> for Item {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Item {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Item {
    /// A list of texts.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(|text| Self::Text(text.into())).collect())
    }

    /// The answer of these fields.
    pub fn written(&self, format: Format) -> String {
        match format {
            Format::Json => match self.json() {
                Value::Object(fields) => log::json_line(fields) + "\n",
                other => format!("{other}\n"),
            },
            Format::Text => self.lines().iter().map(|line| one_line(line) + "\n").collect(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Flag(flag) => (*flag).into(),
            Self::Command(arguments) => arguments.iter().map(|argument| Value::from(argument.as_str())).collect(),
            Self::Size(number) => (*number).into(),
            Self::Time(time) => log::seconds(*time).into(),
            Self::List(items) => items.iter().map(Self::json).collect(),
            Self::Fields(fields) | Self::Row(fields) => {
                Value::Object(fields.iter().map(|(name, item)| ((*name).into(), item.json())).collect::<Map<_, _>>())
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        match self {
            Self::Fields(fields) => fields.iter().flat_map(|(name, item)| item.lines_of(name)).collect(),
            Self::List(items) => items.iter().flat_map(|item| indented(item.lines(), "- ")).collect(),
            _ => vec![self.in_line()],
        }
    }

    /// Its lines as a field of this name.
    fn lines_of(&self, name: &str) -> Vec<String> {
        let is_nested = |item: &Self| matches!(item, Self::Fields(_) | Self::Row(_));
        match self {
            Self::Fields(fields) if fields.is_empty() => vec![format!("{name}: none")],
            Self::Fields(_) => [format!("{name}:")].into_iter().chain(indented(self.lines(), "  ")).collect(),
            Self::List(items) if items.iter().any(is_nested) => {
                [format!("{name}:")].into_iter().chain(indented(self.lines(), "  ")).collect()
            }
            _ => vec![format!("{name}: {}", self.in_line())],
        }
    }

    fn in_line(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Flag(flag) => if *flag { "yes" } else { "no" }.into(),
            Self::Time(time) => humantime::format_duration(*time).to_string(),
            Self::Command(arguments) if arguments.is_empty() => "none".into(),
            Self::Command(arguments) => format!("{arguments:?}"),
            Self::Size(bytes) => size(*bytes),
            Self::List(items) if items.is_empty() => "none".into(),
            Self::List(items) => items.iter().map(Self::in_line).collect::<Vec<_>>().join(", "),
            Self::Fields(fields) | Self::Row(fields) => {
                let texts = fields.iter().map(|(_, item)| item.in_line()).filter(|text| !text.is_empty());
                texts.collect::<Vec<_>>().join("  ")
            }
        }
    }
}

/// The lines with this before the first, and as much space before the others.
fn indented(lines: Vec<String>, first: &str) -> Vec<String> {
    let rest = " ".repeat(first.len());
    lines.into_iter().enumerate().map(|(at, line)| format!("{}{line}", if at == 0 { first } else { &rest })).collect()
}
