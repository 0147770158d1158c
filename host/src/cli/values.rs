//! Supervisor: the values that options accept. White space around a value is ignored: YAML's `value: |` leaves a
//! newline.

use crate::{sdk_values as shared, text::choose};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::{
    ffi::{OsStr, OsString},
    str::FromStr,
    time::Duration,
};

/// Longer than any Job; beyond it lie overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A page, in bytes.
const LEAST_MEMORY: u64 = 64 << 10;

/// Size of a full 32-bit memory, or what fits into the address space of a 32-bit processor.
const MOST_MEMORY: (u64, &str) = if cfg!(target_pointer_width = "64") { (4 << 30, "4GiB") } else { (1 << 30, "1GiB") };

pub fn duration(value: &OsStr) -> Result<Duration> {
    let time = shared::duration(text(value)?).with_context(|| format!("not {}", shared::DURATION))?;
    ensure!(!time.is_zero(), "must be more than 0");
    ensure!(time <= LONGEST, "must be at most a year");
    Ok(time)
}

pub fn memory(value: &OsStr) -> Result<usize> {
    let size = size(value)?;
    match usize::try_from(size) {
        Ok(bytes) if (LEAST_MEMORY..=MOST_MEMORY.0).contains(&size) => Ok(bytes),
        _ if size < LEAST_MEMORY => bail!("too small, it must be between 64KiB and {}", MOST_MEMORY.1),
        _ => bail!("too large, it must be between 64KiB and {}", MOST_MEMORY.1),
    }
}

/// With less no hook runs. Whoever writes less has forgotten the unit.
const LEAST_RESERVE: u64 = 1 << 20;

pub fn memory_reserve(value: &OsStr) -> Result<u64> {
    let size = size(value)?;
    ensure!(size == 0 || size >= LEAST_RESERVE, "too small, it must be 0 or at least 1MiB");
    Ok(size)
}

fn size(value: &OsStr) -> Result<u64> {
    let size: Result<bytesize::ByteSize, _> = text(value)?.parse();
    size.map(|size| size.0).map_err(|_| anyhow!("not a size such as 512KiB, 64MiB or 1GiB"))
}

/// A name or a path of so many bytes.
pub fn at_most(value: &OsStr, limit: usize) -> Result<OsString> {
    ensure!((1..=limit).contains(&value.len()), "must be 1 to {limit} bytes long");
    Ok(value.to_owned())
}

/// More containers than this share a pod nowhere, and each takes the witness some memory.
const MOST_CONTAINERS: usize = 64;

pub fn containers(value: &OsStr) -> Result<usize> {
    let count = text(value)?.parse().ok().filter(|count| (1..=MOST_CONTAINERS).contains(count));
    count.with_context(|| format!("must be a number between 1 and {MOST_CONTAINERS}"))
}

pub fn flag(value: &OsStr) -> Result<bool> {
    let place = shared::choice(text(value)?, &shared::SWITCH).context("must be true or false")?;
    Ok(place < shared::SWITCH.len() / 2)
}

pub fn failure_counts(value: &OsStr) -> Result<bool> {
    choose(text(value)?, &[("ignore", false), ("fail", true)])
}

pub fn prepare(value: &OsStr) -> Result<bool> {
    flag(value).map_err(|_| anyhow!("must be on or off"))
}

/// A value of a type that reads its own text.
pub fn parsed<T: FromStr<Err = anyhow::Error>>(value: &OsStr) -> Result<T> {
    text(value)?.parse()
}

pub fn variable(value: &OsStr) -> Result<String> {
    match text(value)? {
        name if name.contains('=') => bail!("must be the name of a variable, without =value"),
        name if name.is_empty() || name.contains(char::is_whitespace) => {
            bail!("must be the name of a variable; several are separated by \",\" in the variable")
        }
        name => Ok(name.into()),
    }
}

/// Several of them, separated by colons.
pub fn all_parsed<T: FromStr<Err = anyhow::Error>>(value: &OsStr) -> Result<Vec<T>> {
    text(value)?.split(':').map(|one| one.trim_ascii().parse()).collect()
}

/// Several values of an option that may also be repeated.
pub fn between_commas<T: FromStr<Err = anyhow::Error>>(value: &OsStr) -> Result<Vec<T>> {
    text(value)?.split(',').map(|one| one.trim_ascii().parse()).collect()
}

fn text(value: &OsStr) -> Result<&str> {
    value.to_str().map(str::trim_ascii).context("not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hook::Digest, outcome::RunOn};

    #[test]
    fn a_time_is_more_than_zero_and_at_most_a_year() {
        for (text, time) in [("500ms", 500), ("10", 10_000), (" 1m 30s\n", 90_000), ("8760h", 31_536_000_000)] {
            assert_eq!(duration(text.as_ref()).unwrap(), Duration::from_millis(time), "{text:?}");
        }
        for text in ["", "\n", "0", "0s", "-1s", "soon", "8761h", "10 years", "99999999999999999999s"] {
            assert!(duration(text.as_ref()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn words_and_switches_count_in_any_case_and_with_white_space_around_them() {
        for text in ["failure", "Failure", " FAILURE\n"] {
            assert_eq!(parsed::<RunOn>(text.as_ref()).unwrap(), RunOn::Failure, "{text:?}");
        }
        for (text, on) in [("True", true), ("on\n", true), ("1", true), ("Off", false), (" no ", false)] {
            assert_eq!((flag(text.as_ref()).unwrap(), prepare(text.as_ref()).unwrap()), (on, on), "{text:?}");
        }
        for text in ["", "\n", "fail ure", "failures", "maybe"] {
            assert!(parsed::<RunOn>(text.as_ref()).is_err() && flag(text.as_ref()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_name_of_a_variable_has_no_white_space_in_it() {
        assert_eq!(variable(" POD_NAME\n".as_ref()).unwrap(), "POD_NAME");
        for text in ["", " ", "A B", "A=b"] {
            assert!(variable(text.as_ref()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_lie_between_a_page_and_a_32_bit_memory() {
        for (text, size) in [("64KiB", 65_536), (" 64MiB\n", 67_108_864), ("64Mi", 67_108_864), ("4GiB", 4_294_967_296)]
        {
            assert_eq!(memory(text.as_ref()).unwrap(), size, "{text}");
        }
        for text in ["", "65535", "4294967297", "-1", "much", "64 elephants"] {
            assert!(memory(text.as_ref()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_memory_reserve_is_nothing_or_at_least_a_mebibyte() {
        for (text, size) in [("0", 0), ("1MiB", 1 << 20), (" 16Mi\n", 16 << 20), ("8GiB", 8 << 30)] {
            assert_eq!(memory_reserve(text.as_ref()).unwrap(), size, "{text:?}");
        }
        for text in ["", "16", "1048575", "-1", "-1MiB", "on", "a tenth"] {
            assert!(memory_reserve(text.as_ref()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn digests_have_64_hexadecimal_digits_each() {
        let zero = "0".repeat(64);
        assert_eq!(all_parsed::<Digest>(zero.as_ref()).unwrap(), vec![Digest([0; 32])]);
        assert_eq!(all_parsed::<Digest>(format!("{zero}:\n{zero}\n").as_ref()).unwrap(), vec![Digest([0; 32]); 2]);
        for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &format!("{zero}:")] {
            assert!(all_parsed::<Digest>(text.as_ref()).is_err(), "{text}");
        }
    }
}
