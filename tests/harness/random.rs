//! Numbers that differ from run to run, and can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

pub struct Random(u64);

impl Random {
    /// Numbers that follow from this one.
    pub fn from(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Numbers that differ from run to run, with their seed among what a failing test prints.
    #[expect(clippy::print_stdout, reason = "the harness shows it with the failure")]
    pub fn announced() -> Self {
        let seed = Self::seed();
        println!("Random::from({seed})");
        Self::from(seed)
    }

    /// A number that nobody knows before.
    pub fn seed() -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 & 0xffff_ffff
    }

    /// One of 0 to `bound` - 1 (xorshift64).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
