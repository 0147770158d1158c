//! Reading a file of the container, before no file can be opened any more. Its bytes are understood later.

use crate::text::strerror;
use rustix::fs::{Mode, OFlags, open};
use std::{fs::File, io::Read, path::Path};

/// At most one byte more than the limit, by which the reader knows that there is more.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    // Without waiting: a FIFO that nobody writes to would hold the hook up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file: File = open(path, flags, Mode::empty()).map_err(strerror)?.into();
    if !file.metadata().map_err(strerror)?.is_file() {
        return Err("not a regular file".into());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(strerror)?;
    Ok(bytes)
}

/// The text of a file as far as the limit goes: what is cut off ends with a whole line.
pub fn read_lines(path: &str, limit: u64) -> Vec<u8> {
    let mut bytes = read(Path::new(path), limit).unwrap_or_default();
    if bytes.len() as u64 > limit {
        let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        bytes.truncate(end);
    }
    bytes
}
