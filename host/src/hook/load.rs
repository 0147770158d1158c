//! From a hook's name to its bytes, as they are before the command starts. Bytes are read here and not yet
//! understood.

use super::{Hooks, memory};
use crate::{
    cli::Config,
    log::{Level, Line},
    words::words,
};
use rustix::fs::{Mode, OFlags, open};
use std::{
    borrow::Cow,
    ffi::OsStr,
    fs::File,
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

/// The hooks that are part of the binary.
const BUILT_IN: [(&str, &[u8]); 2] = [
    ("echo", include_bytes!("../../../hooks/dist/echo.wasm")),
    ("istio-quit", include_bytes!("../../../hooks/dist/istio-quit.wasm")),
];

/// Room for a JavaScript engine in a component, and little enough to be checked in under a second. What a ConfigMap
/// can hold is a sixteenth of it.
const SIZE_LIMIT: u64 = 16 * 1024 * 1024;

/// Where a hook comes from.
#[derive(Clone, Debug)]
pub struct Source {
    kind: Kind,
    /// The digest its bytes must have.
    pub sha256: Option<[u8; 32]>,
}

#[derive(Clone, Debug)]
enum Kind {
    BuiltIn(&'static str, &'static [u8]),
    File(PathBuf),
    /// A name that no built-in hook has.
    Unknown(String),
}

/// A hook whose bytes have been read.
pub struct Hook {
    /// What its own lines are marked with: `istio-quit`.
    pub name: String,
    /// What lines about it call it: the name or the path, as the user wrote it.
    pub label: String,
    pub sha256: Option<[u8; 32]>,
    /// Machine code for it, once the file is sealed.
    pub code: Option<File>,
    bytes: Bytes,
}

enum Bytes {
    BuiltIn(&'static [u8]),
    Memory(File),
}

impl Source {
    /// A file if the name has a `/` or ends in `.wasm`, otherwise a built-in hook.
    pub fn parse(name: &OsStr) -> Self {
        let kind = if name.as_bytes().contains(&b'/') || name.as_bytes().ends_with(b".wasm") {
            Kind::File(name.into())
        } else if let Some((name, bytes)) = BUILT_IN.iter().find(|(built_in, _)| name == *built_in) {
            Kind::BuiltIn(name, bytes)
        } else {
            Kind::Unknown(name.to_string_lossy().into_owned())
        };
        Self { kind, sha256: None }
    }
}

impl Hook {
    /// The bytes that were read when the wrapper started.
    pub fn bytes(&self) -> io::Result<Cow<'static, [u8]>> {
        Ok(match &self.bytes {
            Bytes::BuiltIn(bytes) => Cow::Borrowed(bytes),
            Bytes::Memory(file) => Cow::Owned(memory::read(file)?),
        })
    }

    /// Its machine code, if that is there.
    pub fn prepared(&self) -> Option<&File> {
        self.code.as_ref().filter(|code| memory::is_sealed(code))
    }

    /// The descriptors of its bytes and its code.
    pub fn descriptors(&self) -> Vec<i32> {
        let bytes = match &self.bytes {
            Bytes::BuiltIn(_) => None,
            Bytes::Memory(file) => Some(file),
        };
        bytes.into_iter().chain(&self.code).map(AsRawFd::as_raw_fd).collect()
    }

    /// A built-in hook with no digest to compare has been checked when the wrapper was built.
    pub fn needs_check(&self) -> bool {
        matches!(self.bytes, Bytes::Memory(_)) || self.sha256.is_some()
    }
}

/// Reads all hooks. What cannot be read is named in the log.
pub fn load(config: &Config) -> Hooks {
    let mut incomplete = false;
    let mut read_all = |sources: &[Source]| {
        let hooks: Vec<Hook> = sources.iter().filter_map(load_one).collect();
        incomplete |= hooks.len() < sources.len();
        hooks
    };
    let (before, after) = (read_all(&config.before), read_all(&config.after));
    Hooks { before, after, incomplete }
}

fn load_one(source: &Source) -> Option<Hook> {
    let (name, label, bytes) = match &source.kind {
        Kind::BuiltIn(name, bytes) => ((*name).to_owned(), (*name).to_owned(), Bytes::BuiltIn(bytes)),
        Kind::Unknown(name) => {
            let names = BUILT_IN.map(|(name, _)| name).join(", ");
            let why =
                format!("no such built-in hook (there are: {names}); a file has a / in its name or ends in .wasm");
            Line::new(Level::Error, why).about(name).write();
            return None;
        }
        Kind::File(path) => {
            let label = path.to_string_lossy().into_owned();
            let name = path.file_stem().map_or_else(|| label.clone(), |stem| stem.to_string_lossy().into_owned());
            match read_file(path) {
                Ok(file) => (name, label, Bytes::Memory(file)),
                Err(why) => {
                    Line::new(Level::Error, why).about(&label).write();
                    return None;
                }
            }
        }
    };
    let code = memory::create("code").ok();
    Some(Hook { name, label, sha256: source.sha256, code, bytes })
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
        for name in ["./echo", "/hooks/x", "hooks/dist/echo.wasm", "echo.wasm", "/echo"] {
            assert!(matches!(Source::parse(name.as_ref()).kind, Kind::File(_)), "{name}");
        }
        assert!(matches!(Source::parse("echo".as_ref()).kind, Kind::BuiltIn("echo", _)));
        assert!(matches!(Source::parse("nosuch".as_ref()).kind, Kind::Unknown(_)));
    }
}
