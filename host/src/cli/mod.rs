//! Supervisor: reads the command line and the variables into a `Config`. Errors in either are reported in one line,
//! before anything starts.

mod hooks;
mod options;
mod values;

use crate::{
    config::Config,
    exit_codes::ExitCodes,
    hook::{self, Common, Purpose},
    log,
    supervise::{self, Rewrites},
    text::typographic,
    witness,
};
use anyhow::{Context, Result, anyhow, bail};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use options::Arguments;
use rustix::process::{Resource, getrlimit};
use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};
use values::flag;

/// A request of the user.
pub enum Request {
    Run(Box<Config>),
    /// Say what would run, and whether it can.
    Check(Box<Config>),
    /// Say what the only hook of this is.
    Inspect(Box<Config>),
    /// List the built-in hooks.
    ListHooks(log::Format),
    /// Copy this binary to that path.
    Install(PathBuf),
    /// Print this and exit with 0.
    Print(String),
}

/// Reads the command line, and for every option that is not on it the variable.
// Its frame of 12 kB would otherwise be part of the one that waits for the command.
#[inline(never)]
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request> {
    let args: Vec<OsString> = args.into_iter().collect();
    let arguments = match options::command(&args).try_get_matches_from(args) {
        Ok(matches) => Arguments::new(matches),
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp => Ok(Request::Print(help())),
                ErrorKind::DisplayVersion => Ok(Request::Print(version())),
                _ => Err(anyhow!(in_one_line(&error))),
            };
        }
    };
    if let Some(path) = arguments.install() {
        return Ok(Request::Install(path));
    }
    if arguments.has(options::LIST_HOOKS) {
        arguments.ensure_alone(options::LIST_HOOKS)?;
        return Ok(Request::ListHooks(log_format(&arguments)?));
    }
    ensure_is_command(&arguments)?;
    let purpose = match (arguments.has(options::INSPECT), arguments.has(options::CHECK)) {
        (true, _) => Purpose::Inspect,
        (_, true) => Purpose::Check,
        _ => Purpose::Run,
    };
    let config = Box::new(config(&arguments, purpose)?);
    Ok(match purpose {
        Purpose::Run => Request::Run(config),
        Purpose::Check => Request::Check(config),
        Purpose::Inspect => Request::Inspect(config),
    })
}

/// Refuses a command that is one of wrapper's options, behind a `--`; and, without a `--`, one that begins with a dash or
/// a quotation mark that is not ASCII: an option, or a quoted command, was copied from a page that has changed it.
fn ensure_is_command(arguments: &Arguments) -> Result<()> {
    let word = arguments.program().map(|word| word.to_string_lossy()).unwrap_or_default();
    if word.strip_prefix("--").is_some_and(options::exists) {
        bail!("{word} comes after --, which ends wrapper's options; put it in front of the --");
    }
    match typographic(&word).filter(|_| !is_behind_separator(&arguments.command())) {
        Some(character) => bail!("{word:?} begins with {character}; write it in ASCII, an option with two hyphens: --"),
        None => Ok(()),
    }
}

/// Whether there is a `--` in front of the command.
fn is_behind_separator(command: &[OsString]) -> bool {
    let before_command = env::args_os().len().checked_sub(command.len() + 1);
    before_command.and_then(|place| env::args_os().nth(place)).is_some_and(|argument| argument == "--")
}

/// The answer to `-h` or `--help`.
fn help() -> String {
    match env::args_os().find(|argument| argument == "-h" || argument == "--help") {
        Some(argument) if argument == "-h" => options::short_help(),
        _ => options::help(),
    }
}

/// The answer to `--version`.
fn version() -> String {
    let commit = option_env!("WRAPPER_COMMIT").map(|commit| format!("commit {commit}, ")).unwrap_or_default();
    let (version, target) = (env!("CARGO_PKG_VERSION"), env!("TARGET"));
    let (engine, contract) = (env!("WASMTIME_VERSION"), hook::CONTRACT);
    format!("wrapper {version} ({commit}{target})\nwasmtime {engine}\nhooks for wrapper:hook {contract} and WASI 0.2\n")
}

fn log_format(arguments: &Arguments) -> Result<log::Format> {
    arguments.or_default(&options::LOG_FORMAT, values::parsed)
}

fn config(arguments: &Arguments, purpose: Purpose) -> Result<Config> {
    for (name, meant) in options::unknown_variables() {
        if let Some(meant) = meant {
            bail!("unknown variable {name}; did you mean {meant}?");
        }
    }
    let (before, after) = match arguments.inspect() {
        Some(hook) => {
            arguments.ensure_alone(options::INSPECT)?;
            (Vec::new(), vec![hooks::inspected(arguments, &hook)?])
        }
        None => hooks::listed(arguments)?,
    };
    let hooks_disabled = hooks::are_disabled(arguments)?;
    Ok(Config {
        command: arguments.command(),
        common: Common {
            purpose,
            precompile: arguments.or_default(&options::PLUGIN_PREPARE, values::prepare)?,
            env: arguments.list(&options::PLUGIN_ENV, values::variable)?,
            scarce_address_space: getrlimit(Resource::As).current.is_some(),
        },
        hooks_disabled,
        hook_failure_counts: arguments.or_default(&options::PLUGIN_FAILURE, values::failure_counts)?,
        exit_codes: exit_codes(arguments)?,
        supervision: supervise::Settings {
            kill_group: arguments.one(&options::KILL_GROUP, flag)?.unwrap_or(false),
            stop_timeout: arguments.one(&options::STOP_TIMEOUT, values::duration)?,
            timeout: arguments.one(&options::TIMEOUT, values::duration)?,
            rewrites: rewrites(arguments)?,
            leftovers: arguments.or_default(&options::LEFTOVERS, values::parsed)?,
            leftovers_timeout: arguments.or_default(&options::LEFTOVERS_TIMEOUT, values::duration)?,
        },
        grace_period: arguments.one(&options::GRACE_PERIOD, values::duration)?,
        memory_reserve: arguments.one(&options::MEMORY_RESERVE, values::memory_reserve)?,
        trace_context: arguments.one(&options::TRACE_CONTEXT, flag)?.unwrap_or(false),
        witness: witness(arguments)?,
        termination_log: arguments.one(&options::TERMINATION_LOG, |path| Ok(path.into()))?,
        log: log::Settings {
            level: arguments.or_default(&options::LOG, values::parsed)?,
            format: log_format(arguments)?,
        },
        without_effect: arguments.without_effect(!hooks_disabled && before.is_empty() && after.is_empty()),
        changed: if purpose == Purpose::Check { arguments.changed()? } else { Vec::new() },
        before,
        after,
    })
}

fn exit_codes(arguments: &Arguments) -> Result<ExitCodes> {
    let success = arguments.list(&options::SUCCESS_CODES, values::between_commas)?.concat();
    let mappings = arguments.list(&options::MAP_CODE, values::between_commas)?.concat();
    ExitCodes::new(success, mappings).with_context(|| arguments.name(&options::MAP_CODE))
}

fn rewrites(arguments: &Arguments) -> Result<Rewrites> {
    let rewrites = arguments.list(&options::REWRITE_SIGNAL, values::between_commas)?.concat();
    Rewrites::new(rewrites).with_context(|| arguments.name(&options::REWRITE_SIGNAL))
}

fn witness(arguments: &Arguments) -> Result<Option<witness::Settings>> {
    let containers = arguments.or_default(&options::WITNESS_CONTAINERS, values::containers)?;
    let name = arguments.one(&options::WITNESS_NAME, |name| values::at_most(name, witness::NAME_LIMIT))?;
    let socket = arguments.one(&options::WITNESS, |path| values::at_most(path, witness::PATH_LIMIT))?;
    Ok(socket.map(|socket| witness::Settings { socket: socket.into(), name: name.unwrap_or_default(), containers }))
}

/// Settings that have no effect and are probably mistakes, each in one line.
pub fn warnings(config: &Config) -> Vec<String> {
    let unknown =
        options::unknown_variables().map(|(name, _)| format!("unknown variable {name}; {}", options::SEE_HELP));
    let of_hooks = match config.hooks_disabled {
        true => Vec::new(),
        false => hook::unknown_variables(config.before.iter().chain(&config.after)),
    };
    config
        .exceeds_grace_period()
        .into_iter()
        .chain(config.without_effect.iter().cloned())
        .chain(config.termination_log.as_deref().and_then(missing_termination_log))
        .chain(unknown)
        .chain(misplaced_option(&config.command))
        .chain(of_hooks)
        .collect()
}

/// The file that the kubelet makes is not there outside Kubernetes, where the same image may run.
fn missing_termination_log(path: &Path) -> Option<String> {
    let is_missing = path != Path::new("/dev/termination-log") && path.symlink_metadata().is_err();
    is_missing
        .then(|| format!("--termination-log {}: there is no such file, and wrapper does not create it", path.display()))
}

/// Warns about an argument of the command that is one of wrapper's options about hooks, which would not run. A `--`
/// shows that it is meant so.
fn misplaced_option(command: &[OsString]) -> Option<String> {
    // A wrapper inside a wrapper has options of its own.
    if command.first().is_some_and(|program| Path::new(program).file_name().is_some_and(|name| name == "wrapper")) {
        return None;
    }
    let mut arguments = command.iter().enumerate().skip(1);
    let next = |place: usize| command.get(place + 1).map(OsString::as_os_str);
    let (_, misplaced) = arguments.find(|(place, argument)| options::is_about_hooks(argument, next(*place)))?;
    if is_behind_separator(command) {
        return None;
    }
    let (program, misplaced) = (command.first()?.to_string_lossy(), misplaced.to_string_lossy());
    let option = misplaced.split('=').next().unwrap_or_default();
    Some(format!(
        "{option} comes after the command, so it is an argument of {program:?}; wrapper's options go before the \
         command (write -- in front of the command if this is meant)"
    ))
}

/// Where an error in the options is reported: in a log of this format, and in the file for the termination message if
/// there is one.
pub struct ErrorReport {
    pub log: log::Settings,
    pub termination_log: Option<PathBuf>,
}

/// Read from the options as far as they are valid. An option behind an unknown one is not seen; its variable is used.
pub fn error_report(args: impl IntoIterator<Item = OsString>) -> ErrorReport {
    let args: Vec<OsString> = args.into_iter().collect();
    let command = options::command(&args).disable_help_flag(true).disable_version_flag(true).ignore_errors(true);
    let matches = command.try_get_matches_from(args);
    let arguments = Arguments::new(matches.unwrap_or_default());
    let format = arguments.or_default(&options::LOG_FORMAT, values::parsed);
    let termination_log = arguments.one(&options::TERMINATION_LOG, |path| Ok(path.into()));
    ErrorReport {
        log: log::Settings { level: log::Level::Error, format: format.unwrap_or(log::Format::Text) },
        termination_log: termination_log.unwrap_or_default(),
    }
}

/// The argument with an option's name behind one hyphen, of which clap reports the first letter.
fn with_one_hyphen(reported: &str) -> Option<String> {
    let arguments = env::args_os().filter_map(|argument| argument.into_string().ok());
    let mut arguments = arguments.filter(|argument| !argument.starts_with("--") && argument.starts_with(reported));
    arguments.find(|argument| options::exists(argument.trim_start_matches('-')))
}

/// A message of one line for clap's error, whose own fill a screen with tips and usage.
fn in_one_line(error: &clap::Error) -> String {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.as_str(),
        _ => "",
    };
    // Without the name of its value: `--log <error|info|debug>`.
    let option = argument.split(' ').next().unwrap_or_default();
    match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            format!("no command given; usage: {}, {}", options::USAGE, options::SEE_HELP)
        }
        ErrorKind::UnknownArgument if argument.contains(' ') => {
            let words: Vec<_> = argument.split_whitespace().collect();
            format!("unknown option {argument:?}: it is a single argument; in a manifest write {words:?}")
        }
        ErrorKind::UnknownArgument => {
            let argument = with_one_hyphen(argument).unwrap_or_else(|| argument.into());
            format!("unknown option {argument}; {}", options::meant(&argument))
        }
        ErrorKind::InvalidValue => format!("{argument} needs a value"),
        ErrorKind::TooManyValues => format!("{option} takes no value"),
        ErrorKind::ArgumentConflict if option == "--install" => "--install takes no command and no other option".into(),
        ErrorKind::ArgumentConflict => format!("{option} is given more than once"),
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            format!("{}; {}", line.strip_prefix("error: ").unwrap_or(line), options::SEE_HELP)
        }
    }
}
