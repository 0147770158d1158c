//! Supervisor and runner: the command's place in a distributed trace, for `--trace-context`. Its span gets an
//! identifier before it starts: the command has it in `TRACEPARENT`, for spans of its own, and hooks can report it.

#[path = "../../hooks/otlp/src/traceparent.rs"]
mod traceparent;

use crate::{environment, log, text::strerror};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt::Write;
use traceparent::Traceparent;

/// The variable of a parent, as OpenTelemetry names it for processes.
pub const VARIABLE: &[u8] = b"TRACEPARENT=";

/// The variable of what vendors add to it. Without it, or with one that is invalid, it has no meaning.
pub const STATE: &[u8] = b"TRACESTATE=";

/// Bytes of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// Bytes of the longest trace.
pub const LIMIT: usize = 2 * LENGTH;

/// The `traceparent` of the command, and then that of its parent if there is one; none of both if the command has no
/// span. A witness keeps what other containers send, so they are read as text where a hook runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace(Vec<u8>);

impl Trace {
    /// A new span: in the trace of the parent that wrapper was given, or in a new one.
    pub fn begin() -> Self {
        let mut random = [0; 24];
        if let Err(errno) = getrandom(&mut random, GetRandomFlags::empty()) {
            log::warn(format!("no trace context for the command: no random numbers: {}", strerror(errno)));
            return Self::default();
        }
        let mut digits = String::new();
        random.iter().for_each(|byte| write!(digits, "{byte:02x}").unwrap_or_default());
        let (new_trace, span_id) = digits.split_at_checked(32).unwrap_or_default();

        let given = environment::variables().find_map(|variable| variable.strip_prefix(VARIABLE));
        let given = String::from_utf8_lossy(given.unwrap_or_default());
        let parent = Traceparent::parse(given.trim_ascii());
        if parent.is_none() && !given.trim_ascii().is_empty() {
            log::warn(format!("the command begins a new trace: TRACEPARENT={:?} is not valid", given.trim_ascii()));
        }
        let (trace_id, flags) = parent.map_or((new_trace, "01"), |parent| (parent.trace_id, parent.flags));
        let mut trace = format!("00-{trace_id}-{span_id}-{flags}");
        if let Some(Traceparent { span_id, .. }) = parent {
            trace += &format!("00-{trace_id}-{span_id}-{flags}");
        }
        Self(trace.into_bytes())
    }

    /// What a wrapper has sent.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The `traceparent` of the command.
    pub fn command(&self) -> Option<&[u8]> {
        self.0.get(..LENGTH)
    }

    /// The one that wrapper was given.
    pub fn parent(&self) -> Option<&[u8]> {
        self.0.get(LENGTH..LIMIT)
    }
}
