//! All processes: writes lines to stderr, which they share with each other and with the command.
//!
//! A log reader that has exited or stalled must not block a Job: a line that is not read in time is dropped.
//! A line that was given up in its middle, or whose writer was killed there, is ended by the next line, whichever
//! process writes that: every line begins at the start of one.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, IoSlice, ReadWriteFlags, pwritev2, write},
    mm::{MapFlags, ProtFlags, mmap_anonymous},
    stdio::stderr,
};
use std::{
    ptr::null_mut,
    sync::{
        OnceLock,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Time that a process waits for a stalled reader, over all its lines. Long enough for a reader that is only slow,
/// short beside any time limit of a Job.
const WRITE_TIMEOUT: Duration = Duration::from_millis(200);

static WAITED_MICROS: AtomicU64 = AtomicU64::new(0);

/// State of the lines that all processes write. A page of zeros is one.
#[repr(C)]
struct Progress {
    /// Whether the last line has no end.
    torn: Flag,
    /// Whether some process is just handing bytes to the kernel, and would leave a line torn if it were killed.
    writing: Flag,
}

/// Any value but zero is true: a process that has escaped its sandbox could write any byte.
#[repr(transparent)]
struct Flag(AtomicU8);

impl Flag {
    const fn unset() -> Self {
        Self(AtomicU8::new(0))
    }

    fn set(&self, flag: bool) {
        self.0.store(flag.into(), Relaxed);
    }

    /// Whether it was set; it is not any more.
    fn take(&self) -> bool {
        self.0.swap(0, Relaxed) != 0
    }
}

/// Used if the page for [`SHARED`] cannot be mapped.
static UNSHARED: Progress = Progress { torn: Flag::unset(), writing: Flag::unset() };

static SHARED: OnceLock<&'static Progress> = OnceLock::new();

fn progress() -> &'static Progress {
    SHARED.get().copied().unwrap_or(&UNSHARED)
}

/// Shares what is known with the processes that are forked from here on. It costs a page once a line is written.
#[allow(unsafe_code)]
pub fn share() {
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
    let Ok(page) = (unsafe { mmap_anonymous(null_mut(), size_of::<Progress>(), protection, flags) }) else { return };
    // SAFETY: it is aligned to a page, holds zeros, which are two flags that are not set, and is never unmapped.
    if let Some(page) = unsafe { page.cast::<Progress>().as_ref() } {
        SHARED.get_or_init(|| page);
    }
}

/// To be called when a process of ours was killed: if that was in the middle of a line, the line is torn.
pub fn writer_was_killed() {
    let progress = progress();
    if progress.writing.take() {
        progress.torn.set(true);
    }
}

/// Writes as much as the reader accepts before [`WRITE_TIMEOUT`] is used up; drops the rest.
pub fn write_line(mut line: String) {
    line.push('\n');
    let progress = progress();
    let torn = progress.torn.take();
    if torn {
        line.insert(0, '\n');
    }
    if write_all(line.as_bytes(), progress) == 0 && torn {
        progress.torn.set(true);
    }
}

/// Writes as much as possible; returns the number of bytes.
fn write_all(bytes: &[u8], progress: &Progress) -> usize {
    let mut rest = bytes;
    loop {
        progress.writing.set(true);
        let result = try_write(rest);
        rest = rest.get(result.unwrap_or(0)..).unwrap_or_default();
        let begun = rest.len() < bytes.len();
        if begun && !rest.is_empty() {
            progress.torn.set(true);
        }
        progress.writing.set(false);
        let goes_on = match result {
            _ if rest.is_empty() => false,
            Ok(_) | Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => wait_for_reader(),
            Err(_) => false,
        };
        // If another process has ended the torn line by now, the rest would be a line without its beginning.
        if !goes_on || (begun && !progress.torn.take()) {
            return bytes.len() - rest.len();
        }
    }
}

/// Writes without blocking, though stderr is shared with the command and so cannot be made non-blocking.
fn try_write(bytes: &[u8]) -> Result<usize, Errno> {
    /// The offset that stands for "where the file is".
    const CURRENT: u64 = u64::MAX;
    match pwritev2(stderr(), &[IoSlice::new(bytes)], CURRENT, ReadWriteFlags::NOWAIT) {
        // Terminals, and pipes of older kernels, cannot be asked for this; a terminal that was stopped with Ctrl-S,
        // like a full pipe, is at least not ready.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE | Errno::PERM) => {
            if ready(Duration::ZERO) {
                write(stderr(), bytes.get(..bytes.len().min(PIPE_BUF)).unwrap_or(bytes))
            } else {
                Err(Errno::AGAIN)
            }
        }
        result => result,
    }
}

/// A pipe that is ready takes this many bytes without blocking (pipe(7)).
const PIPE_BUF: usize = 4096;

fn wait_for_reader() -> bool {
    let left = WRITE_TIMEOUT.saturating_sub(Duration::from_micros(WAITED_MICROS.load(Relaxed)));
    let start = Instant::now();
    let ready = !left.is_zero() && ready(left);
    let waited = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    // A file that refuses to be written without waiting is always ready; count each try for it to end.
    WAITED_MICROS.fetch_add(waited.max(1000), Relaxed);
    ready
}

fn ready(timeout: Duration) -> bool {
    let stderr = stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    matches!(poll(&mut fds, Timespec::try_from(timeout).ok().as_ref()), Ok(1..))
}
