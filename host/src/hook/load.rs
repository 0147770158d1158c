//! From a hook's name to its bytes, as they are before the command starts. Bytes are read here and not yet
//! understood.

use super::{Hooks, memory, prepare::Preparation};
use crate::{
    cli::Config,
    log::{Level, Line},
    outcome::When,
    words::words,
};
use rustix::fs::{Mode, OFlags, fstat, open};
use std::{
    borrow::Cow,
    ffi::OsStr,
    fs::File,
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

macro_rules! built_in {
    ($($name:literal),*) => { &[$(($name, include_bytes!(concat!("../../../hooks/dist/", $name, ".wasm")))),*] };
}

/// The hooks that are part of the binary.
const BUILT_IN: &[(&str, &[u8])] = built_in![
    "cloudsql-quit",
    "consul-shutdown",
    "dapr-shutdown",
    "echo",
    "envoy-quit",
    "envoy-ready",
    "http",
    "http-ready",
    "istio-quit",
    "istio-ready",
    "linkerd-ready",
    "linkerd-shutdown",
    "pushgateway",
    "vault-quit"
];

/// Room for a Python interpreter in a component (18 MB), and little enough to be checked in under two seconds. What a
/// ConfigMap can hold is a thirty-second of it.
const SIZE_LIMIT: u64 = 32 * 1024 * 1024;

/// What is compiled beside the command: more than this takes more memory than its container should lend for it, and
/// is compiled when it runs.
const PREPARED_SIZE: u64 = 8 * 1024 * 1024;

/// Where a hook comes from.
#[derive(Clone, Debug)]
pub struct Source {
    kind: Kind,
    /// What its own lines are marked with: `istio-quit`.
    name: String,
    /// What lines about it call it: the name or the path, as the user wrote it.
    label: String,
    /// The digest its bytes must have.
    pub sha256: Option<[u8; 32]>,
    /// After which end of the command it runs, if it runs after it.
    pub when: When,
}

#[derive(Clone, Debug)]
enum Kind {
    BuiltIn(&'static [u8]),
    File(PathBuf),
    /// A name that no built-in hook has.
    Unknown,
}

/// A hook whose bytes have been read.
pub struct Hook {
    /// What its own lines are marked with: `istio-quit`.
    pub name: String,
    /// What lines about it call it: the name or the path, as the user wrote it.
    pub label: String,
    pub sha256: Option<[u8; 32]>,
    pub when: When,
    /// Whether it is compiled beside the command.
    pub prepare: bool,
    /// The process that checks and compiles it.
    pub preparation: Option<Preparation>,
    bytes: Bytes,
}

enum Bytes {
    BuiltIn(&'static [u8]),
    Memory(File),
}

impl Bytes {
    fn length(&self) -> u64 {
        match self {
            Self::BuiltIn(bytes) => bytes.len() as u64,
            // Not metadata(), whose system call a jailed process has not.
            Self::Memory(file) => fstat(file).map_or(0, |stat| stat.st_size.unsigned_abs()),
        }
    }
}

impl Source {
    /// A file if it has a `/` or ends in `.wasm`, otherwise the name of a built-in hook; `NAME=` before it gives it a
    /// name of its own.
    pub fn parse(text: &OsStr) -> Self {
        let (given, hook) = split(text);
        let label = hook.to_string_lossy().into_owned();
        let (kind, name) = if hook.as_bytes().contains(&b'/') || hook.as_bytes().ends_with(b".wasm") {
            let path = PathBuf::from(hook);
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            (Kind::File(path), stem.unwrap_or_else(|| label.clone()))
        } else if let Some((name, bytes)) = BUILT_IN.iter().find(|(built_in, _)| hook == *built_in) {
            (Kind::BuiltIn(bytes), (*name).to_owned())
        } else {
            (Kind::Unknown, label.clone())
        };
        let (name, label) = match given {
            Some(given) => (given.clone(), format!("{given}={label}")),
            None => (name, label),
        };
        Self { kind, name, label, sha256: None, when: When::Always }
    }

    /// The variable of one of its settings: `HOOK_ISTIO_QUIT_ON`.
    pub fn variable(&self, setting: &str) -> String {
        variable(&self.name, setting)
    }
}

/// guest-sdk's `Context::variable` names it alike.
fn variable(name: &str, setting: &str) -> String {
    let capital = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() } else { b'_' };
    let name: String = name.bytes().map(capital).map(char::from).collect();
    format!("HOOK_{name}_{setting}")
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

impl Hook {
    /// The variable of one of its settings: `HOOK_ISTIO_QUIT_ON`.
    pub fn variable(&self, setting: &str) -> String {
        variable(&self.name, setting)
    }

    /// The bytes that were read when the wrapper started.
    pub fn bytes(&self) -> io::Result<Cow<'static, [u8]>> {
        Ok(match &self.bytes {
            Bytes::BuiltIn(bytes) => Cow::Borrowed(bytes),
            Bytes::Memory(file) => Cow::Owned(memory::read(file)?),
        })
    }

    /// The variables of a product itself that a built-in hook for it reads besides `HOOK_…`. A file is given none of them.
    pub fn product_variables(&self) -> &'static [&'static str] {
        let Bytes::BuiltIn(bytes) = self.bytes else { return &[] };
        match BUILT_IN.iter().find(|(_, built_in)| *built_in == bytes) {
            Some(("dapr-shutdown", _)) => &["DAPR_HTTP_PORT", "DAPR_API_TOKEN"],
            _ => &[],
        }
    }

    /// How many bytes of WebAssembly it has.
    pub fn length(&self) -> u64 {
        self.bytes.length()
    }

    /// The descriptors of its bytes, and of where its code comes from.
    pub fn descriptors(&self) -> Vec<i32> {
        let bytes = match &self.bytes {
            Bytes::BuiltIn(_) => None,
            Bytes::Memory(file) => Some(file.as_raw_fd()),
        };
        bytes.into_iter().chain(self.preparation.as_ref().map(Preparation::descriptor)).collect()
    }

    /// A built-in hook with no digest to compare has been checked when the wrapper was built.
    pub fn needs_check(&self) -> bool {
        matches!(self.bytes, Bytes::Memory(_)) || self.sha256.is_some()
    }
}

/// Reads all hooks. What cannot be read is named in the log.
pub fn load(config: &Config) -> Hooks {
    let mut refused = None;
    let mut read = |source: &Source| {
        let hook = load_one(source, config);
        if hook.is_none() {
            refused.get_or_insert_with(|| source.label.clone());
        }
        hook
    };
    let before = config.before.iter().filter_map(&mut read).collect();
    let after = config.after.iter().filter_map(&mut read).collect();
    Hooks { before, after, refused }
}

fn load_one(source: &Source, config: &Config) -> Option<Hook> {
    let Source { kind, name, label, sha256, when } = source.clone();
    let found = match &kind {
        Kind::BuiltIn(bytes) => Ok(Bytes::BuiltIn(bytes)),
        Kind::File(path) => read_file(path).map(Bytes::Memory),
        Kind::Unknown => {
            let names = BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            Err(format!("no such built-in hook (there are: {names}); a file has a / in its name or ends in .wasm"))
        }
    };
    let bytes = match found {
        Ok(bytes) => bytes,
        Err(why) => {
            Line::new(Level::Error, why).about(&label).write();
            return None;
        }
    };
    let prepare = config.hook_prepare && bytes.length() <= PREPARED_SIZE;
    Some(Hook { name, label, sha256, when, prepare, preparation: None, bytes })
}

fn read_file(path: &Path) -> Result<File, String> {
    let not_regular = || "not a regular file".to_owned();
    // Without waiting: a FIFO that nobody writes to would hold the Job up for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file: File = match open(path, flags, Mode::empty()) {
        Ok(file) => file.into(),
        // What opening a socket says.
        Err(rustix::io::Errno::NXIO) => return Err(not_regular()),
        Err(errno) => return Err(words(errno)),
    };
    let metadata = file.metadata().map_err(words)?;
    if !metadata.is_file() {
        return Err(not_regular());
    }
    if metadata.len() > SIZE_LIMIT {
        return Err(too_large());
    }
    let copy = memory::copy_sealed(&mut file, SIZE_LIMIT + 1).map_err(words)?;
    match copy.metadata().map_err(words)?.len() {
        0 => Err("empty".into()),
        length if length > SIZE_LIMIT => Err(too_large()),
        _ => Ok(copy),
    }
}

fn too_large() -> String {
    format!("larger than {} MiB", SIZE_LIMIT / (1024 * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_or_ending_in_wasm_is_a_file() {
        for name in ["./echo", "/hooks/x", "hooks/dist/echo.wasm", "echo.wasm", "/echo", "a=./echo", "./a=echo"] {
            assert!(matches!(Source::parse(name.as_ref()).kind, Kind::File(_)), "{name}");
        }
        assert!(matches!(Source::parse("echo".as_ref()).kind, Kind::BuiltIn(_)));
        assert!(matches!(Source::parse("nosuch".as_ref()).kind, Kind::Unknown));
    }

    #[test]
    fn a_hook_is_named_after_its_file_unless_it_is_given_a_name() {
        for (text, name, variable) in [
            ("/hooks/my-quit.v2.wasm", "my-quit.v2", "HOOK_MY_QUIT_V2_ON"),
            ("istio-quit", "istio-quit", "HOOK_ISTIO_QUIT_ON"),
            ("slack=http", "slack", "HOOK_SLACK_ON"),
            ("to_slack=/hooks/a=b.wasm", "to_slack", "HOOK_TO_SLACK_ON"),
            ("=http", "=http", "HOOK__HTTP_ON"),
        ] {
            let source = Source::parse(text.as_ref());
            assert_eq!((source.name.as_str(), source.variable("ON").as_str()), (name, variable));
        }
    }
}
