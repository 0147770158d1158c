//! Loops without calling the host.

fn main() {
    let mut number = 0u64;
    loop {
        number = std::hint::black_box(number).wrapping_add(1);
    }
}
