//! Supervisor: reads the bytes of hooks before the command starts, and does not look at them.

use super::{
    Common, Hooks, Settings, memfd,
    preparation::Preparation,
    spec::{self, Listed, Source, Spec},
};
use crate::{
    log::{Label, Level, Line},
    text::strerror,
};
use rustix::fs::{Mode, OFlags, fstat, open};
use std::{borrow::Cow, fs::File, io, os::fd::AsRawFd, path::Path, sync::Arc};

/// Room for a Python interpreter in a component (18 MB), and little enough to be checked in under two seconds. What a
/// ConfigMap can hold is a thirty-second of it.
const SIZE_LIMIT: u64 = 32 * 1024 * 1024;

/// Largest hook that is compiled beside the command: a larger one takes more memory than its container should lend for
/// it, and is compiled when it runs.
const PRECOMPILED_SIZE: u64 = 8 * 1024 * 1024;

/// A hook whose bytes have been read.
pub struct Hook {
    pub label: Label,
    pub settings: Arc<Settings>,
    /// Whether it is compiled beside the command.
    pub precompile: bool,
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
            // Not metadata(), whose system call the sandbox forbids.
            Self::Memory(file) => fstat(file).map_or(0, |stat| stat.st_size.unsigned_abs()),
        }
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

    /// The variables of a product itself that a built-in hook for it reads besides `HOOK_…`. A file is given none of
    /// them.
    pub fn product_variables(&self) -> &'static [&'static str] {
        match self.bytes {
            Bytes::BuiltIn(bytes) => spec::product_variables(bytes),
            Bytes::Memory(_) => &[],
        }
    }

    /// Its size in bytes.
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
pub fn load(before: &[Listed], after: &[Listed], common: &Common) -> Hooks {
    let mut unusable = None;
    let mut read = |listed: &Listed| {
        let hook = load_one(listed, common);
        if hook.is_none() {
            unusable.get_or_insert_with(|| listed.spec.label.clone());
        }
        hook
    };
    let before = before.iter().filter_map(&mut read).collect();
    let after = after.iter().filter_map(&mut read).collect();
    Hooks { before, after, unusable }
}

fn load_one(listed: &Listed, common: &Common) -> Option<Hook> {
    let Listed { spec: Spec { source, label, .. }, settings } = listed;
    let found = match source {
        Source::BuiltIn(bytes) => Ok(Bytes::BuiltIn(bytes)),
        Source::File(path) => read_file(path).map(Bytes::Memory),
        Source::Unknown => {
            let names = spec::built_in().join(", ");
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
    let precompile = common.precompile && bytes.length() <= PRECOMPILED_SIZE;
    Some(Hook { label: label.clone(), settings: settings.clone(), precompile, preparation: None, bytes })
}

fn read_file(path: &Path) -> Result<File, String> {
    let not_regular = || "not a regular file".to_owned();
    // Without waiting: a FIFO without a writer would hold the Job up for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file: File = match open(path, flags, Mode::empty()) {
        Ok(file) => file.into(),
        // The error for opening a socket.
        Err(rustix::io::Errno::NXIO) => return Err(not_regular()),
        Err(errno) => return Err(strerror(errno)),
    };
    let metadata = file.metadata().map_err(strerror)?;
    if !metadata.is_file() {
        return Err(not_regular());
    }
    if metadata.len() > SIZE_LIMIT {
        return Err(too_large());
    }
    let copy = memfd::copy_sealed(&mut file, SIZE_LIMIT + 1).map_err(strerror)?;
    match copy.metadata().map_err(strerror)?.len() {
        0 => Err("empty".into()),
        length if length > SIZE_LIMIT => Err(too_large()),
        _ => Ok(copy),
    }
}

fn too_large() -> String {
    format!("larger than {} MiB", SIZE_LIMIT / (1024 * 1024))
}
