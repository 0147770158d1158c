//! All processes: the container's variables and files, read before the sandbox takes both away. Variables are read
//! in place, on the stack: some are secrets, and a freed copy would still be in memory.

use crate::text::strerror;
use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    path::Arg,
};
use std::{
    ffi::{CStr, c_char},
    fs::File,
    io::Read,
    iter::from_fn,
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr::{null_mut, write_bytes},
};

#[allow(unsafe_code, reason = "the C library's list")]
unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// All variables, each as `NAME=value`. std's would copy them, names and values.
pub fn variables() -> impl Iterator<Item = &'static [u8]> {
    strings().map(CStr::to_bytes)
}

/// The same as the strings of the C library.
#[allow(unsafe_code)]
pub fn strings() -> impl Iterator<Item = &'static CStr> {
    // SAFETY: a null pointer ends the list (environ(7)), which does not change: there is one thread, no variable is
    // ever set, and a process that has wiped them reads none afterwards.
    let mut next = unsafe { environ };
    from_fn(move || {
        // SAFETY: the same, and each is a string that ends with a zero.
        unsafe {
            let variable = next.as_ref().filter(|variable| !variable.is_null())?;
            next = next.add(1);
            Some(CStr::from_ptr(*variable))
        }
    })
}

/// The value of a variable as hooks read it: text, trimmed; an empty one counts as not set. It is not copied.
pub fn variable(name: &str) -> Option<&'static str> {
    let value = variables().find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    str::from_utf8(value).ok().map(str::trim_ascii).filter(|value| !value.is_empty())
}

/// The names of the variables that are set and not empty, whether their values are text or not.
pub fn names() -> impl Iterator<Item = &'static str> {
    let name = |variable: &'static [u8]| {
        let (name, value) = variable.split_at_checked(variable.iter().position(|byte| *byte == b'=')?)?;
        str::from_utf8(name).ok().filter(|_| value.trim_ascii() != b"=")
    };
    variables().filter_map(name)
}

/// Overwrites all variables with zeros and empties the list of them. What is needed has been copied before.
#[allow(unsafe_code)]
pub fn wipe() {
    // SAFETY: as above; the list and the strings are on the stack, where they can be written to (execve(2)).
    unsafe {
        let mut next = environ;
        while let Some(variable) = next.as_mut().filter(|variable| !variable.is_null()) {
            write_bytes(*variable, 0, CStr::from_ptr(*variable).count_bytes());
            *variable = null_mut();
            next = next.add(1);
        }
    }
}

/// Opens a regular file to read it. Without waiting: a FIFO without a writer would block the Job forever.
pub fn open_regular(path: impl Arg) -> Result<File, String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        // The error for opening a socket.
        Err(Errno::NXIO) => return Err(NOT_REGULAR.into()),
        Err(errno) => return Err(strerror(errno)),
    };
    if file.metadata().map_err(strerror)?.is_file() { Ok(file) } else { Err(NOT_REGULAR.into()) }
}

const NOT_REGULAR: &str = "not a regular file";

/// The bytes of a file: up to one byte over the limit, so that the caller can tell that the file is longer.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(limit + 1).read_to_end(&mut bytes).map_err(strerror)?;
    Ok(bytes)
}

/// Bytes of a path that are repeated in a line: file systems have names of at most 255.
const LONGEST_PATH: usize = 255;

/// The problem with a file that a variable names. A key in the place of its path is not repeated.
pub fn problem_of_file(variable: &str, path: &Path, why: &str) -> String {
    let shown = path.as_os_str().as_bytes();
    if shown.len() > LONGEST_PATH || shown.contains(&b'\n') {
        return format!("{variable} has the content of a file; it takes the file's path");
    }
    format!("{variable} {path:?}: {why}")
}

/// The problem with a file of more bytes than this, a number of MiB.
pub fn larger_than(limit: u64) -> String {
    format!("larger than {} MiB", limit >> 20)
}

/// The text of a file up to the limit, truncated at the end of a line.
pub fn read_lines(path: &str, limit: u64) -> Vec<u8> {
    let mut bytes = read_file(Path::new(path), limit).unwrap_or_default();
    if bytes.len() as u64 > limit {
        let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        bytes.truncate(end);
    }
    bytes
}
