//! Runner: writes a hook's output to the log, line by line, marked with its name, and limits it.

use crate::log::{Label, Level, Line};
use bytes::Bytes;
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// Bytes of output in the log: a page is useful, a flood costs storage.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// Lines of output in the log: each costs more than its own bytes.
const LINES_LIMIT: usize = 2048;

/// A line without an end is cut here, so that it needs no more memory than this.
const LINE_LIMIT: usize = 4096;

/// Bytes that a hook may write at once.
const WRITE_LIMIT: usize = 64 * 1024;

/// A hook's share of the log, for its streams and its messages together.
#[derive(Clone)]
pub struct Output {
    hook: Label,
    left: Arc<Mutex<Left>>,
}

/// Rest of a hook's share; nothing once something was truncated.
struct Left {
    bytes: usize,
    lines: usize,
}

impl Output {
    pub fn new(hook: &Label) -> Self {
        let left = Left { bytes: OUTPUT_LIMIT, lines: LINES_LIMIT };
        Self { hook: hook.clone(), left: Arc::new(Mutex::new(left)) }
    }

    /// The lines of a message, each cut where a line of a stream is cut too.
    pub fn lines(message: &str) -> impl Iterator<Item = &str> {
        message.lines().flat_map(|line| {
            let mut rest = line;
            std::iter::from_fn(move || {
                if rest.is_empty() {
                    return None;
                }
                let (piece, after) = rest.split_at_checked(rest.floor_char_boundary(LINE_LIMIT))?;
                rest = after;
                Some(piece)
            })
        })
    }

    /// Writes the part of a line that still fits, and logs once that output was truncated.
    pub fn admit(&self, line: &str, write: impl FnOnce(&str)) {
        let mut left = lock(&self.left);
        if left.lines == 0 || line.is_empty() {
            return;
        }
        let fits = line.floor_char_boundary(left.bytes);
        let cut = fits < line.len() || left.lines == 1;
        if fits > 0 {
            write(line.get(..fits).unwrap_or(line));
        }
        left.bytes = left.bytes.saturating_sub(line.len() + 1);
        left.lines = if cut { 0 } else { left.lines - 1 };
        if cut {
            Line::new(Level::Warn, "output truncated").about_hook(&self.hook).write();
        }
    }

    /// A stream for the hook's stdout or stderr.
    pub fn stream(&self) -> Stream {
        Stream { output: self.clone(), partial: Arc::default() }
    }
}

/// One of a hook's output streams. What it writes is collected to lines.
#[derive(Clone)]
pub struct Stream {
    output: Output,
    partial: Arc<Mutex<Vec<u8>>>,
}

impl Stream {
    fn put(&self, bytes: &[u8]) {
        let mut partial = lock(&self.partial);
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = LINE_LIMIT.saturating_sub(partial.len()).min(rest.len());
            let end = rest.iter().take(room).position(|byte| *byte == b'\n').map_or(room, |end| end + 1);
            let (piece, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            partial.extend_from_slice(piece);
            rest = after;
            if partial.ends_with(b"\n") || partial.len() >= LINE_LIMIT {
                self.write(&std::mem::take(&mut *partial));
            }
        }
    }

    /// Writes what is left without a line end.
    pub fn finish(&self) {
        let rest = std::mem::take(&mut *lock(&self.partial));
        if !rest.is_empty() {
            self.write(&rest);
        }
    }

    fn write(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        self.output.admit(line.trim_end_matches(['\n', '\r']), |line| {
            Line::new(Level::Info, line).by_hook(&self.output.hook).write();
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_LIMIT)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.put(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
