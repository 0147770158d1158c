//! Supervisor: `--install`: an init container copies this binary into a volume shared with a container whose image
//! lacks it.
//!
//! The path holds nothing, the previous binary, or all of the new one, at any time. Signals are blocked meanwhile: only
//! SIGKILL leaves a part of a copy beside it.

use crate::text::strerror;
use anyhow::{Context, Result, anyhow};
use rustix::{
    param::linux_execfn,
    rand::{GetRandomFlags, getrandom},
};
use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

/// Name of the copy in a directory.
const NAME: &str = "wrapper";

/// For every user, whatever the umask: the container that runs it often has another user than the one that installs it.
const EXECUTABLE: u32 = 0o755;

/// Copies this binary to a path, or into a directory.
pub fn install(path: &Path) -> Result<()> {
    let target = if path.is_dir() { path.join(NAME) } else { path.to_owned() };
    let doing = || format!("cannot install to {:?}", target.to_string_lossy());
    // `new/` names a directory itself.
    let directory = if target.as_os_str().as_bytes().ends_with(b"/") { Some(&*target) } else { target.parent() };
    if let Some(directory) = directory.filter(|directory| !directory.as_os_str().is_empty() && !directory.exists()) {
        return Err(anyhow!("the directory {:?} does not exist", directory.to_string_lossy())).with_context(doing);
    }
    let mut program = ourselves().context("cannot read this binary").with_context(doing)?;
    replace(&mut program, &target).map_err(|error| anyhow!(strerror(error))).with_context(doing)
}

/// The file that is being run. Without `/proc` the path by which it was started is in the auxiliary vector
/// (getauxval(3)).
fn ourselves() -> Result<File> {
    let path = Path::new("/proc/self/exe");
    File::open(path)
        .or_else(|_| File::open(OsStr::from_bytes(linux_execfn().to_bytes())))
        .map_err(|error| anyhow!(strerror(error)))
}

/// Writes the binary beside the target, on the same file system, and renames it: the target is replaced atomically.
fn replace(program: &mut File, target: &Path) -> io::Result<()> {
    if fs::symlink_metadata(target).is_ok_and(|it| !it.is_file() && !it.is_symlink()) {
        return Err(io::Error::other("not a regular file"));
    }
    // A process ID would not be unique: each installer may have the same one in its own container.
    let mut random = [0; 8];
    getrandom(&mut random, GetRandomFlags::empty())?;
    let fresh = target.with_file_name(format!(".{NAME}-{:016x}", u64::from_ne_bytes(random)));
    let done = write(program, &fresh).and_then(|()| fs::rename(&fresh, target));
    if done.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    done
}

fn write(program: &mut File, path: &Path) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    io::copy(program, &mut file)?;
    file.set_permissions(Permissions::from_mode(EXECUTABLE))?;
    // After a crash of the node the name must not exist without its bytes.
    file.sync_all()
}
