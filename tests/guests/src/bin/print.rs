//! Prints HOOK_LINES lines of HOOK_WIDTH bytes each, line end included, then HOOK_REST bytes without a line end.

use std::io::Write;

fn main() {
    let number = |name: &str| std::env::var(name).map_or(0, |number| number.parse::<usize>().unwrap());
    let mut out = std::io::stdout().lock();
    let mut line = vec![b'x'; number("HOOK_WIDTH")];
    if let Some(end) = line.last_mut() {
        *end = b'\n';
    }
    for _ in 0..number("HOOK_LINES") {
        out.write_all(&line).unwrap();
    }
    let chunk = [b'y'; 4096];
    let mut left = number("HOOK_REST");
    while left > 0 {
        let length = left.min(chunk.len());
        out.write_all(&chunk[..length]).unwrap();
        left -= length;
    }
    out.flush().unwrap();
}
