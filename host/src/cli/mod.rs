//! Supervisor: reads the command line and the variables into a `Config`. Errors in either are reported in one line,
//! before anything starts.

mod hooks;
mod options;
mod values;

pub use options::unknown_variables;

use crate::{config::Config, hook::Common, log};
use anyhow::{Result, anyhow};
use clap::error::ErrorKind;
use options::Arguments;
use rustix::process::{Resource, getrlimit};
use std::{ffi::OsString, path::PathBuf};
use values::flag;

/// A request of the user.
pub enum Request {
    Run(Box<Config>),
    /// Copy this program to that path.
    Install(PathBuf),
    /// Print this and exit with 0.
    Print(String),
}

/// Reads the command line, and for every option that is not on it the variable.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let arguments = match options::command().try_get_matches_from(args) {
        Ok(matches) => Arguments::new(matches),
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Request::Print(error.to_string())),
                _ => Err(anyhow!(in_one_line(&error))),
            };
        }
    };
    match arguments.install() {
        Some(path) => Ok(Request::Install(path)),
        None => config(&arguments).map(|config| Request::Run(Box::new(config))),
    }
}

fn config(arguments: &Arguments) -> Result<Config> {
    let (before, after) = hooks::listed(arguments)?;
    Ok(Config {
        command: arguments.command(),
        before,
        after,
        hooks: Common {
            precompile: arguments.or_default(&options::PLUGIN_PREPARE, values::prepare)?,
            env: arguments.list(&options::PLUGIN_ENV, values::variable)?,
            scarce_address_space: getrlimit(Resource::As).current.is_some(),
        },
        hook_failure_counts: arguments.or_default(&options::PLUGIN_FAILURE, values::failure_counts)?,
        stop_timeout: arguments.one(&options::STOP_TIMEOUT, values::duration)?,
        kill_group: arguments.one(&options::KILL_GROUP, flag)?.unwrap_or(false),
        termination_log: arguments.one(&options::TERMINATION_LOG, |path| Ok(path.into()))?,
        log: log::Settings {
            level: arguments.or_default(&options::LOG, values::parsed)?,
            format: arguments.or_default(&options::LOG_FORMAT, values::parsed)?,
        },
    })
}

/// The file for the termination message as its variable names it, for when options cannot be read.
pub fn termination_log() -> Option<PathBuf> {
    options::TERMINATION_LOG.in_environment().map(Into::into)
}

/// The first line of clap's message, which names the mistake; its tips and usage fill a screen.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            "no command given; usage: wrapper [OPTIONS] [--] COMMAND [ARGS…], see wrapper --help".into()
        }
        _ => format!("{line}; see wrapper --help"),
    }
}
