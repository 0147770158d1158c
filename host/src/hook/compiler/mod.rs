//! Compiler: checks a hook before the command starts, reports to the supervisor, and goes on to compile it at the
//! lowest priority while the command runs.

pub mod contract;
mod explain;
mod validate;

use super::{
    Common,
    description::Description,
    engine,
    handover::{self, Message, Turn},
    load::{Hook, readable},
    settings::{Digest, Purpose, Settings},
};
use crate::{
    cgroup, environment,
    log::{self, Level, Line},
    memfd,
    sandbox::{self, heap},
    supervise::exit_now,
    text::{REASON_LIMIT, strerror, truncate},
};
use bytesize::ByteSize;
use rustix::{fd::OwnedFd, process::nice};
use std::{convert::Infallible, fs::File, io::Write, os::fd::AsRawFd, time::Instant};
use validate::Contents;
use wasmtime::Engine;

/// A compiler may use one part in this many of the container's free memory. The command has only just started and its
/// needs are unknown; this leaves it three quarters.
const SHARE: u64 = 4;

/// With less than this not even the smallest hook is compiled: the engine itself needs a few MiB.
const LEAST_SHARE: u64 = 8 << 20;

/// Checks and compiles one hook, and reports on this socket.
pub fn run(hook: &Hook, component: &File, common: &Common, report: &OwnedFd, turn: Option<&Turn>) -> Infallible {
    let own = [component.as_raw_fd(), report.as_raw_fd()];
    sandbox::close_fds_except(&own.into_iter().chain(turn.map(Turn::descriptor)).collect::<Vec<_>>());
    heap::end_when_exhausted();
    // In the sandbox no more files can be created, and no memory can become executable.
    let file = if hook.precompile { memfd::create("code").ok() } else { None };
    // What the hook itself may read, for its settings to be checked: the sandbox wipes all others.
    let granted = hook.granted(common);
    let readable = readable(&hook.settings.variables, &granted);
    let readable: Vec<_> = readable.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let variables = Variables { readable, set: environment::names().map(ToOwned::to_owned).collect() };
    let for_code = file.map(|file| (file, engine::Target::allowed(), share_of_memory()));
    sandbox::enter_as_compiler(report.as_raw_fd());
    let (valid, text) = validate_hook(hook, component, &variables, common);
    let message = if valid { Message::Valid } else { Message::Invalid };
    match common.purpose {
        Purpose::Run => handover::send(report, message),
        Purpose::Check => handover::send_report(report, message, &text),
        Purpose::Inspect => {
            handover::send_report(report, message, &text);
            if valid {
                handover::send_report(report, message, &compile_time(component, hook));
            }
        }
    }
    let Some((file, target, share)) = for_code.filter(|_| valid) else { exit_now(0) };
    if share < LEAST_SHARE {
        log::debug(|| "compiling hooks only when they run: the container has little memory left".into());
        exit_now(0);
    }
    // From here on the command runs and has priority.
    let _ = nice(19);
    sandbox::limit_memory(share);
    if let Some(turn) = turn {
        turn.wait();
    }
    // The runner accepts code only from an engine with its own settings, which can depend on the hook's memory limit.
    let engine = engine::new(hook.settings.memory.value, common.scarce_address_space, target);
    if let Err(error) = engine.and_then(|engine| compile(component, &engine, report, file)) {
        log::debug(|| format!("hook {:?}: compiling it only when it runs: {error}", hook.label.name));
    }
    exit_now(0)
}

fn compile(component: &File, engine: &Engine, report: &OwnedFd, mut code: File) -> wasmtime::Result<()> {
    code.write_all(&engine.precompile_component(&memfd::read(component)?)?)?;
    memfd::seal(&code)?;
    handover::send_file(report, &code)?;
    Ok(())
}

/// The container's variables, as far as a description is compared with them.
struct Variables {
    /// With their values.
    readable: Vec<(String, String)>,
    /// The names of all.
    set: Vec<String>,
}

/// Whether the hook is valid, and the report that is asked for.
fn validate_hook(hook: &Hook, component: &File, variables: &Variables, common: &Common) -> (bool, String) {
    let readable: Vec<_> = variables.readable.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let is_set = |name: &str| variables.set.iter().any(|set| set == name);
    let checked = memfd::read(component).map_err(strerror).and_then(|bytes| {
        let contents = check(&bytes, &hook.settings)?;
        Ok((contents, bytes))
    });
    match checked {
        Ok((contents, bytes)) => {
            let (valid, report) = match contents.description.as_str() {
                "" => (true, String::new()),
                text => hook.fits(&Description::parse(text), &readable, &is_set, common.purpose),
            };
            (valid, if common.purpose == Purpose::Inspect { inspect(&contents, &bytes, &report) } else { report })
        }
        Err(why) => {
            Line::new(Level::Error, truncate(&why, REASON_LIMIT)).about_source(&hook.label).write();
            (false, String::new())
        }
    }
}

/// The lines that `--inspect` shows of a component. Those of which there can be many come last.
fn inspect(contents: &Contents, bytes: &[u8], report: &str) -> String {
    let imports = contents.imports.iter().map(|(name, _)| format!("import\t{name}\n")).collect::<String>();
    format!("sha256\t{}\nworld\t{}\n{report}{imports}", Digest::of(bytes), contents.world())
}

/// The lines about compiling it.
fn compile_time(component: &File, hook: &Hook) -> String {
    let start = Instant::now();
    let engine = engine::new(hook.settings.memory.value, false, engine::Target::preferred());
    let code = engine.and_then(|engine| engine.precompile_component(&memfd::read(component)?));
    match code {
        Ok(code) => {
            format!("compile-time\t{} ms\ncode-size\t{}\n", start.elapsed().as_millis(), ByteSize(code.len() as u64))
        }
        Err(error) => format!("compile-time\tunknown: {error}\n"),
    }
}

/// Checks that these bytes can be run as the hook of these settings.
pub fn check(bytes: &[u8], settings: &Settings) -> Result<Contents, String> {
    if settings.sha256.is_some() {
        settings.check_digest(&Digest::of(bytes))?;
    }
    validate::validate(bytes)
}

/// Bytes that a compiler may use of the container's limit; without one there is no limit.
fn share_of_memory() -> u64 {
    cgroup::memory_left().map_or(u64::MAX, |left| left / SHARE)
}
