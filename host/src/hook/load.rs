//! From a hook's name to its bytes, as they are before the command starts. Bytes are read here and not yet
//! understood.

use super::{Hooks, Settings, memfd, preparation::Preparation};
use crate::{
    cli::Config,
    log::{Label, Level, Line},
    text::words,
};
use rustix::fs::{Mode, OFlags, fstat, open};
use std::{
    borrow::Cow,
    ffi::OsStr,
    fs::File,
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::Arc,
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
    /// The name it has where the user gives it none: that of the built-in hook, or of the file without `.wasm`.
    own_name: String,
    pub label: Label,
}

#[derive(Clone, Debug)]
enum Kind {
    BuiltIn(&'static [u8]),
    File(PathBuf),
    /// A name that no built-in hook has.
    Unknown,
}

/// A hook that the user listed.
#[derive(Clone, Debug)]
pub struct Listed {
    pub source: Source,
    pub settings: Arc<Settings>,
}

/// A hook whose bytes have been read.
pub struct Hook {
    pub label: Label,
    pub settings: Arc<Settings>,
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
        let source = hook.to_string_lossy().into_owned();
        let (kind, own_name) = if hook.as_bytes().contains(&b'/') || hook.as_bytes().ends_with(b".wasm") {
            let path = PathBuf::from(hook);
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            (Kind::File(path), stem.unwrap_or_else(|| source.clone()))
        } else if let Some((name, bytes)) = BUILT_IN.iter().find(|(built_in, _)| hook == *built_in) {
            (Kind::BuiltIn(bytes), (*name).to_owned())
        } else {
            (Kind::Unknown, source.clone())
        };
        let name = given.unwrap_or_else(|| own_name.clone());
        Self { kind, own_name, label: Label { name, source } }
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

impl Hook {
    /// The bytes that were read when the wrapper started.
    pub fn bytes(&self) -> io::Result<Cow<'static, [u8]>> {
        Ok(match &self.bytes {
            Bytes::BuiltIn(bytes) => Cow::Borrowed(bytes),
            Bytes::Memory(file) => Cow::Owned(memfd::read(file)?),
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
        matches!(self.bytes, Bytes::Memory(_)) || self.settings.sha256.is_some()
    }
}

/// Reads all hooks. What cannot be read is named in the log.
pub fn load(config: &Config) -> Hooks {
    let mut refused = None;
    let mut read = |listed: &Listed| {
        let hook = load_one(listed, config);
        if hook.is_none() {
            refused.get_or_insert_with(|| listed.source.label.clone());
        }
        hook
    };
    let before = config.before.iter().filter_map(&mut read).collect();
    let after = config.after.iter().filter_map(&mut read).collect();
    Hooks { before, after, refused }
}

fn load_one(listed: &Listed, config: &Config) -> Option<Hook> {
    let Listed { source: Source { kind, label, .. }, settings } = listed;
    let found = match kind {
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
            Line::new(Level::Error, why).about_source(label).write();
            return None;
        }
    };
    let prepare = config.hook_prepare && bytes.length() <= PREPARED_SIZE;
    Some(Hook { label: label.clone(), settings: settings.clone(), prepare, preparation: None, bytes })
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
    let copy = memfd::copy_sealed(&mut file, SIZE_LIMIT + 1).map_err(words)?;
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
        for (text, name, own_name, source) in [
            ("/hooks/my-quit.v2.wasm", "my-quit.v2", "my-quit.v2", "/hooks/my-quit.v2.wasm"),
            ("istio-quit", "istio-quit", "istio-quit", "istio-quit"),
            ("slack=http", "slack", "http", "http"),
            ("to_slack=/hooks/a=b.wasm", "to_slack", "a=b", "/hooks/a=b.wasm"),
            ("=http", "=http", "=http", "=http"),
        ] {
            let Source { label, own_name: found, .. } = Source::parse(text.as_ref());
            assert_eq!((label.name.as_str(), label.source.as_str(), found.as_str()), (name, source, own_name));
        }
    }
}
