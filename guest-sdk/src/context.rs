//! The context of a hook: what is known about the command and the hook itself, and its settings.

use crate::{
    Error, Result,
    host::{self, get_environment},
    template, text, values,
};
use alloc::{string::String, vec::Vec};
use core::time::Duration;

/// What is known about the command and the hook. Nothing here changes while the hook runs, except
/// [`uptime`](Self::uptime) and [`time_left`](Self::time_left).
#[derive(Debug)]
pub struct Context(());

/// When a hook runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Before the command is started. If the hook fails, the command is not started.
    Before,
    /// After the command has exited, or could not be started.
    After,
    /// A phase that this version of the crate does not know: its name.
    Other(String),
}

/// How the command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It exited with this status; 0 means success.
    Exited(u8),
    /// A signal killed it.
    #[non_exhaustive]
    Killed {
        /// The number of the signal: 9 is SIGKILL, 15 is SIGTERM.
        signal: u8,
        /// Whether the kernel wrote a core dump.
        core_dumped: bool,
    },
    /// It never ran.
    #[non_exhaustive]
    NotStarted {
        /// The reason, in one line.
        reason: String,
        /// The container's exit code: 127 not found, 126 not executable, 125 an error of wrapper or a hook, 128 + n
        /// stopped by signal n before the start.
        exit_code: u8,
    },
    /// An outcome that this version of the crate does not know: a description in one line.
    Other(String),
}

/// Why the command ended, where more is known than its outcome says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The kernel killed it, or a process that it started, because memory was short.
    OutOfMemory,
    /// It still ran at the end of its time limit, and wrapper stopped it.
    TimedOut,
    /// A cause that this version of the crate does not know: a description in one line.
    Other(String),
}

/// Processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuTime {
    /// In the program's own code.
    pub user: Duration,
    /// In the kernel, on its behalf.
    pub system: Duration,
}

/// The position of a hook among those of its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Position {
    /// Counted from 1, in the order in which they run.
    pub number: u32,
    /// How many hooks the phase has.
    pub count: u32,
}

impl Context {
    #[doc(hidden)]
    pub fn get() -> &'static Self {
        &Self(())
    }

    /// When this hook runs.
    pub fn phase(&self) -> Phase {
        match host::get_phase() {
            host::Phase::Before => Phase::Before,
            host::Phase::After => Phase::After,
            host::Phase::Other(name) => Phase::Other(name),
        }
    }

    /// The command and its arguments. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub fn command(&self) -> Vec<String> {
        host::get_command()
    }

    /// How the command ended; `None` before it started.
    pub fn outcome(&self) -> Option<Outcome> {
        Some(match host::get_outcome()? {
            host::Outcome::Exited(status) => Outcome::Exited(status),
            host::Outcome::Killed(host::Killed { signal, core_dumped }) => Outcome::Killed { signal, core_dumped },
            host::Outcome::NotStarted(host::NotStarted { reason, exit_code }) => {
                Outcome::NotStarted { reason, exit_code }
            }
            host::Outcome::Other(text) => Outcome::Other(text),
        })
    }

    /// The container's exit code: the command's exit status, 128 + n if signal n killed it, or the code for the reason
    /// why it did not start, unless the operator configured another one in its place; 0 before the command is started.
    pub fn exit_code(&self) -> u8 {
        host::get_exit_code().unwrap_or(0)
    }

    /// Whether the command ran and exited with status 0, or with another one that the operator counts as success.
    pub fn succeeded(&self) -> bool {
        host::get_succeeded() == Some(true)
    }

    /// What became of the command, to be read after its name: `exited with 7`, `was killed by signal 9: out of memory`.
    pub fn summary(&self) -> String {
        let ended = match self.outcome() {
            None => "is about to start".into(),
            Some(Outcome::Exited(status)) => text!("exited with {status}"),
            Some(Outcome::Killed { signal, .. }) => text!("was killed by signal {signal}"),
            Some(Outcome::NotStarted { reason, .. }) => text!("was not started: {reason}"),
            Some(_) => "ended".into(),
        };
        match &*template::cause(self) {
            "" => ended,
            cause => {
                let words: String = cause.chars().map(|char| if char == '-' { ' ' } else { char }).collect();
                text!("{ended}: {words}")
            }
        }
    }

    /// The report that the built-in hook `http` sends by default: an object of JSON in one line.
    ///
    /// ```
    /// # let job = wrapper_hook::testing::Job::killed(9).cause(wrapper_hook::Cause::OutOfMemory).peak_memory(5_242_880);
    /// # let report = job.run(|cx| {
    /// let start = r#"{"command":"true","phase":"after","outcome":"killed","cause":"out-of-memory","result":"failure","#;
    /// assert!(cx.to_json().starts_with(start));
    /// let end = r#""peak_memory":5242880,"summary":"was killed by signal 9: out of memory"}"#;
    /// assert!(cx.to_json().ends_with(end));
    /// # Ok(())
    /// # });
    /// # assert_eq!(report.result, Ok(()));
    /// ```
    pub fn to_json(&self) -> String {
        template::fill(self, template::REPORT, template::Escape::Json).unwrap_or_default()
    }

    /// Why the command ended, if more is known than its outcome.
    pub fn cause(&self) -> Option<Cause> {
        Some(match host::get_cause()? {
            host::Cause::OutOfMemory => Cause::OutOfMemory,
            host::Cause::TimedOut => Cause::TimedOut,
            host::Cause::Other(text) => Cause::Other(text),
        })
    }

    /// The most memory that the command used at one time, in bytes: all of its processes, if it had a cgroup of its
    /// own, otherwise the largest of the processes that it waited for, itself included. `None` if it did not run, or if
    /// it is unknown.
    pub fn peak_memory(&self) -> Option<u64> {
        host::get_peak_memory()
    }

    /// The processor time of the command and of the processes that it waited for; of all of its processes, if it had a
    /// cgroup of its own. `None` if it did not run, or if it is unknown.
    pub fn cpu_time(&self) -> Option<CpuTime> {
        let host::CpuTime { user, system } = host::get_cpu_time()?;
        Some(CpuTime { user: Duration::from_nanos(user), system: Duration::from_nanos(system) })
    }

    /// The number of processes that the command left behind when it ended; `None` if wrapper was not configured to look
    /// for them.
    pub fn leftover_count(&self) -> Option<u32> {
        host::get_leftover_count()
    }

    /// The number of the first signal that wrapper got to stop the container, if there was one.
    pub fn stop_signal(&self) -> Option<u8> {
        host::get_stop_signal()
    }

    /// The time at which the command was started, since 1970-01-01T00:00:00Z; `None` if it was not.
    pub fn started_at(&self) -> Option<Duration> {
        host::get_started_at().map(Duration::from_nanos)
    }

    /// The time at which the command exited, since 1970-01-01T00:00:00Z; `None` if it did not run.
    pub fn ended_at(&self) -> Option<Duration> {
        self.started_at()?.checked_add(self.elapsed()?)
    }

    /// The run time of the command; `None` if it did not run.
    pub fn elapsed(&self) -> Option<Duration> {
        host::get_elapsed().map(Duration::from_nanos)
    }

    /// The time since wrapper was started: the age of the container, if wrapper is its entrypoint.
    pub fn uptime(&self) -> Duration {
        Duration::from_nanos(host::get_uptime())
    }

    /// The time until this hook is killed.
    pub fn time_left(&self) -> Duration {
        Duration::from_nanos(host::get_time_left())
    }

    /// The name of this hook in the log.
    pub fn name(&self) -> String {
        host::get_name()
    }

    /// The position of this hook among those of its phase.
    pub fn position(&self) -> Position {
        let host::Position { number, count } = host::get_position();
        Position { number, count }
    }

    /// The value of an environment variable, if it is set and not empty: a manifest can override a variable of an image
    /// with an empty value, but not unset it.
    ///
    /// A hook sees the variables named `HOOK_…` that belong to no other hook, those listed with `--plugin-env`, and the
    /// values of this context, which are there for programs that do not import it.
    pub fn var(&self, name: &str) -> Option<String> {
        let (_, value) = get_environment().into_iter().find(|(key, _)| key == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// [`var`](Self::var) without leading and trailing white space, if anything is left: YAML's `value: |` ends in a
    /// newline, and so does a secret written with `echo`.
    pub fn trimmed(&self, name: &str) -> Option<String> {
        let value = self.var(name)?;
        let value = value.trim_ascii();
        (!value.is_empty()).then(|| value.into())
    }

    /// The name of the variable for a setting of this hook: `HOOK_`, the hook's [`name`](Self::name) in capitals, and
    /// the setting. The hook `slack` has its setting `URL` in `HOOK_SLACK_URL`; any character but letters and digits
    /// becomes `_`.
    ///
    /// A hook that is listed twice under different names has two sets of settings.
    #[allow(unsafe_code, reason = "checking for UTF-8 what is ASCII costs half a kB")]
    pub fn setting_name(&self, setting: &str) -> String {
        let mut name = host::get_name().into_bytes();
        for byte in &mut name {
            *byte = if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() } else { b'_' };
        }
        // SAFETY: every byte is ASCII now.
        let name = unsafe { String::from_utf8_unchecked(name) };
        text!("HOOK_{name}_{setting}")
    }

    /// [`setting_name`](Self::setting_name) if that variable is set, otherwise the name that begins with `prefix`. With
    /// `setting_name_or("URL", "HOOK_ISTIO_QUIT")` a hook that is listed under another name keeps its documented
    /// setting.
    pub fn setting_name_or(&self, setting: &str, prefix: &str) -> String {
        match self.setting_name(setting) {
            own if self.trimmed(&own).is_some() => own,
            _ => text!("{prefix}_{setting}"),
        }
    }

    /// A time in a variable: whole numbers with units, `500ms`, `5s`, `2m`, `1h` or `1m30s`; a number without a unit is
    /// in seconds. wrapper's own options take the same times.
    ///
    /// # Errors
    ///
    /// [`Error::Misconfigured`], naming the variable, when it is set to anything else.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>> {
        let Some(value) = self.trimmed(name) else { return Ok(None) };
        let time = values::duration(&value);
        if time.is_none() {
            return Err(Error::Misconfigured(text!("{name}=\"{value}\": not {}", values::DURATION)));
        }
        Ok(time)
    }

    /// A [`duration`](Self::duration) that must be more than 0, such as a polling interval.
    ///
    /// # Errors
    ///
    /// [`Error::Misconfigured`], naming the variable, when it is 0 or no time.
    pub fn positive_duration(&self, name: &str) -> Result<Option<Duration>> {
        let time = self.duration(name)?;
        if time == Some(Duration::ZERO) {
            return Err(Error::Misconfigured(text!("{name} must be more than 0")));
        }
        Ok(time)
    }

    /// A switch in a variable: `true`, `yes`, `on` or `1`, or `false`, `no`, `off` or `0`, in capital or small letters;
    /// off when it is not set.
    ///
    /// # Errors
    ///
    /// [`Error::Misconfigured`], naming the variable, when it is set to anything else.
    pub fn flag(&self, name: &str) -> Result<bool> {
        Ok(self.choose(name, &values::SWITCH)?.is_some_and(|place| place < values::SWITCH.len() / 2))
    }

    /// One of several words in a variable, in capital or small letters.
    ///
    /// ```
    /// # use wrapper_hook::{Context, Result, testing::Job};
    /// fn run(cx: &Context) -> Result {
    ///     let mode = cx.choice("HOOK_MODE", &["strict", "lenient"])?.unwrap_or("lenient");
    ///     # assert_eq!(mode, "strict");
    ///     # Ok(())
    /// }
    /// # assert_eq!(Job::exited(0).var("HOOK_MODE", "Strict").run(run).result, Ok(()));
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Misconfigured`], naming the variable and the words, when it is set to anything else.
    pub fn choice<'a>(&self, name: &str, words: &[&'a str]) -> Result<Option<&'a str>> {
        Ok(self.choose(name, words)?.and_then(|place| words.get(place)).copied())
    }

    /// Values in a variable, separated by commas or white space; none when it is not set.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.var(name).as_deref().map(list).unwrap_or_default()
    }

    fn choose(&self, name: &str, words: &[&str]) -> Result<Option<usize>> {
        let Some(value) = self.trimmed(name) else { return Ok(None) };
        let place = values::choice(&value, words);
        if place.is_none() {
            let mut text = text!("{name}=\"{value}\": not one of");
            let mut comma = " ";
            for word in words {
                text.push_str(comma);
                text.push_str(word);
                comma = ", ";
            }
            return Err(Error::Misconfigured(text));
        }
        Ok(place)
    }
}

// Compares bytes: `str::split` adds a search algorithm of 3 kB.
fn list(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut from = 0;
    for (to, byte) in text.bytes().chain([b' ']).enumerate() {
        if byte == b',' || byte.is_ascii_whitespace() {
            values.extend(text.get(from..to).filter(|value| !value.is_empty()).map(String::from));
            from = to + 1;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_commas_or_white_space_between_its_values() {
        assert_eq!(list("a, b\n c,,d "), ["a", "b", "c", "d"]);
        assert_eq!(list(" , "), [""; 0]);
    }
}
