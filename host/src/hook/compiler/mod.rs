//! Compiler: checks hooks before the command starts, reports to the supervisor, and goes on to compile them at the
//! lowest priority while the command runs.

pub mod contract;
mod explain;
mod validate;

use super::{
    Common, engine,
    handover::{self, Message, Turn},
    load::Hook,
    memfd,
    settings::{Digest, Setting, Settings},
};
use crate::{
    log::{self, Level, Line},
    sandbox::{self, heap},
    supervise::exit_now,
    text::{REASON_LIMIT, strerror, truncate},
};
use ring::digest::{SHA256, digest};
use rustix::{fd::OwnedFd, process::nice};
use std::{
    convert::Infallible,
    fs::{self, File},
    io::Write,
    os::fd::AsRawFd,
};
use wasmtime::Engine;

/// Of what the container has left when compiling begins, this part. The command has hardly begun by then: what it will
/// need is not known, and a quarter leaves it most.
const SHARE: u64 = 4;

/// With less the smallest of hooks is not compiled: the engine itself needs a few MiB.
const LEAST_SHARE: u64 = 8 << 20;

/// The limit and the use of a memory cgroup, in version 2 and in version 1.
const CGROUP_FILES: [(&str, &str); 2] =
    [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")];

const CGROUPS: &str = "/sys/fs/cgroup";

/// Checks and compiles these hooks, each of which has a socket of its own to report on.
pub fn run(work: &[(&Hook, &OwnedFd)], common: &Common, turn: Option<&Turn>) -> Infallible {
    let reports: Vec<i32> = work.iter().map(|(_, report)| report.as_raw_fd()).collect();
    let hooks = work.iter().flat_map(|(hook, _)| hook.descriptors());
    sandbox::close_fds_except(
        &hooks.chain(reports.iter().copied()).chain(turn.map(Turn::descriptor)).collect::<Vec<_>>(),
    );
    heap::end_when_exhausted();
    let compiles = work.iter().any(|(hook, _)| hook.precompile);
    let share = if compiles { share_of_memory() } else { 0 };
    // In the sandbox no more files can be created.
    let files: Vec<_> = work.iter().map(|_| memfd::create("code").ok()).collect();
    sandbox::enter_as_compiler(&reports);
    for (hook, report) in work {
        if hook.needs_check() && !report_validity(validate_hook(hook), report) {
            exit_now(0);
        }
    }
    if !compiles {
        exit_now(0);
    }
    if share < LEAST_SHARE {
        log::debug(|| "hooks are compiled when they run: the container has little memory left".into());
        exit_now(0);
    }
    // From here on the command runs, and has priority.
    let _ = nice(19);
    sandbox::limit_memory(share);
    if let Some(turn) = turn {
        turn.wait();
    }
    for ((hook, report), file) in work.iter().zip(files) {
        let Some(file) = file else { continue };
        // The runner takes code only from an engine like its own, to whose settings the hook's memory can belong.
        let engine = engine::new(hook.settings.memory.value, common.scarce_address_space, engine::Code::usual());
        if let Err(error) = engine.and_then(|engine| compile(hook, &engine, report, file)) {
            log::debug(|| format!("hook {} is compiled when it runs: {error}", hook.label));
        }
    }
    exit_now(0)
}

fn compile(hook: &Hook, engine: &Engine, report: &OwnedFd, mut code: File) -> wasmtime::Result<()> {
    code.write_all(&engine.precompile_component(&hook.bytes()?)?)?;
    memfd::seal(&code)?;
    handover::send_file(report, &code)?;
    Ok(())
}

fn report_validity(fits: bool, report: &OwnedFd) -> bool {
    handover::send(report, if fits { Message::Valid } else { Message::Invalid });
    fits
}

fn validate_hook(hook: &Hook) -> bool {
    let checked = hook.bytes().map_err(strerror).and_then(|bytes| check(&bytes, &hook.settings));
    match checked {
        Ok(()) => true,
        Err(why) => {
            Line::new(Level::Error, truncate(&why, REASON_LIMIT)).about_source(&hook.label).write();
            false
        }
    }
}

/// Checks that these bytes can be run as the hook of these settings.
pub fn check(bytes: &[u8], settings: &Settings) -> Result<(), String> {
    if let Some(Setting { value: wanted, by }) = &settings.sha256 {
        let found = digest(&SHA256, bytes);
        if found.as_ref() != wanted.0 {
            let found = found.as_ref().try_into().map(Digest).map_err(|_| "no digest")?;
            return Err(format!("its SHA-256 is {found}, not the one of {by}"));
        }
    }
    validate::validate(bytes)
}

/// Bytes that a compiler may use of the container's limit; without one there is no limit.
fn share_of_memory() -> u64 {
    left().map_or(u64::MAX, |left| left / SHARE)
}

/// The bytes between the container's use and its limit. In a container its own cgroup is the root of what is mounted;
/// elsewhere /proc says which it is (cgroups(7)).
fn left() -> Option<u64> {
    let listed = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = listed.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        ["", "memory"].contains(&controllers).then_some(path)
    });
    own.chain([""]).flat_map(|path| CGROUP_FILES.map(|files| left_in(path, files))).flatten().min()
}

fn left_in(cgroup: &str, (limit, used): (&str, &str)) -> Option<u64> {
    let number = |file: &str| {
        let (controller, file) = file.split_once('/').unwrap_or(("", file));
        let text = fs::read_to_string(format!("{CGROUPS}/{controller}{cgroup}/{file}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    Some(number(limit)?.saturating_sub(number(used)?))
}
