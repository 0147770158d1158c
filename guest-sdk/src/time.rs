//! Letting time pass, and waiting for what happens first.

use crate::bindings::wasi::{
    clocks::monotonic_clock,
    io::poll::{Pollable, poll},
};
use core::time::Duration;

/// Lets `time` pass. A hook's own time goes on: see [`Context::time_left`](crate::Context::time_left).
pub fn sleep(time: Duration) {
    poll(&[&after(time)]);
}

/// Waits for one of two events and says whether the first of them has happened.
pub(crate) fn is_first(event: &Pollable, other: &Pollable) -> bool {
    // The answer lists what has happened by its place in the question.
    poll(&[event, other]).first() == Some(&0)
}

/// The event that this much time has passed.
pub(crate) fn after(time: Duration) -> Pollable {
    // The host counts nanoseconds in 64 bits: what does not fit, more than 584 years, is as good as for ever. In 128
    // bits, as `Duration::as_nanos` counts, multiplying takes a function of its own.
    const SECOND: u64 = 1_000_000_000;
    let nanoseconds = match time.as_secs() < u64::MAX / SECOND {
        true => time.as_secs() * SECOND + u64::from(time.subsec_nanos()),
        false => u64::MAX,
    };
    monotonic_clock::subscribe_duration(nanoseconds)
}
