//! Supervisor: the termination message: one line that `kubectl describe pod` shows for a terminated container.
//!
//! The kubelet creates a file for it (`terminationMessagePath`) and reads it when the container has terminated. The
//! command may write to it too; the line is appended. The file is never created here.

use crate::{
    hook::Report,
    job::Job,
    log::{self, Format},
    outcome::{Ending, Outcome, WRAPPER_FAILED},
    text::{ellipsize, one_line, strerror},
};
use rustix::{
    fs::{FileType, Mode, OFlags, fstat, lstat, open},
    io::pread,
};
use serde_json::{Map, Value, json};
use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

/// The longest line, its end included. Kubernetes keeps 4096 bytes of a container's message, and shares 12 KiB among
/// all containers of a pod: this much for each of six.
const LIMIT: usize = 2048;

/// Bytes of a command's path; a long one is cut to leave room for the rest.
const NAME_LIMIT: usize = 256;

/// Appends the line to the file, if it exists.
pub fn write(path: &Path, format: Format, job: &Job, code: u8, reports: &[Report]) {
    let Some(ending) = &job.ending else { return };
    let line = match format {
        Format::Text => text(job, ending, code, reports),
        Format::Json => json(job, ending, code, reports),
    };
    let problem = |error| format!("cannot write the termination message to {:?}: {error}", path.to_string_lossy());
    match append(path, &line) {
        Ok(()) => {}
        // The same manifest, or image, is used where there is no kubelet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => log::debug(|| problem(strerror(error))),
        Err(_) if is_link(path) => log::warn(problem("it is a symbolic link, and links are not followed".into())),
        Err(error) => log::warn(problem(strerror(error))),
    }
}

/// The same for an invalid option.
pub fn write_usage_error(path: &Path, format: Format, message: &str) {
    let line = match format {
        Format::Text => ellipsize(&one_line(&format!("exit code {WRAPPER_FAILED}: {message}")), LIMIT - 1),
        Format::Json => {
            let outcome = Outcome::not_started(ellipsize(message, LIMIT / 4), WRAPPER_FAILED);
            let mut fields = Map::from_iter([("exit_code".into(), WRAPPER_FAILED.into())]);
            fields.extend(outcome_fields(&outcome));
            log::json_line(fields)
        }
    };
    let _ = append(path, &line);
}

/// `exit code 137: "my-job" was killed by signal 9 after 3.2 s; hooks: istio-quit succeeded`
fn text(job: &Job, ending: &Ending, code: u8, reports: &[Report]) -> String {
    let mut line = format!("exit code {code}: {:?} {}", name(job), ending.outcome);
    if let Some(elapsed) = job.elapsed {
        line.push_str(&format!(" after {:.1} s", elapsed.as_secs_f64()));
    }
    if let Some(cause) = ending.cause {
        line.push_str(&format!(", {cause}"));
    }
    if let Some(signal) = job.stop_signal {
        line.push_str(&format!(", asked to stop by signal {signal}"));
    }
    for (index, report) in reports.iter().enumerate() {
        let separator = if index == 0 { "; hooks: " } else { ", " };
        line.push_str(&format!("{separator}{} {}", report.hook, report.verdict.as_str()));
    }
    ellipsize(&one_line(&line), LIMIT - 1)
}

/// The same for programs. Hooks for which there is no room are counted.
fn json(job: &Job, ending: &Ending, code: u8, reports: &[Report]) -> String {
    let mut fields = Map::from_iter([("exit_code".into(), code.into()), ("command".into(), name(job).into())]);
    fields.extend(outcome_fields(&ending.outcome));
    fields.extend(ending.cause.map(|cause| ("cause".into(), cause.as_str().into())));
    fields.extend(job.elapsed.map(|elapsed| ("duration".into(), log::seconds(elapsed).into())));
    fields.extend(ending.usage.cpu_time.map(|time| ("cpu_time".into(), log::seconds(time.user + time.system).into())));
    fields.extend(ending.usage.peak_memory.map(|bytes| ("peak_memory".into(), bytes.into())));
    fields.extend(ending.leftovers.map(|count| ("leftovers".into(), count.into())));
    fields.extend(job.stop_signal.map(|signal| ("stop_signal".into(), signal.into())));
    fields.insert("hooks_left_out".into(), reports.len().into());
    fields.insert("hooks".into(), json!([]));
    let mut room = (LIMIT - 1).saturating_sub(log::json_line(fields.clone()).len());
    let mut hooks = Vec::new();
    for report in reports {
        let hook = hook(report);
        let length = log::json_line(hook.clone()).len() + 1; // and a comma
        let Some(rest) = room.checked_sub(length) else { break };
        room = rest;
        hooks.push(hook.into());
    }
    match reports.len() - hooks.len() {
        0 => drop(fields.remove("hooks_left_out")),
        left_out => drop(fields.insert("hooks_left_out".into(), left_out.into())),
    }
    fields.insert("hooks".into(), Value::Array(hooks));
    log::json_line(fields)
}

fn hook(report: &Report) -> Map<String, Value> {
    Map::from_iter([
        ("hook".into(), ellipsize(&report.hook, NAME_LIMIT).into()),
        ("phase".into(), report.phase.as_str().into()),
        ("verdict".into(), report.verdict.as_str().into()),
        ("duration".into(), log::seconds(report.duration).into()),
    ])
}

fn outcome_fields(outcome: &Outcome) -> [(String, Value); 2] {
    let (name, detail) = match outcome {
        Outcome::Exited(status) => ("status", json!(status)),
        Outcome::Killed { signal, .. } => ("signal", json!(signal)),
        Outcome::NotStarted { reason, .. } => ("reason", json!(reason)),
    };
    [("outcome".into(), outcome.as_str().into()), (name.into(), detail)]
}

fn name(job: &Job) -> String {
    ellipsize(&job.arguments().next().unwrap_or_default(), NAME_LIMIT)
}

/// Appends a line to a file, on a line of its own.
fn append(path: &Path, line: &str) -> io::Result<()> {
    // A FIFO or a terminal in its place does not block. The kubelet creates a file and no link: a link was made by the
    // command, or by another process that can write there, and leads to a file that is not for this line.
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("not a regular file"));
    }
    let mut last = [b'\n'];
    if let Some(end) = stat.st_size.unsigned_abs().checked_sub(1) {
        pread(&file, &mut last, end)?;
    }
    let start = if last == *b"\n" { "" } else { "\n" };
    File::from(file).write_all(format!("{start}{line}\n").as_bytes())
}

fn is_link(path: &Path) -> bool {
    lstat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}
