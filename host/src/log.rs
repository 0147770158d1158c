//! The one place that writes to stderr; nothing of ours is ever written to stdout.
//!
//! A log reader may have gone or stalled, and neither may keep a Job from ending: a line that is not taken in time
//! is dropped.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, IoSlice, ReadWriteFlags, pwritev2, write},
    stdio::stderr,
};
use serde_json::{Map, Value};
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How much a line matters; `--log` chooses from which level on lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Set once, as soon as the options are known; lines before that are about the options themselves.
static SETTINGS: OnceLock<(Level, Format)> = OnceLock::new();

/// How long a process waits for a stalled reader, over all its lines. Long enough for a reader that is only slow,
/// short beside any time limit of a Job.
const PATIENCE: Duration = Duration::from_millis(200);

static WAITED_MICROS: AtomicU64 = AtomicU64::new(0);

/// Whether the last line was given up in its middle.
static TORN: AtomicBool = AtomicBool::new(false);

pub fn set(level: Level, format: Format) {
    SETTINGS.get_or_init(|| (level, format));
}

pub fn enabled(level: Level) -> bool {
    level >= settings().0
}

fn settings() -> (Level, Format) {
    *SETTINGS.get().unwrap_or(&(Level::Info, Format::Text))
}

pub fn error(message: impl Into<String>) {
    Line::new(Level::Error, message).write();
}

pub fn warn(message: impl Into<String>) {
    Line::new(Level::Warn, message).write();
}

pub fn debug(message: impl FnOnce() -> String) {
    if enabled(Level::Debug) {
        Line::new(Level::Debug, message()).write();
    }
}

/// One line, with fields that the JSON format shows one by one.
pub struct Line {
    level: Level,
    message: String,
    /// Stands before the message in the text format: whose words these are.
    prefix: String,
    fields: Map<String, Value>,
}

impl Line {
    pub fn new(level: Level, message: impl Into<String>) -> Self {
        Self { level, message: message.into(), prefix: String::new(), fields: Map::new() }
    }

    /// Marks the line as what a hook itself said.
    pub fn said_by(mut self, hook: &str) -> Self {
        self.prefix = format!("{hook}: ");
        if let Some(mark) = match self.level {
            Level::Error => Some("error: "),
            Level::Warn => Some("warning: "),
            Level::Info | Level::Debug => None,
        } {
            self.prefix.push_str(mark);
        }
        self.field("hook", hook)
    }

    /// Marks the line as about a hook.
    pub fn about(mut self, hook: &str) -> Self {
        self.prefix = format!("hook {hook:?}: ");
        self.field("hook", hook)
    }

    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    pub fn write(self) {
        if !enabled(self.level) {
            return;
        }
        let mut line = match settings().1 {
            Format::Text => format!("wrapper: {}", one_line(&(self.prefix + &self.message))),
            Format::Json => self.into_json(),
        };
        line.push('\n');
        if TORN.swap(false, Ordering::Relaxed) {
            line.insert(0, '\n');
        }
        put(line.as_bytes());
    }

    fn into_json(mut self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let level = match self.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.fields.insert("level".into(), level.into());
        self.fields.insert("message".into(), self.message.into());
        self.fields.insert("time".into(), now.as_secs_f64().into());
        json_line(self.fields)
    }
}

/// An object in one line, with what JSON does not escape by itself.
pub fn json_line(fields: Map<String, Value>) -> String {
    let mut line = String::new();
    for c in Value::Object(fields).to_string().chars() {
        match steers(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| line.push_str(&format!("\\u{unit:04x}"))),
            false => line.push(c),
        }
    }
    line
}

/// A duration as JSON has it, to the microsecond.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

/// Control characters would let a hook or a file name write lines that look like ours, or steer a terminal.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if steers(c) && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Whether a character does something else than being read: it ends a line for some reader, or changes the order or the
/// look of what follows, or is text that no reader sees. The joiners that scripts and emoji are written with are not
/// among them.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Line and paragraph separators.
            '\u{2028}' | '\u{2029}'
            // All that have Unicode's property Bidi_Control, and the deprecated ones of the same block.
            | '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Annotations between the lines, and tags: an invisible copy of ASCII.
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Writes what the reader takes before the patience is used up, and drops the rest.
fn put(mut bytes: &[u8]) {
    let whole = bytes.len();
    while !bytes.is_empty() {
        match try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                if !wait_for_reader() {
                    TORN.store(bytes.len() < whole, Ordering::Relaxed);
                    return;
                }
            }
            Err(_) => return,
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
            match ready(Duration::ZERO) {
                true => write(stderr(), bytes.get(..bytes.len().min(PIPE_BUF)).unwrap_or(bytes)),
                false => Err(Errno::AGAIN),
            }
        }
        result => result,
    }
}

/// A pipe that is ready takes this many bytes without blocking (pipe(7)).
const PIPE_BUF: usize = 4096;

fn wait_for_reader() -> bool {
    let left = PATIENCE.saturating_sub(Duration::from_micros(WAITED_MICROS.load(Ordering::Relaxed)));
    let start = Instant::now();
    let ready = !left.is_zero() && ready(left);
    let waited = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    // A file that refuses to be written without waiting is always ready; count each try for it to end.
    WAITED_MICROS.fetch_add(waited.max(1000), Ordering::Relaxed);
    ready
}

fn ready(patience: Duration) -> bool {
    let stderr = stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    matches!(poll(&mut fds, Timespec::try_from(patience).ok().as_ref()), Ok(1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_break_out_of_its_line() {
        assert_eq!(one_line("a\nwrapper: b\u{1b}[2J\tc"), "a\u{fffd}wrapper: b\u{fffd}[2J\tc");
        assert_eq!(one_line("a\u{2028}b\u{202e}c\u{9b}d"), "a\u{fffd}b\u{fffd}c\u{fffd}d");
        // Persian is written with a joiner that must stay, and so are families of emoji.
        assert_eq!(
            one_line("\u{645}\u{6cc}\u{200c}\u{62e} \u{1f468}\u{200d}\u{1f469}"),
            "\u{645}\u{6cc}\u{200c}\u{62e} \u{1f468}\u{200d}\u{1f469}"
        );
    }

    #[test]
    fn json_escapes_what_steers_a_reader() {
        let line = Line::new(Level::Info, "a\u{2028}b\u{9b}c\u{7f}\n").into_json();
        assert!(line.contains(r#""a\u2028b\u009bc\u007f\n""#), "{line}");
        let line = Line::new(Level::Info, "a\u{e0041}b\u{61c}").into_json();
        assert!(line.contains(r#""a\udb40\udc41b\u061c""#), "{line}");
    }
}
