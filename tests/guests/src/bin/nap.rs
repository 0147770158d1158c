//! Prints a line, sleeps for HOOK_SLEEP_MS, and prints another.

use std::{env, thread, time::Duration};

fn main() {
    println!("sleeping");
    let time = env::var("HOOK_SLEEP_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    thread::sleep(Duration::from_millis(time));
    println!("slept");
}
