//! Prints a line that is longer than a page, and never ends.

fn main() {
    println!("{}", "x".repeat(6000));
    loop {
        std::hint::black_box(());
    }
}
