//! Supervisor: the table of options, each with its variable and its default, and where a value came from.

use crate::environment;
use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::{
    env::{self, split_paths},
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

/// An option: its name on the command line, its variable, and its help.
pub struct Opt {
    flag: &'static str,
    alias: Option<&'static str>,
    variable: &'static str,
    takes: Takes,
    /// Value if it is not given.
    default: Option<&'static str>,
    help: &'static str,
}

impl Opt {
    /// Its form on the command line.
    pub fn on_command_line(&self) -> String {
        format!("--{}", self.flag)
    }

    /// Value of its variable.
    pub fn in_environment(&self) -> Option<OsString> {
        variable(self.variable)
    }
}

/// The value of a variable, without the white space around it that YAML can leave; an empty one counts as not given.
fn variable(name: &str) -> Option<OsString> {
    let value = env::var_os(name)?;
    let value = value.as_bytes().trim_ascii();
    (!value.is_empty()).then(|| OsStr::from_bytes(value).to_owned())
}

fn between_commas(value: &OsStr) -> impl Iterator<Item = &OsStr> {
    value.as_bytes().split(|byte| *byte == b',').map(|part| OsStr::from_bytes(part.trim_ascii()))
}

/// Arity of an option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    One(&'static str),
    /// Repeated on the command line, separated by this byte in the variable.
    Several(&'static str, u8),
}

pub const PLUGIN: Opt = Opt {
    flag: "after",
    alias: Some("plugin"),
    variable: "WRAPPER_PLUGIN_PATH",
    takes: Takes::Several("HOOK", b':'),
    default: None,
    help: "Hook to run after the command: a file if it has a / or ends in .wasm, else the name of a built-in \
           hook; NAME=HOOK gives it another name in the log and in its variables; may be repeated",
};

pub const BEFORE: Opt = Opt {
    flag: "before",
    alias: None,
    variable: "WRAPPER_BEFORE_PLUGIN_PATH",
    takes: Takes::Several("HOOK", b':'),
    default: None,
    help: "Hook to run before the command, which starts only if the hook succeeds; may be repeated",
};

pub const PLUGIN_ON: Opt = Opt {
    flag: "plugin-on",
    alias: None,
    variable: "WRAPPER_PLUGIN_ON",
    takes: Takes::One("always|success|failure"),
    default: Some("always"),
    help: "After which end of the command the hooks run",
};

pub const PLUGIN_TIMEOUT: Opt = Opt {
    flag: "plugin-timeout",
    alias: None,
    variable: "WRAPPER_PLUGIN_TIMEOUT",
    takes: Takes::One("TIME"),
    // kubelet gives a pod 30 s to stop (`terminationGracePeriodSeconds`); a hook that takes a third of it leaves room
    // for the command.
    default: Some("10s"),
    help: "Time limit of each hook, after which it is killed",
};

pub const PLUGIN_MEMORY: Opt = Opt {
    flag: "plugin-memory",
    alias: None,
    variable: "WRAPPER_PLUGIN_MEMORY",
    takes: Takes::One("SIZE"),
    // Ten times what an ordinary hook uses, and little enough for a small pod's limit.
    default: Some("64MiB"),
    help: "Linear memory of each hook",
};

pub const PLUGIN_PREPARE: Opt = Opt {
    flag: "plugin-prepare",
    alias: None,
    variable: "WRAPPER_PLUGIN_PREPARE",
    takes: Takes::One("on|off"),
    default: Some("on"),
    help: "Compile hooks while the command runs, at the lowest priority; off saves its memory for a moment and \
           makes hooks start later",
};

pub const PLUGIN_FAILURE: Opt = Opt {
    flag: "plugin-failure",
    alias: None,
    variable: "WRAPPER_PLUGIN_FAILURE",
    takes: Takes::One("ignore|fail"),
    default: Some("ignore"),
    help: "With fail, a failing hook turns exit code 0 into 125",
};

pub const PLUGIN_SHA256: Opt = Opt {
    flag: "plugin-sha256",
    alias: None,
    variable: "WRAPPER_PLUGIN_SHA256",
    takes: Takes::Several("DIGEST", b':'),
    default: None,
    help: "SHA-256 the hook's bytes must have, one for each --after in its order",
};

pub const ALLOW_HTTP: Opt = Opt {
    flag: "allow-http",
    alias: None,
    variable: "WRAPPER_ALLOW_HTTP",
    takes: Takes::Several("URL", b','),
    // The pod's own loopback, where sidecars listen.
    default: Some("http://localhost:*"),
    help: "Where hooks may connect: scheme://host[:port], * for any port; giving any replaces the default, may \
           be repeated",
};

pub const PLUGIN_ENV: Opt = Opt {
    flag: "plugin-env",
    alias: None,
    variable: "WRAPPER_PLUGIN_ENV",
    takes: Takes::Several("NAME", b','),
    default: None,
    help: "Variable hooks may read besides those named HOOK_…; may be repeated",
};

pub const STOP_TIMEOUT: Opt = Opt {
    flag: "stop-timeout",
    alias: None,
    variable: "WRAPPER_STOP_TIMEOUT",
    takes: Takes::One("TIME"),
    default: None,
    help: "How long after the first signal that asks to stop (SIGTERM, SIGINT, SIGQUIT, SIGHUP) the command gets SIGKILL \
           [default: never]",
};

pub const KILL_GROUP: Opt = Opt {
    flag: "kill-group",
    alias: None,
    variable: "WRAPPER_KILL_GROUP",
    takes: Takes::Nothing,
    default: None,
    help: "Send signals to the command's whole process group",
};

pub const TERMINATION_LOG: Opt = Opt {
    flag: "termination-log",
    alias: None,
    variable: "WRAPPER_TERMINATION_LOG",
    takes: Takes::One("PATH"),
    default: None,
    help: "Add a line that tells how the command and the hooks ended to this file, if it is there: Kubernetes shows \
           /dev/termination-log as the container's message",
};

pub const DISABLE_HOOKS: Opt = Opt {
    flag: "disable-hooks",
    alias: None,
    variable: "WRAPPER_DISABLE_HOOKS",
    takes: Takes::Nothing,
    default: None,
    help: "Run no hooks, whatever else is set",
};

pub const LOG: Opt = Opt {
    flag: "log",
    alias: None,
    variable: "WRAPPER_LOG",
    takes: Takes::One("error|info|debug"),
    default: Some("info"),
    help: "From which level on lines are written to stderr",
};

pub const LOG_FORMAT: Opt = Opt {
    flag: "log-format",
    alias: None,
    variable: "WRAPPER_LOG_FORMAT",
    takes: Takes::One("text|json"),
    default: Some("text"),
    help: "How lines are written",
};

/// All of them, in the order of the help.
const ALL: [Opt; 16] = [
    PLUGIN,
    BEFORE,
    PLUGIN_ON,
    PLUGIN_TIMEOUT,
    PLUGIN_MEMORY,
    PLUGIN_PREPARE,
    PLUGIN_FAILURE,
    PLUGIN_SHA256,
    ALLOW_HTTP,
    PLUGIN_ENV,
    STOP_TIMEOUT,
    KILL_GROUP,
    TERMINATION_LOG,
    DISABLE_HOOKS,
    LOG,
    LOG_FORMAT,
];

const COMMAND: &str = "command";

/// Not in the table: it stands alone and has no variable, which would keep every command of a pod from starting.
const INSTALL: &str = "install";

/// Prefix of our variables.
const OURS: &[u8] = b"WRAPPER_";

/// Prefix and suffix of the variable of a hook's digest.
const DIGEST: (&[u8], &[u8]) = (b"HOOK_", b"_SHA256");

/// The names of variables that look like ours and are not, which is most often a typo. For every Service whose name
/// begins with `wrapper` Kubernetes makes some as well (`WRAPPER_SERVICE_HOST`, `WRAPPER_PORT_80_TCP`); they are left
/// out.
pub fn unknown_variables() -> Vec<String> {
    let names = environment::variables().filter(|variable| variable.starts_with(OURS)).map(|variable| {
        let name = variable.split(|byte| *byte == b'=').next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    });
    let unknown = names.filter(|name| !ALL.iter().any(|option| option.variable == name));
    unknown.filter(|name| !name.contains("_SERVICE_") && !name.contains("_PORT")).collect()
}

/// The names of the variables that give a hook's digest; an empty one counts as not given.
pub fn digest_variables() -> Vec<String> {
    let set = environment::variables().filter_map(|variable| {
        let equals = variable.iter().position(|byte| *byte == b'=')?;
        let (name, value) = variable.split_at_checked(equals)?;
        (value.len() > 1 && name.starts_with(DIGEST.0) && name.ends_with(DIGEST.1)).then_some(name)
    });
    set.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// clap splits the command line and prints help; values are parsed where those of variables are.
pub fn command() -> Command {
    let options = ALL.iter().map(|option| {
        let default = option.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
        let arg = Arg::new(option.flag)
            .long(option.flag)
            .visible_aliases(option.alias)
            .help(format!("{}{default} [env: {}]", option.help, option.variable));
        match option.takes {
            Takes::Nothing => arg.action(ArgAction::SetTrue),
            Takes::One(value) => arg.value_name(value).value_parser(value_parser!(OsString)),
            Takes::Several(value, _) => {
                arg.value_name(value).value_parser(value_parser!(OsString)).action(ArgAction::Append)
            }
        }
    });
    Command::new("wrapper")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Starts a command in a container, supervises it, and runs sandboxed WebAssembly hooks when it has ended")
        .override_usage("wrapper [OPTIONS] [--] COMMAND [ARGS…]")
        .after_help(
            "Exit codes: the command's own; 128+n if signal n killed it; 127 not found, 126 not executable;\n\
             125 for wrapper's own errors: a bad option, a hook that cannot be loaded.\n\
             An option on the command line wins over its variable.\n\
             HOOK_<NAME>_TIMEOUT, _MEMORY, _ALLOW_HTTP, _SHA256 and _ON are for one hook what the options are for all;\n\
             with HOOK_<NAME>_OPTIONAL=true its failure does not keep the command from starting.",
        )
        .args(options)
        .arg(
            Arg::new(INSTALL)
                .long(INSTALL)
                .value_name("PATH")
                .help("Copy this program to PATH, a file or a directory, and exit: for an image that has none")
                .value_parser(value_parser!(PathBuf))
                .exclusive(true),
        )
        .arg(
            Arg::new(COMMAND)
                .value_name("COMMAND")
                .help("The command and its arguments, passed on as they are")
                .value_parser(value_parser!(OsString))
                .num_args(1..)
                .trailing_var_arg(true)
                .required_unless_present(INSTALL),
        )
}

/// The command line, and behind it the variables.
pub struct Arguments {
    matches: ArgMatches,
}

impl Arguments {
    pub fn new(matches: ArgMatches) -> Self {
        Self { matches }
    }

    pub fn command(&self) -> Vec<OsString> {
        self.matches.get_many(COMMAND).into_iter().flatten().cloned().collect()
    }

    /// Where to install this program, if that is all that is asked for.
    pub fn install(&self) -> Option<PathBuf> {
        self.matches.get_one(INSTALL).cloned()
    }

    /// The option as the user wrote it: its flag or its variable.
    pub fn name(&self, option: &Opt) -> String {
        if self.on_command_line(option) { option.on_command_line() } else { option.variable.into() }
    }

    /// The value of a variable that stands for no option; an empty one counts as not given.
    pub fn variable<T>(&self, name: &str, parse: impl Fn(&OsStr) -> Result<T>) -> Result<Option<T>> {
        variable(name)
            .map(|value| parse(&value).with_context(|| format!("{name} {:?}", value.to_string_lossy())))
            .transpose()
    }

    /// The values of such a variable, with commas between several.
    pub fn variables<T>(&self, name: &str, parse: impl Fn(&OsStr) -> Result<T>) -> Result<Vec<T>> {
        let values = variable(name).unwrap_or_default();
        let parsed = |value: &OsStr| parse(value).with_context(|| format!("{name} {:?}", value.to_string_lossy()));
        between_commas(&values).filter(|value| !value.is_empty()).map(parsed).collect()
    }

    /// The one value of an option, if it was given; an empty variable counts as not given.
    pub fn one<T>(&self, option: &Opt, parse: impl Fn(&OsStr) -> Result<T>) -> Result<Option<T>> {
        let value = match (self.on_command_line(option), option.takes) {
            (true, Takes::Nothing) => Some("true".into()),
            (true, Takes::One(_)) => self.matches.get_one::<OsString>(option.flag).cloned(),
            (true, Takes::Several(_, separator)) => {
                let values: Vec<_> = self.matches.get_many::<OsString>(option.flag).into_iter().flatten().collect();
                Some(OsString::from_vec(
                    values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>().join(&separator),
                ))
            }
            (false, _) => option.in_environment(),
        };
        value.map(|value| self.parsed(option, &value, &parse)).transpose()
    }

    /// The value of an option, or of its default.
    pub fn or_default<T>(&self, option: &Opt, parse: impl Fn(&OsStr) -> Result<T>) -> Result<T> {
        match self.one(option, &parse)? {
            Some(value) => Ok(value),
            None => parse(option.default.unwrap_or_default().as_ref()),
        }
    }

    /// The values of an option that may be repeated, or of its default.
    pub fn list_or_default<T>(&self, option: &Opt, parse: impl Fn(&OsStr) -> Result<T>) -> Result<Vec<T>> {
        match self.list(option, &parse)? {
            none if none.is_empty() => option.default.map(|default| parse(default.as_ref())).into_iter().collect(),
            values => Ok(values),
        }
    }

    /// All values of an option that may be repeated. Between a variable's separators there may be nothing.
    pub fn list<T>(&self, option: &Opt, parse: impl Fn(&OsStr) -> Result<T>) -> Result<Vec<T>> {
        let values: Vec<OsString> = match (self.on_command_line(option), option.takes) {
            (true, _) => self.matches.get_many::<OsString>(option.flag).into_iter().flatten().cloned().collect(),
            (false, Takes::Several(_, b':')) => {
                split_paths(&option.in_environment().unwrap_or_default()).map(Into::into).collect()
            }
            (false, _) => between_commas(&option.in_environment().unwrap_or_default()).map(ToOwned::to_owned).collect(),
        };
        let on_command_line = self.on_command_line(option);
        let named = values.iter().filter(|value| on_command_line || !value.is_empty());
        named.map(|value| self.parsed(option, value, &parse)).collect()
    }

    fn parsed<T>(&self, option: &Opt, value: &OsStr, parse: &impl Fn(&OsStr) -> Result<T>) -> Result<T> {
        parse(value).with_context(|| format!("{} {:?}", self.name(option), value.to_string_lossy()))
    }

    fn on_command_line(&self, option: &Opt) -> bool {
        self.matches.value_source(option.flag) == Some(clap::parser::ValueSource::CommandLine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_table() {
        command().debug_assert();
    }
}
