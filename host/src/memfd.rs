//! All processes: files in memory (memfd_create(2)) that our processes share, and that none can change once they are
//! sealed.

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::FileExt,
};

/// Rights that sealing takes away.
const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK).union(SealFlags::SEAL);

/// An empty file that can be sealed.
pub fn create(name: &str) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Before Linux 6.3 the flag is unknown; since then a node may demand it (sysctl vm.memfd_noexec).
    let fd = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags)?,
        result => result?,
    };
    Ok(fd.into())
}

/// Copies at most `limit` bytes of `source` into a file that no process can change any more.
pub fn copy_sealed(source: &mut File, limit: u64) -> io::Result<File> {
    let mut copy = create("hook")?;
    // Small, so that the supervisor's stack does not grow by it.
    let mut buffer = [0; 4096];
    let mut source = source.take(limit);
    loop {
        let length = source.read(&mut buffer)?;
        match buffer.get(..length) {
            None | Some([]) => break,
            Some(bytes) => copy.write_all(bytes)?,
        }
    }
    seal(&copy)?;
    Ok(copy)
}

pub fn seal(file: &File) -> io::Result<()> {
    Ok(fcntl_add_seals(file, SEALS)?)
}

pub fn is_sealed(file: &File) -> bool {
    fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SEALS))
}

/// Bytes in the file.
pub fn length(file: &File) -> u64 {
    // Not metadata(), whose system call the sandbox forbids.
    fstat(file).map_or(0, |stat| stat.st_size.unsigned_abs())
}

/// All bytes of the file. The position in it is shared between processes and so is not used.
pub fn read(file: &File) -> io::Result<Vec<u8>> {
    // Not metadata(), whose system call could also name a file.
    let length = usize::try_from(fstat(file)?.st_size).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
