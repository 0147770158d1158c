//! `--install`: an init container puts this program into a volume that it shares with somebody else's image.
//!
//! Whoever looks at the path sees nothing, the program before, or the new one as a whole.

use crate::words::words;
use anyhow::{Context, Result, anyhow};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, fchmod, open, renameat, unlinkat},
    io::Errno,
    param::linux_execfn,
    process::getpid,
};
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, copy},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// What it is called in a directory that is given.
const NAME: &str = "wrapper";

/// For every user, whatever the umask: the container that runs it is often another user's than the one that installs.
const EXECUTABLE: Mode = Mode::from_raw_mode(0o755);

/// Copies this program to a path, or into a directory.
pub fn install(path: &Path) -> Result<()> {
    let target = if path.is_dir() { path.join(NAME) } else { path.to_owned() };
    let doing = || format!("cannot install to {:?}", target.to_string_lossy());
    let mut program = ourselves().context("cannot read this program").with_context(doing)?;
    // Beside the target, because a rename does not leave its file system.
    let mut fresh = target.clone().into_os_string();
    fresh.push(format!(".{}", getpid().as_raw_nonzero()));
    let fresh = PathBuf::from(fresh);
    let done = write(&mut program, &fresh).and_then(|()| Ok(renameat(CWD, &fresh, CWD, &target)?));
    if done.is_err() {
        let _ = unlinkat(CWD, &fresh, AtFlags::empty());
    }
    done.map_err(|error| anyhow!(words(error))).with_context(doing)
}

/// The file that is being run. Without `/proc` the kernel still tells by which path it was started (getauxval(3)).
fn ourselves() -> Result<File> {
    let path = Path::new("/proc/self/exe");
    File::open(path)
        .or_else(|_| File::open(OsStr::from_bytes(linux_execfn().to_bytes())))
        .map_err(|error| anyhow!(words(error)))
}

fn write(program: &mut File, path: &Path) -> io::Result<()> {
    // What an earlier try left that was killed; in a container it had the same process number.
    match unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(open(path, flags, EXECUTABLE)?);
    copy(program, &mut file)?;
    fchmod(&file, EXECUTABLE)?;
    // The name must not outlive a node's crash without its bytes.
    file.sync_all()
}
