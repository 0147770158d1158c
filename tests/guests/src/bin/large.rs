//! A program of 1 MiB of code, of which little runs.

fn main() {
    let seed = std::env::args().count() as u64;
    let mut sum = 0;
    macro_rules! call {
        ($($function:literal)*) => {$( if seed == $function + 100 { sum += work::<$function>(seed); } )*};
    }
    call!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    println!("large: {sum}");
}

/// As many instructions as the compiler makes of the rounds, which it has to unroll.
#[inline(never)]
fn work<const N: u64>(mut value: u64) -> u64 {
    macro_rules! rounds {
        ($($round:literal)*) => {$(
            value = (value ^ (N * 64 + $round + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left($round + 1);
            if value % ($round + 3) == N { value ^= std::hint::black_box(value >> 7); }
        )*};
    }
    macro_rules! blocks {
        ($($block:literal)*) => {$( value ^= $block; rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19); )*};
    }
    blocks!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
    value
}
