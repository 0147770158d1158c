//! Supervisor: signals that the command gets in place of those that wrapper receives.

use super::signals::{self, name};
use anyhow::{Context, Result, bail, ensure};
use std::str::FromStr;

/// At most one for each signal that is received.
#[derive(Debug, Default)]
pub struct Rewrites(Vec<Rewrite>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    from: i32,
    /// None: the signal is dropped.
    to: Option<i32>,
}

impl Rewrites {
    /// Fails if a signal is rewritten twice.
    pub fn new(rewrites: Vec<Rewrite>) -> Result<Self> {
        for (index, rewrite) in rewrites.iter().enumerate() {
            if rewrites.iter().skip(index + 1).any(|other| other.from == rewrite.from) {
                bail!("{} is rewritten twice", name(rewrite.from));
            }
        }
        Ok(Self(rewrites))
    }

    /// The signal that the command gets for this one, if it gets any.
    pub fn applied_to(&self, signal: i32) -> Option<i32> {
        match self.0.iter().find(|rewrite| rewrite.from == signal) {
            Some(rewrite) => rewrite.to,
            None => Some(signal),
        }
    }
}

impl FromStr for Rewrite {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (from, to) = text.split_once('=').with_context(|| format!("{text:?} is not of the form FROM=TO"))?;
        let from = signal(from.trim_ascii())?;
        let to = match to.trim_ascii() {
            "" | "0" => None,
            to => Some(signal(to)?),
        };
        ensure!(signals::can_be_caught(from), "{} cannot be rewritten, because no program can catch it", name(from));
        ensure!(signals::can_be_forwarded(from), "{} cannot be rewritten, because it is not forwarded", name(from));
        ensure!(to != Some(from), "{} is rewritten to itself", name(from));
        Ok(Self { from, to })
    }
}

fn signal(text: &str) -> Result<i32> {
    let known = signals::parse(text);
    known.with_context(|| format!("{text:?} is not a signal: a name such as TERM or RTMIN+1, or a number up to 64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named_in_any_of_its_ways() {
        for (text, number) in [
            ("TERM", Some(15)),
            ("sigterm", Some(15)),
            ("15", Some(15)),
            ("SIGWINCH", Some(28)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+1", Some(35)),
            ("rtmin+30", Some(64)),
            ("RTMAX", Some(64)),
            ("RTMAX-30", Some(34)),
            ("RTMIN+31", None),
            ("RTMAX-31", None),
            ("RTMIN-1", None),
            ("RTMIN+", None),
            ("RTMIN++1", None),
            ("RTMAX-4294967295", None),
            ("SIGSIGTERM", None),
            ("FOO", None),
            ("", None),
            ("0", None),
            ("+9", None),
            ("-9", None),
            // The C library keeps these for its threads.
            ("32", None),
            ("33", None),
            ("65", None),
        ] {
            assert_eq!(signals::parse(text), number, "{text:?}");
        }
    }
}
