//! Supervisor: explains why the kernel did not execute a file, where its error alone is not clear: no `#!` line,
//! another CPU, a missing interpreter. Reads the first bytes of the command's own file, once exec has failed, and
//! nothing else.

use crate::environment;
use nix::errno::Errno;
use rustix::{
    fs::{Access, FileType, StatVfsMountFlags, access, stat, statvfs},
    io::read,
    process::getuid,
    system::uname,
};
use std::ffi::{CStr, CString, OsStr};

/// Enough for the part of an ELF header that names its CPU, and for an interpreter's path of usual length. A longer
/// one is not named; the kernel itself looks at 256 bytes.
const LOOKED_AT: usize = 64;

/// Explains why none of the candidates for this name was executed; nothing where the kernel's error is clear already.
pub fn lacks(errno: Errno, name: &OsStr, candidates: &[CString]) -> Option<String> {
    let Some(file) = candidates.iter().find(|file| stat(file.as_c_str()).is_ok()) else {
        return if errno == Errno::ENOENT { not_found(name.to_str()?) } else { None };
    };
    match errno {
        Errno::EACCES => forbidden(file),
        Errno::ETXTBSY => Some("it is open for writing".into()),
        Errno::ENOENT => Some(missing(file)),
        Errno::ENOEXEC => {
            // Files that are not executable were passed over on the way to the one that is.
            let file = candidates.iter().find(|file| stat(file.as_c_str()).is_ok() && refused(file).is_none())?;
            let start = start(file)?;
            match interpreter(&start) {
                Some(interpreter) => of_interpreter(interpreter),
                None => Some(format(&start)),
            }
        }
        _ => None,
    }
}

/// The error that executing these candidates would end with, as far as the files show it. Whether a program is for this
/// CPU is left to the kernel, which may have an emulator for it.
pub fn expected(candidates: &[CString]) -> Option<Errno> {
    let mut errno = Errno::ENOENT;
    for file in candidates.iter().filter(|file| stat(file.as_c_str()).is_ok()) {
        if refused(file).is_some() {
            errno = Errno::EACCES;
            continue;
        }
        // One that cannot be read can be executed nevertheless.
        let start = start(file)?;
        if start.starts_with(b"\x7fELF") {
            return None;
        }
        if !start.starts_with(b"#!") {
            return Some(Errno::ENOEXEC);
        }
        let interpreter = CString::new(interpreter(&start)?).ok()?;
        if interpreter.is_empty() {
            return Some(Errno::ENOEXEC);
        }
        if stat(interpreter.as_c_str()).is_err() {
            return Some(Errno::ENOENT);
        }
        return refused(&interpreter).map(|_| Errno::EACCES);
    }
    Some(errno)
}

/// Bytes of a command line that the message repeats word by word. The reason is part of the termination message, which
/// has little room.
const SHORT: usize = 80;

/// Subcommands of other programs.
const SUBCOMMANDS: [&str; 3] = ["help", "list", "version"];

fn not_found(name: &str) -> Option<String> {
    if SUBCOMMANDS.contains(&name) {
        return Some("wrapper has no subcommands; see wrapper --help".into());
    }
    if name.trim().contains(char::is_whitespace) {
        let words: Vec<_> = name.split_whitespace().collect();
        let is_of_shell = |word: &&str| ["&&", "||", "|", ";", ">", ">>", "<"].contains(word) || word.ends_with(';');
        return Some(match name.len() {
            ..=SHORT if !words.iter().any(is_of_shell) => {
                format!("it is a single argument; in a manifest write {words:?}")
            }
            _ => "it is a single argument; run a script with sh -c".into(),
        });
    }
    Some(match name {
        "" => "it is an empty string".into(),
        // As a block scalar of YAML leaves it.
        _ if name != name.trim_ascii() => "it begins or ends with white space".into(),
        _ if name.contains('/') => return None,
        // Not where it was searched: the reason is for hooks too, which see no variable that is not theirs.
        _ => "not found in PATH".into(),
    })
}

fn forbidden(file: &CStr) -> Option<String> {
    if let Some(why) = refused(file) {
        return Some(format!("it is {why}"));
    }
    let start = start(file)?;
    let interpreter = interpreter(&start)?;
    let why = refused(&CString::new(interpreter).ok()?)?;
    Some(format!("its interpreter {:?} is {why}", String::from_utf8_lossy(interpreter)))
}

/// Reason why this file itself must not be executed.
fn refused(file: &CStr) -> Option<String> {
    let mode = stat(file).ok()?.st_mode;
    Some(match FileType::from_raw_mode(mode) {
        FileType::Directory => "a directory".into(),
        FileType::RegularFile if mode & 0o111 == 0 => "not executable: chmod +x".into(),
        FileType::RegularFile if statvfs(file).ok()?.f_flag.contains(StatVfsMountFlags::NOEXEC) => {
            "on a volume that is mounted noexec".into()
        }
        FileType::RegularFile if access(file, Access::EXEC_OK).is_err() => {
            format!("not executable for user {}: its mode is {:03o}", getuid().as_raw(), mode & 0o777)
        }
        FileType::RegularFile => return None,
        _ => "not a regular file".into(),
    })
}

/// The file exists, so its interpreter or loader is missing.
fn missing(file: &CStr) -> String {
    let what = "the file exists, but the interpreter or loader it names does not";
    match start(file).as_deref().and_then(interpreter) {
        Some(named) if named.ends_with(b"\r") => {
            format!("{what}: its first line ends with a carriage return; use Unix line endings")
        }
        Some(named) => format!("{what}: {:?}", String::from_utf8_lossy(named)),
        None => what.into(),
    }
}

/// The interpreter exists, too, but cannot be executed either.
fn of_interpreter(interpreter: &[u8]) -> Option<String> {
    let name = String::from_utf8_lossy(interpreter);
    if interpreter.is_empty() {
        return Some("its #! line names no interpreter".into());
    }
    let start = start(&CString::new(interpreter).ok()?)?;
    Some(format!("its interpreter {name:?}: {}", format(&start)))
}

/// The path behind `#!`, if all of it was read.
fn interpreter(start: &[u8]) -> Option<&[u8]> {
    let line = start.strip_prefix(b"#!")?;
    let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let line = line.get(blanks..)?;
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\n' | 0));
    match end {
        Some(end) => line.get(..end),
        None if start.len() < LOOKED_AT => Some(line),
        None => None,
    }
}

/// Kind of a file that is neither a program for this machine nor a script.
fn format(start: &[u8]) -> String {
    match start {
        [] => "it is empty".into(),
        [0x7f, b'E', b'L', b'F', ..] => elf(start),
        [b'M', b'Z', ..] => "it is a program for Windows".into(),
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 1..=9, ..] => {
            "it is a program for macOS".into()
        }
        [0, b'a', b's', b'm', ..] => "it is WebAssembly; run a hook with --after".into(),
        [0xef, 0xbb, 0xbf, b'#', b'!', ..] => "it starts with a byte order mark; save it without one".into(),
        // Text may be cut in the middle of a character.
        _ if !start.contains(&0) && std::str::from_utf8(start).map_or_else(|e| e.error_len().is_none(), |_| true) => {
            "it has no #! line; a script needs one, such as #!/bin/sh".into()
        }
        _ => "it is neither a program for Linux nor a script".into(),
    }
}

fn elf(start: &[u8]) -> String {
    let (Some(&[class, order]), Some(&[low_type, high_type, low, high])) =
        (start.get(4..6).and_then(|b| b.first_chunk()), start.get(16..20).and_then(|b| b.first_chunk()))
    else {
        return "it is a truncated program".into();
    };
    let word = |bytes: [u8; 2]| if order == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    let kind = word([low_type, high_type]);
    let machine = word([low, high]);
    let built = cpu(machine, class == 2, order != 2);
    let uname = uname();
    let here = uname.machine().to_string_lossy();
    match (kind, &built) {
        (OBJECT, _) => "it is an object file, not a linked program".into(),
        (CORE, _) => "it is a core dump, not a program".into(),
        (_, Some(built)) if *built == here || (*built == "arm" && here.starts_with("arm")) => {
            "it is a program for this machine, but damaged or truncated".into()
        }
        (_, Some(built)) => format!("it is built for {built}, this machine is {here}"),
        (_, None) => format!("it is built for another CPU (ELF machine {machine}), this machine is {here}"),
    }
}

/// Kinds of ELF file that are no programs (ET_REL, ET_CORE).
const OBJECT: u16 = 1;
const CORE: u16 = 4;

/// The CPU of an ELF file (e_machine) as `uname -m` calls it.
fn cpu(machine: u16, wide: bool, little: bool) -> Option<&'static str> {
    Some(match (machine, wide, little) {
        (3, ..) => "i386",
        (8, true, true) => "mips64el",
        (8, true, false) => "mips64",
        (8, false, true) => "mipsel",
        (8, false, false) => "mips",
        (20, ..) => "ppc",
        (21, _, true) => "ppc64le",
        (21, _, false) => "ppc64",
        (22, ..) => "s390x",
        (40, ..) => "arm",
        (62, true, _) => "x86_64",
        (62, false, _) => "x32",
        (183, ..) => "aarch64",
        (243, true, _) => "riscv64",
        (243, false, _) => "riscv32",
        (258, ..) => "loongarch64",
        _ => return None,
    })
}

/// The first bytes of a regular file; nothing that could block is opened or read.
fn start(file: &CStr) -> Option<Vec<u8>> {
    let file = environment::open_regular(file).ok()?;
    let mut bytes = [0; LOOKED_AT];
    let length = read(&file, &mut bytes).ok()?;
    bytes.get(..length).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of an ELF program.
    fn header(machine: u16, class: u8, order: u8, kind: u16) -> Vec<u8> {
        let word = |word: u16| if order == 2 { word.to_be_bytes() } else { word.to_le_bytes() };
        let mut bytes = b"\x7fELF".to_vec();
        bytes.extend([class, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(word(kind));
        bytes.extend(word(machine));
        bytes
    }

    #[test]
    fn a_program_for_another_cpu_is_named_in_either_byte_order() {
        for (machine, class, order, name) in [
            (183, 2, 1, "aarch64"),
            (22, 2, 2, "s390x"),
            (40, 1, 1, "arm"),
            (62, 1, 1, "x32"),
            (243, 2, 1, "riscv64"),
            (8, 1, 2, "mips"),
            (4660, 2, 1, "another CPU (ELF machine 4660)"),
        ] {
            let text = format(&header(machine, class, order, 2));
            let here = uname().machine().to_string_lossy().into_owned();
            if here != name {
                assert_eq!(text, format!("it is built for {name}, this machine is {here}"));
            }
        }
        assert_eq!(format(&header(62, 2, 1, 1)), "it is an object file, not a linked program");
        assert_eq!(format(&header(62, 2, 1, 4)), "it is a core dump, not a program");
        assert_eq!(format(b"\x7fELF\x02\x01"), "it is a truncated program");
    }

    #[test]
    fn the_interpreter_is_the_one_the_kernel_would_run() {
        let long = format!("#!/{}", "x".repeat(LOOKED_AT));
        for (start, path) in [
            ("#!/bin/sh", Some("/bin/sh")),
            ("#! \t/usr/bin/env -S python3\nprint()", Some("/usr/bin/env")),
            ("#!/bin/sh\r\n", Some("/bin/sh\r")),
            ("#!\n", Some("")),
            ("# !/bin/sh\n", None),
            (&long[..LOOKED_AT], None),
        ] {
            assert_eq!(interpreter(start.as_bytes()), path.map(str::as_bytes), "{start:?}");
        }
    }
}
