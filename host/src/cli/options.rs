//! Supervisor: the table of options, each with its variable and its default, and the source of each value.

use super::values::flag;
use crate::{
    environment,
    hook::{Spec, built_in_names, without_secrets},
    text::{closest, ellipsize},
};
use anyhow::{Context, Result, ensure};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

/// An option: its name on the command line, its variable, and its help. The names with PLUGIN are those of wrapper's
/// predecessor, whose manifests still work.
pub struct Opt {
    flag: &'static str,
    alias: Option<&'static str>,
    variable: &'static str,
    takes: Takes,
    /// Value if it is not set.
    default: Option<&'static str>,
    help: &'static str,
}

impl Opt {
    /// Its help, with its default and its variable on a line of their own.
    fn long_help(&self) -> String {
        let default = self.default.map(|default| format!("[default: {default}] ")).unwrap_or_default();
        let form = match self.takes {
            Takes::Nothing => "=true".into(),
            Takes::One(_) => String::new(),
            Takes::Several(_, separator) => format!(", separated by {:?}", char::from(separator)),
        };
        let variables = self.variables().collect::<Vec<_>>().join(" or ");
        // Two names would make the line too long.
        let default = if variables.contains(' ') { default.trim_end().to_owned() + "\n" } else { default };
        format!("{}\n{default}[env: {variables}{form}]", self.help)
    }

    /// Its form on the command line.
    pub fn long(&self) -> String {
        format!("--{}", self.flag)
    }

    /// Whether an argument on the command line can be this option.
    fn is_among(&self, args: &[OsString]) -> bool {
        let is_name = |word: &[u8]| [Some(self.flag), self.alias].contains(&str::from_utf8(word).ok());
        let mut words = args.iter().filter_map(|arg| arg.as_bytes().strip_prefix(b"--"));
        words.any(|word| is_name(word.split(|byte| *byte == b'=').next().unwrap_or_default()))
    }

    /// The names of its variable; a second one means the same.
    fn variables(&self) -> impl Iterator<Item = &'static str> {
        let second = (self.variable == ALLOW_HTTP.variable).then_some(ALLOW);
        [self.variable].into_iter().chain(second)
    }
}

/// The second name of the variable of [`ALLOW_HTTP`], as `--allow` is of its flag.
const ALLOW: &str = "WRAPPER_ALLOW";

/// The value of a variable, with surrounding white space trimmed, as YAML can leave some; an empty value counts as
/// unset.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).as_deref().map(OsStrExt::as_bytes).and_then(trimmed)
}

fn trimmed(value: &[u8]) -> Option<OsString> {
    let value = value.trim_ascii();
    (!value.is_empty()).then(|| OsStr::from_bytes(value).to_owned())
}

/// Two names of one setting.
pub fn both(first: &str, second: &str) -> anyhow::Error {
    anyhow::anyhow!("{first} and {second} are both set and mean the same; set one of them")
}

/// A name with its value. Of a URL only scheme, host and port are shown: a user name, a path or a query may be secret.
fn shown(name: &str, value: &OsStr) -> String {
    let value = value.to_string_lossy();
    if !value.contains("://") {
        return format!("{name} {value:?}");
    }
    let origin = without_secrets(&value);
    let (scheme, rest) = origin.split_once("://").unwrap_or(("", &origin));
    match rest.split_once('/') {
        Some((host, _)) => format!("{name} \"{scheme}://{host}/…\""),
        None => format!("{name} {origin:?}"),
    }
}

/// The items of a list, without the white space around them.
fn items(list: &OsStr, separator: u8) -> impl Iterator<Item = &OsStr> {
    list.as_bytes().split(move |byte| *byte == separator).map(|item| OsStr::from_bytes(item.trim_ascii()))
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
    help: "Hook to run after the command: a built-in hook, or a file (has a / or ends in .wasm);\n\
           NAME=HOOK sets its name in the log and in its variables; repeatable",
};

pub const BEFORE: Opt = Opt {
    flag: "before",
    alias: None,
    variable: "WRAPPER_BEFORE_PLUGIN_PATH",
    takes: Takes::Several("HOOK", b':'),
    default: None,
    help: "Hook to run before the command, which starts only if the hook succeeds; repeatable",
};

pub const PLUGIN_ON: Opt = Opt {
    flag: "plugin-on",
    alias: None,
    variable: "WRAPPER_PLUGIN_ON",
    takes: Takes::One("always|success|failure"),
    default: Some("always"),
    help: "When to run hooks after the command; HOOK_<NAME>_ON overrides it for one hook",
};

pub const PLUGIN_TIMEOUT: Opt = Opt {
    flag: "plugin-timeout",
    alias: None,
    variable: "WRAPPER_PLUGIN_TIMEOUT",
    takes: Takes::One("TIME"),
    // kubelet gives a pod 30 s to stop (`terminationGracePeriodSeconds`); a hook that takes a third of it leaves room
    // for the command.
    default: Some("10s"),
    help: "Time limit of each hook, such as 500ms, 10s or 1m30s; a hook that takes longer is killed",
};

pub const PLUGIN_MEMORY: Opt = Opt {
    flag: "plugin-memory",
    alias: None,
    variable: "WRAPPER_PLUGIN_MEMORY",
    takes: Takes::One("SIZE"),
    // Ten times what an ordinary hook uses, and little enough for a small pod's limit.
    default: Some("64MiB"),
    help: "Limit on the linear memory of each hook, such as 512KiB or 64MiB",
};

pub const PLUGIN_PREPARE: Opt = Opt {
    flag: "plugin-prepare",
    alias: None,
    variable: "WRAPPER_PLUGIN_PREPARE",
    takes: Takes::One("on|off"),
    default: Some("on"),
    help: "Compile hooks while the command runs, at the lowest priority; off: compile them only\n\
           when the command has exited (less memory while it runs, slower hooks)",
};

pub const PLUGIN_FAILURE: Opt = Opt {
    flag: "plugin-failure",
    alias: None,
    variable: "WRAPPER_PLUGIN_FAILURE",
    takes: Takes::One("ignore|fail"),
    default: Some("ignore"),
    help: "fail: exit with 125 if a hook failed after a command that succeeded",
};

pub const PLUGIN_SHA256: Opt = Opt {
    flag: "plugin-sha256",
    alias: None,
    variable: "WRAPPER_PLUGIN_SHA256",
    takes: Takes::Several("DIGEST", b':'),
    default: None,
    help: "Expected SHA-256 of the hook, one for each --after, in their order; repeatable",
};

pub const ALLOW_HTTP: Opt = Opt {
    flag: "allow-http",
    alias: Some("allow"),
    variable: "WRAPPER_ALLOW_HTTP",
    takes: Takes::Several("URL", b','),
    // The pod's own loopback, where sidecars listen.
    default: Some("http://localhost:*"),
    help: "Where hooks may connect: http://host[:port] or https://host[:port], * for any port;\n\
           for probes alone tcp://host:port or dns://host;\nsetting this replaces the default; repeatable",
};

pub const PLUGIN_ENV: Opt = Opt {
    flag: "plugin-env",
    alias: None,
    variable: "WRAPPER_PLUGIN_ENV",
    takes: Takes::Several("NAME", b','),
    default: None,
    help: "Environment variable that hooks may read besides those named HOOK_…; repeatable",
};

pub const TIMEOUT: Opt = Opt {
    flag: "timeout",
    alias: None,
    variable: "WRAPPER_TIMEOUT",
    takes: Takes::One("TIME"),
    default: None,
    help: "Send SIGTERM if the command still runs this long after its start, and SIGKILL after\n\
           --stop-timeout (10s if that is not set); exit with 124. Default: no limit",
};

pub const STOP_TIMEOUT: Opt = Opt {
    flag: "stop-timeout",
    alias: None,
    variable: "WRAPPER_STOP_TIMEOUT",
    takes: Takes::One("TIME"),
    default: None,
    help: "Send SIGKILL if the command still runs this long after the first stop signal\n\
           (SIGTERM, SIGINT, SIGQUIT or SIGHUP); default: never",
};

pub const GRACE_PERIOD: Opt = Opt {
    flag: "grace-period",
    alias: None,
    variable: "WRAPPER_GRACE_PERIOD",
    takes: Takes::One("TIME"),
    default: None,
    help: "The pod's terminationGracePeriodSeconds: warn at the start if --stop-timeout,\n\
           --leftovers-timeout and the time limits of all after-hooks do not fit into it",
};

pub const KILL_GROUP: Opt = Opt {
    flag: "kill-group",
    alias: None,
    variable: "WRAPPER_KILL_GROUP",
    takes: Takes::Nothing,
    default: None,
    help: "Send signals to the command's whole process group, not only to the command",
};

pub const LEFTOVERS: Opt = Opt {
    flag: "leftovers",
    alias: None,
    variable: "WRAPPER_LEFTOVERS",
    takes: Takes::One("ignore|wait|stop"),
    default: Some("ignore"),
    help: "What to do about processes that the command leaves behind, before the after-hooks run:\n\
           wait for them, or stop them with SIGTERM, and SIGKILL after --leftovers-timeout",
};

pub const LEFTOVERS_TIMEOUT: Opt = Opt {
    flag: "leftovers-timeout",
    alias: None,
    variable: "WRAPPER_LEFTOVERS_TIMEOUT",
    takes: Takes::One("TIME"),
    // As long as each hook.
    default: Some("10s"),
    help: "How long processes that the command leaves behind may take to exit",
};

pub const REWRITE_SIGNAL: Opt = Opt {
    flag: "rewrite-signal",
    alias: None,
    variable: "WRAPPER_REWRITE_SIGNAL",
    takes: Takes::Several("FROM=TO", b','),
    default: None,
    help: "Forward signal FROM as TO, such as TERM=QUIT; with 0 as TO it is not forwarded; repeatable",
};

pub const SUCCESS_CODES: Opt = Opt {
    flag: "success-codes",
    alias: None,
    variable: "WRAPPER_SUCCESS_CODES",
    takes: Takes::Several("CODES", b','),
    default: None,
    help: "Exit codes of the command that count as success and become 0, such as 3,143; repeatable",
};

pub const MAP_CODE: Opt = Opt {
    flag: "map-code",
    alias: None,
    variable: "WRAPPER_MAP_CODE",
    takes: Takes::Several("FROM=TO", b','),
    default: None,
    help: "Exit with TO if the command's exit code is FROM; repeatable",
};

pub const MEMORY_RESERVE: Opt = Opt {
    flag: "memory-reserve",
    alias: None,
    variable: "WRAPPER_MEMORY_RESERVE",
    takes: Takes::One("SIZE"),
    default: None,
    help: "Run the command in a cgroup of its own, if the container can create one, so that wrapper\n\
           survives when memory runs out; SIZE of the memory is kept for hooks, such as 16MiB, or 0",
};

pub const TRACE_CONTEXT: Opt = Opt {
    flag: "trace-context",
    alias: None,
    variable: "WRAPPER_TRACE_CONTEXT",
    takes: Takes::Nothing,
    default: None,
    help: "Set TRACEPARENT for the command, so that its spans become children of the one\nthat the hook otlp sends",
};

pub const TERMINATION_LOG: Opt = Opt {
    flag: "termination-log",
    alias: None,
    variable: "WRAPPER_TERMINATION_LOG",
    takes: Takes::One("PATH"),
    default: None,
    help: "Append a line with the results of the command and the hooks to this file, if it exists;\n\
           Kubernetes shows /dev/termination-log as the container's message",
};

pub const DISABLE_HOOKS: Opt = Opt {
    flag: "disable-hooks",
    alias: None,
    variable: "WRAPPER_DISABLE_HOOKS",
    takes: Takes::Nothing,
    default: None,
    help: "Run no hooks, whatever else is set",
};

pub const WITNESS: Opt = Opt {
    flag: "witness",
    alias: None,
    variable: "WRAPPER_WITNESS",
    takes: Takes::One("SOCKET"),
    default: None,
    help: "Socket of the witness, which runs the hooks if this container is killed;\nwith the option and without a command: \
           run as the witness",
};

pub const WITNESS_NAME: Opt = Opt {
    flag: "witness-name",
    alias: None,
    variable: "WRAPPER_WITNESS_NAME",
    takes: Takes::One("NAME"),
    default: None,
    help: "Name of this container for the witness, if several report to it",
};

pub const WITNESS_CONTAINERS: Opt = Opt {
    flag: "witness-containers",
    alias: None,
    variable: "WRAPPER_WITNESS_CONTAINERS",
    takes: Takes::One("NUMBER"),
    default: Some("1"),
    help: "For the witness: number of containers that report to it",
};

pub const LOG: Opt = Opt {
    flag: "log",
    alias: None,
    variable: "WRAPPER_LOG",
    takes: Takes::One("error|warn|info|debug"),
    default: Some("info"),
    help: "Log level; the log is written to stderr",
};

pub const LOG_FORMAT: Opt = Opt {
    flag: "log-format",
    alias: None,
    variable: "WRAPPER_LOG_FORMAT",
    takes: Takes::One("text|json"),
    default: Some("text"),
    help: "Log format",
};

/// All of them, in the order of the help.
const ALL: [Opt; 28] = [
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
    TIMEOUT,
    STOP_TIMEOUT,
    GRACE_PERIOD,
    KILL_GROUP,
    REWRITE_SIGNAL,
    LEFTOVERS,
    LEFTOVERS_TIMEOUT,
    SUCCESS_CODES,
    MAP_CODE,
    MEMORY_RESERVE,
    TRACE_CONTEXT,
    TERMINATION_LOG,
    DISABLE_HOOKS,
    WITNESS,
    WITNESS_NAME,
    WITNESS_CONTAINERS,
    LOG,
    LOG_FORMAT,
];

const COMMAND: &str = "command";

pub const USAGE: &str = "wrapper [OPTIONS] [--] COMMAND [ARGS]...";

/// The other use: wrapper as a witness.
const WITNESS_USAGE: &str = "wrapper [OPTIONS] --witness SOCKET";

/// Not in the table: it excludes all other options and has no variable, because one set for a whole pod would keep its
/// commands from starting.
const INSTALL: &str = "install";

/// The same for these, with which no command is run.
pub const CHECK: &str = "check";
pub const INSPECT: &str = "inspect";
pub const LIST_HOOKS: &str = "list-hooks";

/// The options that are not in the table, with their help.
const COMMANDS: [(&str, Option<&str>, &str); 4] = [
    (
        CHECK,
        None,
        "Print what would run, when and with which access, and exit;\n\
         the exit code is 0 if all is valid, otherwise 125; a command may be given, and is not run",
    ),
    (INSPECT, Some("HOOK"), "Print a hook's world, imports, settings, size and digest, and exit"),
    (LIST_HOOKS, None, "Print the built-in hooks and their settings, and exit"),
    (INSTALL, Some("PATH"), "Copy this binary to PATH, a file or a directory, and exit (for init containers)"),
];

pub const SEE_HELP: &str = "see wrapper --help";

/// Prefix of wrapper's own variables.
const OURS: &[u8] = b"WRAPPER_";

/// Prefix and suffix of the variable of a hook's digest.
const DIGEST: (&[u8], &[u8]) = (b"HOOK_", b"_SHA256");

/// Names of variables that look like ours but are not, usually because of a typo, each with the one that was probably
/// meant. Those that Kubernetes sets for every Service whose name begins with `wrapper` (`WRAPPER_SERVICE_HOST`,
/// `WRAPPER_PORT_80_TCP`) are left out.
pub fn unknown_variables() -> impl Iterator<Item = (String, Option<&'static str>)> {
    let names = environment::variables().filter(|variable| variable.starts_with(OURS)).map(|variable| {
        let name = variable.split(|byte| *byte == b'=').next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    });
    let unknown = names.filter(|name| !ALL.iter().any(|option| option.variables().any(|variable| variable == name)));
    let unknown = unknown.filter(|name| !name.contains("_SERVICE_") && !name.contains("_PORT"));
    unknown.map(|name| {
        let meant = meant_variable(&name);
        (name, meant)
    })
}

/// Names by which people call the lists of hooks, as variables without their prefix.
const OTHER_NAMES: [(&[&str], &Opt); 2] = [
    (
        &[
            "HOOK",
            "HOOKS",
            "HOOK_PATH",
            "PLUGINS_PATH",
            "AFTER_HOOK",
            "AFTER_HOOKS",
            "AFTER_HOOK_PATH",
            "AFTER_PLUGIN",
            "AFTER_PLUGINS",
            "AFTER_PLUGIN_PATH",
        ],
        &PLUGIN,
    ),
    (&["BEFORE_HOOK", "BEFORE_HOOKS", "BEFORE_HOOK_PATH", "BEFORE_PLUGIN", "BEFORE_PLUGINS", "GATE", "GATES"], &BEFORE),
];

/// The list of hooks that one of these names stands for, in upper or lower case.
fn list_called(name: &str) -> Option<&'static Opt> {
    let is_name = |other: &&str| name.eq_ignore_ascii_case(other);
    OTHER_NAMES.iter().find(|(names, _)| names.iter().any(is_name)).map(|(_, option)| *option)
}

/// The name of an option for hooks as it is: people write `--hook-timeout` and `WRAPPER_AFTER_TIMEOUT`.
fn of_hooks(name: &str, prefix: &str) -> String {
    let others = ["hook-", "hooks-", "after-", "HOOK_", "HOOKS_", "AFTER_"];
    let rest = others.iter().find_map(|other| name.strip_prefix(other));
    rest.map_or_else(|| name.into(), |rest| format!("{prefix}{rest}"))
}

/// The names of all options in the table.
fn flags() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|option| [Some(option.flag), option.alias]).flatten()
}

/// Whether an argument without its hyphens is one of these options, alone or with `=value`.
pub fn exists(argument: &str) -> bool {
    let flag = argument.split('=').next().unwrap_or_default();
    flags().any(|known| known == flag)
}

/// The option that was probably meant by an unknown one, for its message.
pub fn meant(unknown: &str) -> String {
    let bare = unknown.trim_start_matches('-');
    if let Some(option) = list_called(&bare.replace('-', "_")) {
        return format!("did you mean --{}?", option.flag);
    }
    let bare = &of_hooks(bare, "plugin-");
    match closest(bare, flags().chain(COMMANDS.map(|(name, ..)| name))) {
        Some(option) => format!("did you mean --{option}?"),
        None => SEE_HELP.into(),
    }
}

/// The same for a variable. A variable may be named as its option: `WRAPPER_PLUGIN`.
fn meant_variable(unknown: &str) -> Option<&'static str> {
    // What all names have in common would make any two of them similar.
    let bare = unknown.strip_prefix("WRAPPER_")?;
    if let Some(option) = list_called(bare) {
        return Some(option.variable);
    }
    let bare = &of_hooks(bare, "PLUGIN_");
    let names = |option: &Opt| {
        let flags = [Some(option.flag), option.alias].into_iter().flatten().map(|flag| flag.replace('-', "_"));
        flags.chain(option.variable.strip_prefix("WRAPPER_").map(str::to_owned)).collect::<Vec<_>>()
    };
    let all: Vec<_> = ALL.iter().map(|option| (names(option), option.variable)).collect();
    let found = closest(bare, all.iter().flat_map(|(names, _)| names).map(String::as_str))?;
    all.iter().find(|(names, _)| names.iter().any(|name| name == found)).map(|(_, variable)| *variable)
}

/// Whether an argument is an option of wrapper's about hooks: `--plugin`, `--plugin=echo`. Other programs have an
/// `--after` and a `--before` as well; what follows tells them apart.
pub fn is_about_hooks(argument: &OsStr, next: Option<&OsStr>) -> bool {
    let Some(argument) = argument.to_str().and_then(|argument| argument.strip_prefix("--")) else { return false };
    let (flag, value) = match argument.split_once('=') {
        Some((flag, value)) => (flag, Some(OsStr::new(value))),
        None => (argument, next),
    };
    match flag {
        "after" | "before" => value.is_some_and(|value| Spec::parse(value).is_likely()),
        _ => exists(flag) && (flag.starts_with("plugin") || flag.starts_with("allow")),
    }
}

/// Names of the variables that set a hook's digest; an empty one counts as not set.
pub fn digest_variables() -> Vec<String> {
    let set = environment::variables().filter_map(|variable| {
        let equals = variable.iter().position(|byte| *byte == b'=')?;
        let (name, value) = variable.split_at_checked(equals)?;
        (value.len() > 1 && name.starts_with(DIGEST.0) && name.ends_with(DIGEST.1)).then_some(name)
    });
    set.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// Whether the arguments may contain one of the options that are not in the table.
fn may_ask(args: &[OsString]) -> bool {
    args.iter().any(|argument| {
        let flag = argument.as_bytes().strip_prefix(b"--").unwrap_or_default();
        COMMANDS.iter().any(|(name, ..)| flag.starts_with(name.as_bytes()))
    })
}

/// clap splits the command line; values are parsed where those of variables are. It gets only the options that are on
/// the command line: each takes it some time, more than anything else that is done for an option. The help texts are
/// added only for `--help`.
pub fn command(args: &[OsString]) -> Command {
    command_with(ALL.iter().filter(|option| option.is_among(args)), may_ask(args))
}

fn command_with<'a>(options: impl Iterator<Item = &'a Opt>, may_ask: bool) -> Command {
    let mut instead_of_command = Vec::new();
    let options = options.map(|option| {
        if option.flag == WITNESS.flag {
            instead_of_command.push(WITNESS.flag);
        }
        let arg = Arg::new(option.flag).long(option.flag).visible_aliases(option.alias);
        match option.takes {
            Takes::Nothing => arg.action(ArgAction::SetTrue),
            // So that a negative number is an invalid value, not an unknown option.
            Takes::One(value @ ("TIME" | "SIZE")) => {
                arg.value_name(value).value_parser(value_parser!(OsString)).allow_hyphen_values(true)
            }
            Takes::One(value) => arg.value_name(value).value_parser(value_parser!(OsString)),
            Takes::Several(value, _) => {
                arg.value_name(value).value_parser(value_parser!(OsString)).action(ArgAction::Append)
            }
        }
    });
    let mut command = Command::new("wrapper").version(env!("CARGO_PKG_VERSION")).args(options);
    if may_ask {
        let question = |name| Arg::new(name).long(name);
        command = command
            .arg(question(CHECK).action(ArgAction::SetTrue))
            .arg(question(INSPECT).value_name("HOOK").value_parser(value_parser!(OsString)))
            .arg(question(LIST_HOOKS).action(ArgAction::SetTrue))
            .arg(question(INSTALL).value_name("PATH").value_parser(value_parser!(PathBuf)).exclusive(true));
        instead_of_command.extend(COMMANDS.map(|(name, ..)| name));
    }
    let arg = Arg::new(COMMAND)
        .value_name("COMMAND")
        // It is in the usage; clap would show it as optional.
        .hide(true)
        .value_parser(value_parser!(OsString))
        .num_args(1..)
        .trailing_var_arg(true);
    command.arg(match instead_of_command.as_slice() {
        [] => arg.required(true),
        others => arg.required_unless_present_any(others.iter().copied()),
    })
}

/// The answer to `--help`.
pub fn help() -> String {
    let mut command = command_with(ALL.iter(), true)
        .about("Starts a command in a container, supervises it, and runs sandboxed WebAssembly hooks when it exits")
        .override_usage(format!("{USAGE}\n       {WITNESS_USAGE}"))
        .after_help(format!(
            "If an option and its environment variable are both set, the option wins.\n\
             HOOK_<NAME>_TIMEOUT, _MEMORY, _ALLOW, _SHA256 and _ON override the options for one hook;\n\
             with HOOK_<NAME>_OPTIONAL=true its failure does not keep the command from starting;\n\
             with HOOK_<NAME>_ON_LAST=true it runs only in the last of the witness's containers to exit.\n\n\
             Built-in hooks:\n{}\n\n\
             Exit codes:\n  the command's own; 128+n if signal n killed it; 127 not found; 126 not executable;\n  \
             124 if it did not exit within --timeout;\n  \
             125 for wrapper's own errors, such as an invalid option or a hook that cannot be loaded\n\n\
             Examples:\n  \
             Wait for the Istio sidecar, run a job, then ask the sidecar to quit:\n    \
             wrapper --before istio-ready --after istio-quit -- /my-job --verbose\n  \
             Print what would run, and what is wrong with it:\n    \
             WRAPPER_PLUGIN_PATH=istio-quit:slack=http wrapper --check",
            in_columns(&built_in_names()),
        ))
        .next_line_help(true);
    for (name, _, text) in COMMANDS {
        command = command.mut_arg(name, |arg| arg.help(text));
    }
    for option in &ALL {
        command = command.mut_arg(option.flag, |arg| arg.help(option.long_help()));
    }
    format!("{}\n", command.render_help().to_string().trim_end())
}

/// The answer to `-h`: a line for each option.
pub fn short_help() -> String {
    /// Columns of the terminal, and of the options.
    const WIDTH: (usize, usize) = (100, 30);
    let options = ALL.iter().map(|option| {
        let value = match option.takes {
            Takes::Nothing => String::new(),
            Takes::One(value) | Takes::Several(value, _) => format!(" {value}"),
        };
        (option.long() + &value, option.help)
    });
    let commands = COMMANDS.iter().map(|(name, value, help)| {
        (format!("--{name}{}", value.map(|value| format!(" {value}")).unwrap_or_default()), *help)
    });
    let others =
        [("-h, --help".into(), "Print this, or a full description"), ("-V, --version".into(), "Print the version")];
    let mut text = format!("Usage: {USAGE}\n");
    for (option, help) in options.chain(commands).chain(others) {
        let gap = WIDTH.1.saturating_sub(option.len()).max(2);
        let help = clauses(help, WIDTH.0 - 2 - option.len() - gap);
        text += &format!("  {option}{:gap$}{help}\n", "");
    }
    text + "Built-in hooks: wrapper --list-hooks. Variables, defaults and examples: wrapper --help.\n"
}

/// As much of the first line of a help as fits, up to the end of a clause.
fn clauses(help: &str, width: usize) -> String {
    let line = help.split([';', '\n']).next().unwrap_or_default();
    if line.len() <= width {
        return line.into();
    }
    let ends = [", ", " (", ": "].into_iter().flat_map(|end| line.match_indices(end)).map(|(place, _)| place);
    match ends.filter(|end| *end <= width).max() {
        Some(end) => line.get(..end).unwrap_or_default().into(),
        None => ellipsize(line, width),
    }
}

/// The built-in hooks in the help, a few on each line.
fn in_columns(names: &[&str]) -> String {
    let lines: Vec<_> = names.chunks(5).map(|names| format!("  {}", names.join(", "))).collect();
    lines.join(",\n")
}

/// The command line, and behind it the variables.
pub struct Arguments {
    matches: ArgMatches,
    /// wrapper's own, each as `NAME=value`.
    variables: Vec<&'static [u8]>,
}

impl Arguments {
    pub fn new(matches: ArgMatches) -> Self {
        Self { matches, variables: environment::variables().filter(|variable| variable.starts_with(OURS)).collect() }
    }

    /// The first word of the command, if there is one.
    pub fn program(&self) -> Option<&OsString> {
        self.matches.get_one(COMMAND)
    }

    pub fn command(&self) -> Vec<OsString> {
        self.matches.get_many(COMMAND).into_iter().flatten().cloned().collect()
    }

    /// Where to install this binary, if that is the request.
    pub fn install(&self) -> Option<PathBuf> {
        self.has(INSTALL).then(|| self.matches.get_one(INSTALL).cloned()).flatten()
    }

    /// The hook to inspect, if that is the request.
    pub fn inspect(&self) -> Option<OsString> {
        self.has(INSPECT).then(|| self.matches.get_one(INSPECT).cloned()).flatten()
    }

    /// Whether this option, which is not in the table, is set.
    pub fn has(&self, name: &str) -> bool {
        // clap does not know an option that is not there.
        matches!(self.matches.try_contains_id(name), Ok(true))
            && self.matches.value_source(name) == Some(ValueSource::CommandLine)
    }

    /// Refuses a command and other options beside this one, except those of the log.
    pub fn ensure_alone(&self, name: &str) -> Result<()> {
        let others = ALL.iter().map(|option| option.flag).chain(COMMANDS.map(|(name, ..)| name)).chain([COMMAND]);
        let others = others.filter(|other| ![name, LOG.flag, LOG_FORMAT.flag].contains(other));
        ensure!(
            !others.into_iter().any(|other| self.has(other)),
            "--{name} takes no command, and no options except --log and --log-format"
        );
        Ok(())
    }

    /// Warnings about options on the command line that have no effect, because another one is missing. A variable may
    /// be set for many pods, and so may the time and the memory of hooks in the ENTRYPOINT of an image.
    pub fn without_effect(&self, is_hook_missing: bool) -> Vec<String> {
        let hooks = [PLUGIN_ON, PLUGIN_FAILURE, ALLOW_HTTP, PLUGIN_ENV].map(|option| (option, None));
        let others = [(LEFTOVERS_TIMEOUT, LEFTOVERS), (WITNESS_NAME, WITNESS), (WITNESS_CONTAINERS, WITNESS)];
        let others = others.map(|(option, needed)| (option, Some(needed)));
        let given = hooks.into_iter().chain(others).filter(|(option, _)| self.is_on_command_line(option));
        given
            .filter_map(|(option, needed)| {
                let why = match needed {
                    None if is_hook_missing => "no hook is listed (--after, --before)".into(),
                    Some(needed) if !self.is_on_command_line(&needed) && self.in_environment(&needed).is_none() => {
                        format!("{} is not set", needed.long())
                    }
                    _ => return None,
                };
                Some(format!("{} has no effect: {why}", option.long()))
            })
            .collect()
    }

    /// The options that are set to another value than their default, with the value as it was written; without those
    /// that have a line of their own in the answer to `--check`, and those of the log.
    pub fn changed(&self) -> Result<Vec<(&'static str, String)>> {
        let elsewhere = [&PLUGIN, &BEFORE, &GRACE_PERIOD, &DISABLE_HOOKS, &LOG, &LOG_FORMAT].map(|option| option.flag);
        let mut changed = Vec::new();
        for option in ALL.iter().filter(|option| !elsewhere.contains(&option.flag)) {
            let Some(value) = self.one(option, |value| Ok(value.to_owned()))? else { continue };
            let is_default = match option.takes {
                Takes::Nothing => !flag(&value)?,
                Takes::One(_) | Takes::Several(..) => {
                    option.default.is_some_and(|default| value.eq_ignore_ascii_case(default))
                }
            };
            if !is_default {
                changed.push((option.flag, value.to_string_lossy().into_owned()));
            }
        }
        Ok(changed)
    }

    /// The option as the user wrote it: its flag or its variable.
    pub fn name(&self, option: &Opt) -> String {
        let is_set = |name: &&str| self.own_variable(name).is_some();
        match self.is_on_command_line(option) {
            true => option.long(),
            false => option.variables().find(is_set).unwrap_or(option.variable).into(),
        }
    }

    /// The value of a variable that is not an option's; an empty one counts as not set.
    pub fn variable<T>(&self, name: &str, parse: impl Fn(&OsStr) -> Result<T>) -> Result<Option<T>> {
        variable(name).map(|value| parse(&value).with_context(|| shown(name, &value))).transpose()
    }

    /// The values of such a variable, with commas between several.
    pub fn variables<T>(&self, name: &str, parse: impl Fn(&OsStr) -> Result<T>) -> Result<Vec<T>> {
        let values = variable(name).unwrap_or_default();
        let parsed = |value: &OsStr| parse(value).with_context(|| shown(name, value));
        items(&values, b',').filter(|value| !value.is_empty()).map(parsed).collect()
    }

    /// The one value of an option, if it was given; an empty variable counts as not set.
    pub fn one<T>(&self, option: &Opt, parse: impl Fn(&OsStr) -> Result<T>) -> Result<Option<T>> {
        let value = match (self.is_on_command_line(option), option.takes) {
            (true, Takes::Nothing) => Some("true".into()),
            (true, Takes::One(_)) => self.matches.get_one::<OsString>(option.flag).cloned(),
            (true, Takes::Several(_, separator)) => {
                let values: Vec<_> = self.matches.get_many::<OsString>(option.flag).into_iter().flatten().collect();
                Some(OsString::from_vec(
                    values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>().join(&separator),
                ))
            }
            (false, _) => self.in_environment(option),
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

    /// Checks that at most one of this option's variables is set, if they count.
    pub fn check_variables(&self, option: &Opt) -> Result<()> {
        let set: Vec<_> = option.variables().filter(|name| self.own_variable(name).is_some()).collect();
        match set.as_slice() {
            [first, second, ..] if !self.is_on_command_line(option) => Err(both(first, second)),
            _ => Ok(()),
        }
    }

    /// The values of an option that may be repeated, or of its default.
    pub fn list_or_default<T>(&self, option: &Opt, parse: impl Fn(&OsStr) -> Result<T>) -> Result<Vec<T>> {
        match self.list(option, &parse)? {
            none if none.is_empty() => option.default.map(|default| parse(default.as_ref())).into_iter().collect(),
            values => Ok(values),
        }
    }

    /// All values of an option that may be repeated. Empty items in a variable are ignored.
    pub fn list<T>(&self, option: &Opt, parse: impl Fn(&OsStr) -> Result<T>) -> Result<Vec<T>> {
        let values: Vec<OsString> = match (self.is_on_command_line(option), option.takes) {
            (true, _) => self.matches.get_many::<OsString>(option.flag).into_iter().flatten().cloned().collect(),
            (false, takes) => {
                let separator = if let Takes::Several(_, separator) = takes { separator } else { b',' };
                let list = self.in_environment(option).unwrap_or_default();
                items(&list, separator).map(ToOwned::to_owned).collect()
            }
        };
        let on_command_line = self.is_on_command_line(option);
        let named = values.iter().filter(|value| on_command_line || !value.is_empty());
        named.map(|value| self.parsed(option, value, &parse)).collect()
    }

    fn parsed<T>(&self, option: &Opt, value: &OsStr, parse: &impl Fn(&OsStr) -> Result<T>) -> Result<T> {
        parse(value).with_context(|| shown(&self.name(option), value))
    }

    fn is_on_command_line(&self, option: &Opt) -> bool {
        self.has(option.flag)
    }

    /// Value of its variable.
    fn in_environment(&self, option: &Opt) -> Option<OsString> {
        option.variables().find_map(|name| self.own_variable(name))
    }

    fn own_variable(&self, name: &str) -> Option<OsString> {
        let value = |variable: &&'static [u8]| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
        self.variables.iter().find_map(value).and_then(trimmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_accepts_the_table() {
        command_with(ALL.iter(), true).debug_assert();
        command(&[]).debug_assert();
    }

    #[test]
    fn the_help_fits_into_100_columns_and_shows_every_option_and_hook() {
        let help = help();
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        for option in &ALL {
            assert!(help.contains(&option.long()) && help.contains(option.variable), "{}", option.flag);
        }
        assert!(built_in_names().iter().all(|hook| help.contains(hook)) && !help.contains("[COMMAND]"), "{help}");
    }
}
