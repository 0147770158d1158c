//! Supervisor: starts the command: fork, the signal state that wrapper inherited, exec; and the reason if that fails.
//!
//! Not std's `Command`, which runs a file that the kernel refuses as a shell script, as execvp(3) does, and needs a
//! shell for it.

use super::{
    command_cgroup::CommandCgroup,
    not_executable, oom,
    process::{exit_now, fork_for_exec, nix_errno},
    signals::Signals,
    terminal::Terminal,
};
use crate::{
    environment, log,
    outcome::{CANNOT_EXECUTE, NOT_FOUND, Outcome, WRAPPER_FAILED},
    text::strerror,
    trace::{self, Trace},
};
use nix::errno::Errno;
use rustix::{
    io::{read, write},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, getpid, setpgid},
};
use std::{
    convert::Infallible,
    env,
    ffi::{CStr, CString, OsStr, OsString, c_char},
    os::unix::ffi::{OsStrExt, OsStringExt},
    ptr::null,
};

/// Search path when PATH is not set (`getconf PATH`).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Starts the command in a process group of its own, which gets the terminal if it has that for itself, and in this
/// cgroup.
pub fn spawn(
    command: &[OsString],
    trace: &Trace,
    signals: &Signals,
    terminal: Option<&Terminal>,
    cgroup: Option<&CommandCgroup>,
) -> Result<Pid, Outcome> {
    let name = command.first().cloned().unwrap_or_default();
    let failed = |errno: Errno, code: u8| {
        let reason = reason(errno, &name, &candidates(&name));
        log::error(format!("cannot start {:?}: {reason}", name.to_string_lossy()));
        Outcome::not_started(reason, code)
    };
    let Ok(args) = command.iter().map(|arg| CString::new(arg.as_bytes())).collect::<Result<Vec<_>, _>>() else {
        return Err(failed(Errno::EINVAL, CANNOT_EXECUTE));
    };
    let program = Program::new(candidates(&name), args, Variables::with(trace));
    let (errors, report) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(nix_errno(e), WRAPPER_FAILED))?;
    // Checked before there is a new group, which could be mistaken for wrapper's.
    let gets_terminal = terminal.filter(|terminal| terminal.alone && terminal.is_ours());
    let oom_score = oom::spare_wrapper(cgroup.is_some());
    let child = fork_for_exec(|| -> Infallible {
        let _ = setpgid(None, None);
        if let Some(terminal) = gets_terminal {
            terminal.set(getpid());
        }
        signals.restore();
        // A command that could never be killed would leave its container without memory for good.
        let restored = oom_score.as_ref().map_or(Ok(()), oom::Inherited::restore);
        // Before it can start others, which would not be in it.
        let errno = match restored.and_then(|()| cgroup.map_or(Ok(()), CommandCgroup::enter)) {
            Ok(()) => program.exec(),
            Err(error) => nix_errno(error),
        };
        let _ = write(&report, &(errno as i32).to_ne_bytes());
        exit_now(NOT_FOUND)
    })
    .map_err(|errno| failed(errno, WRAPPER_FAILED))?;
    drop(report);
    // The pipe closes when the new program has started, and thus has its group; otherwise the reason why it has not
    // comes through it.
    let mut errno = [0; 4];
    match read(&errors, &mut errno) {
        Ok(4) => {
            if let Some(terminal) = terminal {
                terminal.take_back_from(child);
            }
            // The child that only reported this is ours to reap, like every other, in the loop.
            let errno = Errno::from_raw(i32::from_ne_bytes(errno));
            let code = if errno == Errno::ENOENT { NOT_FOUND } else { CANNOT_EXECUTE };
            Err(failed(errno, code))
        }
        _ => Ok(child),
    }
}

/// Why the command could not be started here, as far as that is seen without trying.
pub fn reason_not_to_start(command: &[OsString]) -> Option<String> {
    let name = command.first()?;
    let candidates = candidates(name);
    let errno = not_executable::expected(&candidates)?;
    Some(format!("{:?}: {}", name.to_string_lossy(), reason(errno, name, &candidates)))
}

/// The system's message, and what it leaves open.
fn reason(errno: Errno, name: &OsStr, candidates: &[CString]) -> String {
    let message = strerror(errno);
    match not_executable::lacks(errno, name, candidates) {
        Some(lacking) => format!("{message} ({lacking})"),
        None => message,
    }
}

/// What exec takes, made before there is a child: that one borrows wrapper's memory, and must not be killed while it
/// changes what the allocator knows.
struct Program {
    files: Vec<CString>,
    /// Pointers to the arguments, and a null pointer.
    argv: Vec<*const c_char>,
    /// What they point to.
    _arguments: Vec<CString>,
    /// Its variables if they are others than wrapper's own.
    variables: Option<Variables>,
}

impl Program {
    fn new(files: Vec<CString>, arguments: Vec<CString>, variables: Option<Variables>) -> Self {
        let argv = arguments.iter().map(|argument| argument.as_ptr()).chain([null()]).collect();
        Self { files, argv, _arguments: arguments, variables }
    }

    /// Replaces this process by the first file that can be executed; returns why none could.
    #[allow(unsafe_code)]
    fn exec(&self) -> Errno {
        let mut reason = Errno::ENOENT;
        for file in &self.files {
            // SAFETY: these are strings that end in a zero, and lists that end in a null pointer (execve(2)).
            unsafe {
                match &self.variables {
                    None => libc::execv(file.as_ptr(), self.argv.as_ptr()),
                    Some(variables) => libc::execve(file.as_ptr(), self.argv.as_ptr(), variables.list.as_ptr()),
                };
            }
            match Errno::last() {
                // As execvp(3): look on, and remember that there was a file that may not be executed.
                Errno::EACCES if self.files.len() > 1 => reason = Errno::EACCES,
                Errno::ENOENT | Errno::ENOTDIR if self.files.len() > 1 => {}
                errno => return errno,
            }
        }
        reason
    }
}

/// Wrapper's own variables, and the command's place in a trace.
struct Variables {
    /// Pointers to them, and a null pointer.
    list: Vec<*const c_char>,
    _traceparent: CString,
}

impl Variables {
    /// `None` if the command has no span.
    fn with(trace: &Trace) -> Option<Self> {
        let traceparent = CString::new([trace::VARIABLE, trace.command()?].concat()).ok()?;
        // Vendors' additions belong to the parent.
        let replaced = |variable: &CStr| {
            let is = |name: &[u8]| variable.to_bytes().starts_with(name);
            is(trace::VARIABLE) || (is(trace::STATE) && trace.parent().is_none())
        };
        let kept = environment::strings().filter(|variable| !replaced(variable)).map(CStr::as_ptr);
        let list = kept.chain([traceparent.as_ptr(), null()]).collect();
        Some(Self { list, _traceparent: traceparent })
    }
}

/// The files a name may stand for: itself if it has a slash, otherwise one in each directory of PATH.
fn candidates(name: &OsString) -> Vec<CString> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.as_bytes().contains(&b'/') {
        return CString::new(name.as_bytes()).into_iter().collect();
    }
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let files = env::split_paths(&path).map(|directory| directory.join(name).into_os_string().into_vec());
    files.filter_map(|file| CString::new(file).ok()).collect()
}
