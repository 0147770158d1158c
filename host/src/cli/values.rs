//! What the options' values may be.

use crate::{
    hook::Rule,
    log::{Format, Level},
    outcome::When,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::{ffi::OsStr, time::Duration};

/// Longer than any Job; beyond it lie overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A page, in bytes.
const LEAST_MEMORY: u64 = 64 << 10;

/// What a 32-bit memory can hold, or what a 32-bit processor has room for beside everything else.
const MOST_MEMORY: (u64, &str) = if cfg!(target_pointer_width = "64") { (4 << 30, "4GiB") } else { (1 << 30, "1GiB") };

pub fn duration(value: &OsStr) -> Result<Duration> {
    let time = humantime::parse_duration(text(value)?).map_err(|_| anyhow!("not a time such as 500ms, 10s or 2m"))?;
    ensure!(!time.is_zero(), "must be more than 0");
    ensure!(time <= LONGEST, "must be at most a year");
    Ok(time)
}

pub fn memory(value: &OsStr) -> Result<usize> {
    let size: Result<bytesize::ByteSize, _> = text(value)?.parse();
    let size = size.map_err(|_| anyhow!("not a size such as 512KiB, 64MiB or 1GiB"))?;
    match usize::try_from(size.0) {
        Ok(bytes) if (LEAST_MEMORY..=MOST_MEMORY.0).contains(&size.0) => Ok(bytes),
        _ => bail!("must be between 64KiB and {}", MOST_MEMORY.1),
    }
}

pub fn flag(value: &OsStr) -> Result<bool> {
    choose(value, &[("true", true), ("1", true), ("yes", true), ("on", true)])
        .or_else(|_| choose(value, &[("false", false), ("0", false), ("no", false), ("off", false)]))
        .map_err(|_| anyhow!("must be true or false"))
}

pub fn failure_counts(value: &OsStr) -> Result<bool> {
    choose(value, &[("ignore", false), ("fail", true)])
}

pub fn prepare(value: &OsStr) -> Result<bool> {
    choose(value, &[("on", true), ("off", false)])
}

pub fn when(value: &OsStr) -> Result<When> {
    choose(value, &[("always", When::Always), ("success", When::Success), ("failure", When::Failure)])
}

pub fn level(value: &OsStr) -> Result<Level> {
    choose(value, &[("error", Level::Error), ("info", Level::Info), ("debug", Level::Debug)])
}

pub fn format(value: &OsStr) -> Result<Format> {
    choose(value, &[("text", Format::Text), ("json", Format::Json)])
}

pub fn variable(value: &OsStr) -> Result<String> {
    match text(value)? {
        name if name.contains('=') => bail!("must be the name of a variable, without ="),
        name => Ok(name.into()),
    }
}

pub fn allowed(value: &OsStr) -> Result<Rule> {
    text(value)?.parse()
}

/// SHA-256 digests of 64 hexadecimal digits, separated by colons.
pub fn digests(value: &OsStr) -> Result<Vec<[u8; 32]>> {
    let digests = text(value)?.split(':').map(hex);
    digests.collect::<Option<_>>().context("not a SHA-256 digest of 64 hexadecimal digits")
}

fn hex(digits: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    // The number parser would take a sign.
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(digest)
}

fn text(value: &OsStr) -> Result<&str> {
    value.to_str().context("not UTF-8")
}

fn choose<T: Copy>(value: &OsStr, choices: &[(&str, T)]) -> Result<T> {
    let found = choices.iter().find(|(name, _)| value == *name);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        anyhow!("must be {}", names.join(" or "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_are_not_zero() {
        for (text, time) in [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000), ("1m 30s", 90_000)] {
            assert_eq!(duration(text.as_ref()).unwrap(), Duration::from_millis(time), "{text}");
        }
        for text in ["", "0s", "10", "-1s", "soon", "10 years", "99999999999999999999s"] {
            assert!(duration(text.as_ref()).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_lie_between_a_page_and_a_32_bit_memory() {
        for (text, size) in [("64KiB", 65_536), ("64MiB", 67_108_864), ("4GiB", 4_294_967_296)] {
            assert_eq!(memory(text.as_ref()).unwrap(), size, "{text}");
        }
        for text in ["", "65535", "4294967297", "-1", "much", "64 elephants"] {
            assert!(memory(text.as_ref()).is_err(), "{text}");
        }
    }

    #[test]
    fn digests_have_64_hexadecimal_digits_each() {
        let zero = "0".repeat(64);
        assert_eq!(digests(zero.as_ref()).unwrap(), vec![[0; 32]]);
        assert_eq!(digests(format!("{zero}:{zero}").as_ref()).unwrap(), vec![[0; 32]; 2]);
        for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &format!("{zero}:")] {
            assert!(digests(text.as_ref()).is_err(), "{text}");
        }
    }
}
