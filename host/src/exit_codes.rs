//! Supervisor: what the user makes of the command's exit codes: some count as success, some become another one.

use crate::{
    log,
    outcome::{Ending, Outcome},
};
use anyhow::{Context, Result, bail, ensure};
use std::str::FromStr;

/// Exit codes with a meaning of their own. They are for a command that ran: the codes for one that was not started are
/// wrapper's.
#[derive(Debug, Default)]
pub struct ExitCodes {
    success: Vec<Code>,
    mappings: Vec<Mapping>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(u8);

/// One code in place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    from: Code,
    to: Code,
}

impl ExitCodes {
    /// Fails if a code has two meanings.
    pub fn new(success: Vec<Code>, mappings: Vec<Mapping>) -> Result<Self> {
        for (index, Mapping { from, to }) in mappings.iter().enumerate() {
            if success.contains(from) {
                bail!("{} counts as success (--success-codes) and cannot be mapped", from.0);
            }
            if let Some(other) = mappings.iter().skip(index + 1).find(|other| other.from == *from) {
                bail!("{} is mapped twice, to {} and to {}", from.0, to.0, other.to.0);
            }
        }
        Ok(Self { success, mappings })
    }

    /// The ending with the exit code that the user wants for it. A code is mapped once.
    pub fn applied_to(&self, ending: Ending) -> Ending {
        if matches!(ending.outcome, Outcome::NotStarted { .. }) {
            return ending;
        }
        let own = ending.exit_code;
        if self.success.contains(&Code(own)) {
            log::debug(|| format!("exit code {own} counts as success"));
            return Ending { exit_code: 0, succeeded: true, ..ending };
        }
        match self.mappings.iter().find(|mapping| mapping.from.0 == own) {
            Some(Mapping { to, .. }) => {
                log::debug(|| format!("exit code {own} becomes {}", to.0));
                Ending { exit_code: to.0, ..ending }
            }
            None => ending,
        }
    }
}

impl FromStr for Code {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.parse() {
            Ok(code) => Ok(Self(code)),
            Err(_) => bail!("{text:?} is not an exit code from 0 to 255 (128 + n is that of signal n)"),
        }
    }
}

impl FromStr for Mapping {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (from, to) = text.split_once('=').with_context(|| format!("{text:?} is not of the form FROM=TO"))?;
        let (from, to): (Code, Code) = (from.trim_ascii().parse()?, to.trim_ascii().parse()?);
        ensure!(from.0 != 0, "0 is success and cannot be mapped");
        ensure!(to.0 != 0, "for a code that counts as success use --success-codes {}", from.0);
        ensure!(from != to, "{} is mapped to itself", from.0);
        Ok(Self { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_a_command_that_ran_are_mapped_once_and_those_of_one_that_did_not_are_kept() {
        let [one, two] = ["143", "3"].map(|code| code.parse().unwrap());
        let mappings = ["1=2", "2=42", "137=2"].map(|mapping| mapping.parse().unwrap());
        let codes = ExitCodes::new(vec![one, two], mappings.into()).unwrap();
        for (outcome, exit_code, succeeded) in [
            (Outcome::Exited(0), 0, true),
            (Outcome::Exited(1), 2, false),
            (Outcome::Exited(2), 42, false),
            (Outcome::Exited(3), 0, true),
            (Outcome::Exited(4), 4, false),
            (Outcome::Killed { signal: 15, core_dumped: false }, 0, true),
            (Outcome::Killed { signal: 9, core_dumped: false }, 2, false),
            (Outcome::not_started("", 143), 143, false),
            (Outcome::not_started("", 1), 1, false),
        ] {
            let ending = codes.applied_to(outcome.clone().into());
            assert_eq!((ending.exit_code, ending.succeeded), (exit_code, succeeded), "{outcome:?}");
            assert_eq!(ending.outcome, outcome);
        }
    }
}
