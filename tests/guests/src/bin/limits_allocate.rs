//! Fills HOOK_MIB MiB of memory, or all it gets if that is not set, says how much it was, and stays for HOOK_STAY_MS.

use std::time::Duration;

fn main() {
    let wanted = std::env::var("HOOK_MIB").map_or(usize::MAX, |mib| mib.parse().unwrap());
    let mut blocks: Vec<Vec<u8>> = Vec::with_capacity(8192);
    while blocks.len() < wanted {
        let mut block = Vec::new();
        if block.try_reserve_exact(1 << 20).is_err() {
            println!("refused after {} MiB", blocks.len());
            break;
        }
        block.resize(1 << 20, 1);
        blocks.push(block);
    }
    println!("has {} MiB", std::hint::black_box(&blocks).len());
    let stay = std::env::var("HOOK_STAY_MS").map_or(0, |time| time.parse().unwrap());
    std::thread::sleep(Duration::from_millis(stay));
}
