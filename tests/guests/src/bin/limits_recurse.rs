//! Calls itself HOOK_DEPTH times, each call with 64 bytes of its own on the stack; for ever if it is not set.

fn main() {
    let depth = std::env::var("HOOK_DEPTH").map_or(u64::MAX, |depth| depth.parse().unwrap());
    println!("came back with {}", down(depth));
}

#[inline(never)]
fn down(left: u64) -> u64 {
    let here = std::hint::black_box([left; 8]);
    if left == 0 { 0 } else { down(left - 1) + std::hint::black_box(&here)[3] / left }
}
