//! Waiting for a time or for an event of the host, the time of day, and random numbers.

use crate::bindings::wasi::{
    clocks::{monotonic_clock, wall_clock},
    io::poll::{Pollable, poll},
};
use core::time::Duration;

pub use crate::bindings::wasi::random::random::get_random_u64 as random;

/// The time since 1970.
pub fn now() -> Duration {
    let now = wall_clock::now();
    // Neither this nor the sum of two numbers can panic, as `Duration::new` can: its message would take `core::fmt`.
    Duration::from_nanos(now.seconds * 1_000_000_000 + u64::from(now.nanoseconds))
}

/// Waits for `time`.
pub fn sleep(time: Duration) {
    poll(&[&after(time)]);
}

/// Waits for the first of these events, the last of which is a deadline: `false` if nothing else has happened.
pub(crate) fn happens(events: &[&Pollable]) -> bool {
    // poll returns the indices of all that have happened, in any order.
    !matches!(*poll(events), [only] if only as usize + 1 == events.len())
}

/// The event at the end of `time`.
pub(crate) fn after(time: Duration) -> Pollable {
    monotonic_clock::subscribe_duration(nanoseconds(time))
}

/// 64 bits of nanoseconds are 584 years. `Duration::as_nanos` has 128 bits, whose multiplication adds a function.
pub fn nanoseconds(time: Duration) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    if time.as_secs() < u64::MAX / SECOND { time.as_secs() * SECOND + u64::from(time.subsec_nanos()) } else { u64::MAX }
}
