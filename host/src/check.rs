//! Supervisor: the answers to `--check`, `--inspect` and `--list-hooks`. No command is run and no hook; a hook's bytes are
//! read by its compiler, as before a command.

use crate::{
    answer::Item,
    config::Config,
    hook::{self, Hooks, Listed, built_in_as_text, built_in_hooks},
    job::Phase,
    log::{self, Format},
    outcome::WRAPPER_FAILED,
    supervise::{Supervisor, reason_not_to_start},
};
use std::time::Duration;

/// What would run, and whether all of it is valid: the answer and the exit code. The log says what is not valid.
pub fn check(config: &Config, supervisor: Supervisor) -> (String, u8) {
    if let Some(reason) = reason_not_to_start(&config.command) {
        // Where a manifest is checked, the image need not be the one of the Job.
        log::warn(format!("the command cannot be started here: {reason}; ignore this if the job uses another image"));
    }
    let (hooks, valid) = checked(config, supervisor);
    let of = |phase, listed| Item::List(hook::overview(listed, &hooks, phase, &config.common));
    let longest = |hooks: &[Listed]| hooks.iter().map(|hook| hook.settings.timeout.value).sum::<Duration>();
    let (before, after) = (longest(&config.before), longest(&config.after));
    let mut fields = vec![
        ("before", of(Phase::Before, &config.before)),
        ("command", Item::Command(config.command.iter().map(|argument| argument.to_string_lossy().into()).collect())),
        ("after", of(Phase::After, &config.after)),
        (
            "settings",
            Item::Fields(config.changed.iter().map(|(option, value)| (*option, value.as_str().into())).collect()),
        ),
        ("hooks-disabled", Item::Flag(config.hooks_disabled)),
        ("longest-before", Item::Time(before)),
        ("longest-after", Item::Time(after)),
    ];
    fields.extend(config.longest_stop().map(|stop| ("longest-stop", Item::Time(stop))));
    fields.extend(config.grace_period.map(|time| ("grace-period", Item::Time(time))));
    fields.push(("valid", Item::Flag(valid)));
    answer(fields, valid, config)
}

/// What one hook is.
pub fn inspect(config: &Config, supervisor: Supervisor) -> (String, u8) {
    let (hooks, valid) = checked(config, supervisor);
    let fields = config.after.first().map(|listed| hook::inspected(listed, &hooks)).unwrap_or_default();
    answer(fields, valid, config)
}

/// The listed hooks, and whether all of them are valid.
fn checked(config: &Config, mut supervisor: Supervisor) -> (Hooks, bool) {
    let mut hooks = hook::load(&config.before, &config.after, &config.common);
    hooks.check(&config.common, &mut supervisor);
    supervisor.end_helpers();
    let valid = hooks.unusable().is_none();
    (hooks, valid)
}

fn answer(fields: Vec<(&'static str, Item)>, valid: bool, config: &Config) -> (String, u8) {
    (Item::Fields(fields).written(config.log.format), if valid { 0 } else { WRAPPER_FAILED })
}

pub fn list_hooks(format: Format) -> String {
    match format {
        Format::Text => built_in_as_text(),
        Format::Json => built_in_hooks().written(format),
    }
}
