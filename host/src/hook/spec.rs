//! Supervisor: a hook as the user listed it, before its bytes are read.

use super::{built_in::BuiltIn, settings::Settings};
use crate::log::Label;
use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc};

/// A hook as it is written in an option or a variable: where its bytes are, and its names.
#[derive(Clone, Debug)]
pub struct Spec {
    pub source: Source,
    /// The name it has where the user gives it none: that of the built-in hook, or of the file without `.wasm`.
    own_name: String,
    pub label: Label,
}

/// Where its bytes are.
#[derive(Clone, Debug)]
pub enum Source {
    BuiltIn(&'static BuiltIn),
    File(PathBuf),
    /// A name that no built-in hook has.
    Unknown,
}

/// A hook that the user listed.
#[derive(Clone, Debug)]
pub struct Listed {
    pub spec: Spec,
    pub settings: Arc<Settings>,
}

impl Spec {
    /// A file if it has a `/` or ends in `.wasm`, otherwise the name of a built-in hook; `NAME=` before it gives it a
    /// name of its own.
    pub fn parse(text: &OsStr) -> Self {
        let (given, hook) = split(text);
        let written = hook.to_string_lossy().into_owned();
        let (source, own_name) = if hook.as_bytes().contains(&b'/') || hook.as_bytes().ends_with(b".wasm") {
            let path = PathBuf::from(hook);
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            (Source::File(path), stem.unwrap_or_else(|| written.clone()))
        } else if let Some(built_in) = BuiltIn::named(hook.as_bytes()) {
            (Source::BuiltIn(built_in), built_in.name.to_owned())
        } else {
            (Source::Unknown, written.clone())
        };
        let name = given.unwrap_or_else(|| own_name.clone());
        Self { source, own_name, label: Label { name, source: written } }
    }

    /// Whether the text is a hook beyond doubt: any text is the path of a file, or a name.
    pub fn is_likely(&self) -> bool {
        match &self.source {
            Source::BuiltIn(_) => true,
            Source::File(path) => path.as_os_str().as_bytes().ends_with(b".wasm"),
            Source::Unknown => false,
        }
    }

    pub fn own_name(&self) -> &str {
        &self.own_name
    }
}

/// The name in front of a `=`, if there is one, and the hook.
fn split(text: &OsStr) -> (Option<String>, &OsStr) {
    let bytes = text.as_bytes();
    let is_name =
        |name: &[u8]| !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    let equals = bytes.iter().position(|byte| *byte == b'=');
    match equals.and_then(|place| bytes.split_at_checked(place)) {
        Some((name, [_, hook @ ..])) if is_name(name) => {
            (Some(String::from_utf8_lossy(name).into_owned()), OsStr::from_bytes(hook))
        }
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_or_ending_in_wasm_is_a_file() {
        for name in ["./echo", "/hooks/x", "hooks/dist/echo.wasm", "echo.wasm", "/echo", "a=./echo", "./a=echo"] {
            assert!(matches!(Spec::parse(name.as_ref()).source, Source::File(_)), "{name}");
        }
        assert!(matches!(Spec::parse("echo".as_ref()).source, Source::BuiltIn(_)));
        assert!(matches!(Spec::parse("nosuch".as_ref()).source, Source::Unknown));
    }

    #[test]
    fn a_hook_is_named_after_its_file_unless_it_is_given_a_name() {
        for (text, name, own_name, source) in [
            ("/hooks/my-quit.v2.wasm", "my-quit.v2", "my-quit.v2", "/hooks/my-quit.v2.wasm"),
            ("istio-quit", "istio-quit", "istio-quit", "istio-quit"),
            ("slack=http", "slack", "http", "http"),
            ("to_slack=/hooks/a=b.wasm", "to_slack", "a=b", "/hooks/a=b.wasm"),
            ("=http", "=http", "=http", "=http"),
        ] {
            let Spec { label, own_name: found, .. } = Spec::parse(text.as_ref());
            assert_eq!((label.name.as_str(), label.source.as_str(), found.as_str()), (name, source, own_name));
        }
    }
}
