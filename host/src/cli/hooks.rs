//! Supervisor: the listed hooks and their settings, from each hook's own variables or else from the options.

use super::{
    options::{self, Arguments},
    values::{self, flag},
};
use crate::{
    hook::{AllowList, Digest, Listed, Setting, Settings, Spec, Variables},
    outcome::RunOn,
};
use anyhow::{Context, Result, bail, ensure};
use std::{ffi::OsStr, sync::Arc, time::Duration};

/// The hooks before the command, and those after it.
pub fn listed(arguments: &Arguments) -> Result<(Vec<Listed>, Vec<Listed>)> {
    let before = arguments.list(&options::BEFORE, |hook| Ok(Spec::parse(hook)))?;
    let after = arguments.list(&options::PLUGIN, |hook| Ok(Spec::parse(hook)))?;
    let mut sha256 = vec![None; before.len()];
    match arguments.one(&options::PLUGIN_SHA256, values::all_parsed)? {
        None => sha256.resize(before.len() + after.len(), None),
        Some(digests) => {
            let by: Arc<str> = arguments.name(&options::PLUGIN_SHA256).into();
            ensure!(
                digests.len() == after.len(),
                "{by} has {} for {}; set one for each, in their order",
                count(digests.len(), "digest"),
                count(after.len(), "hook")
            );
            sha256.extend(digests.into_iter().map(|value| Some(Setting { value, by: by.clone() })));
        }
    }
    // Invalid options are an error even if no hook runs.
    let defaults = Defaults::read(arguments)?;
    if are_disabled(arguments)? {
        return Ok((Vec::new(), Vec::new()));
    }
    let before_count = before.len();
    let all: Vec<Spec> = before.into_iter().chain(after).collect();
    let names: Vec<_> = all.iter().map(|hook| (hook.label.name.as_str(), hook.own_name())).collect();
    let variables = Variables::of(&names);
    for name in options::digest_variables() {
        let known = variables.iter().any(|variables| variables.named("SHA256") == name);
        ensure!(known, "{name}: there is no hook of this name");
    }
    let mut before = all
        .into_iter()
        .zip(variables)
        .zip(sha256)
        .map(|((spec, variables), sha256)| {
            let settings = defaults.settings(arguments, variables, sha256)?;
            Ok(Listed { spec, settings: settings.into() })
        })
        .collect::<Result<Vec<_>>>()?;
    let after = before.split_off(before_count);
    Ok((before, after))
}

/// A hook that is not to be run, with its settings.
pub fn inspected(arguments: &Arguments, hook: &OsStr) -> Result<Listed> {
    let spec = Spec::parse(hook);
    let variables = Variables::of(&[(spec.label.name.as_str(), spec.own_name())]);
    let variables = variables.into_iter().next().context("no name")?;
    let settings = Defaults::read(arguments)?.settings(arguments, variables, None)?;
    Ok(Listed { spec, settings: settings.into() })
}

pub fn are_disabled(arguments: &Arguments) -> Result<bool> {
    Ok(arguments.one(&options::DISABLE_HOOKS, flag)?.unwrap_or(false))
}

/// Settings for all hooks, from the options.
struct Defaults {
    timeout: Setting<Duration>,
    memory: Setting<usize>,
    allow_http: Setting<AllowList>,
    run_on: RunOn,
}

impl Defaults {
    fn read(arguments: &Arguments) -> Result<Self> {
        arguments.check_variables(&options::ALLOW_HTTP)?;
        let allow_http = arguments.list_or_default(&options::ALLOW_HTTP, values::parsed)?;
        Ok(Self {
            timeout: by(&options::PLUGIN_TIMEOUT, arguments.or_default(&options::PLUGIN_TIMEOUT, values::duration)?),
            memory: by(&options::PLUGIN_MEMORY, arguments.or_default(&options::PLUGIN_MEMORY, values::memory)?),
            allow_http: by(&options::ALLOW_HTTP, AllowList::new(allow_http)),
            run_on: arguments.or_default(&options::PLUGIN_ON, values::parsed)?,
        })
    }

    /// The settings of one hook: from its own variables, or else from the options.
    fn settings(
        &self,
        arguments: &Arguments,
        variables: Variables,
        listed: Option<Setting<Digest>>,
    ) -> Result<Settings> {
        let own = |setting: &str| Some(variables.named(setting)).filter(|name| !variables.hide(name));
        let timeout = one(arguments, own("TIMEOUT"), values::duration)?;
        let memory = one(arguments, own("MEMORY"), values::memory)?;
        let run_on = one(arguments, own("ON"), values::parsed)?;
        let optional = one(arguments, own("OPTIONAL"), flag)?;
        let on_last = one(arguments, own("ON_LAST"), flag)?;
        let allow_http = match ["ALLOW", "ALLOW_HTTP"].map(|setting| rules(arguments, own(setting)).transpose()) {
            [Some(first), Some(second)] => return Err(options::both(&first?.by, &second?.by)),
            [first, second] => first.or(second).transpose()?,
        };
        let sha256 = match (one(arguments, own("SHA256"), values::parsed)?, listed) {
            (Some(own), Some(listed)) => {
                ensure!(
                    own.value == listed.value,
                    "{} and {} differ for the same hook; set one of them",
                    own.by,
                    listed.by
                );
                Some(own)
            }
            (own, listed) => own.or(listed),
        };
        check_identity(arguments, &variables)?;
        Ok(Settings {
            timeout: timeout.unwrap_or_else(|| self.timeout.clone()),
            memory: memory.unwrap_or_else(|| self.memory.clone()),
            // What would allow more to this hook: the option would take the default from the other hooks.
            allow_http: allow_http.unwrap_or_else(|| Setting {
                value: self.allow_http.value.clone(),
                by: own("ALLOW").map_or_else(|| self.allow_http.by.clone(), Into::into),
            }),
            sha256,
            run_on: run_on.map_or(self.run_on, |run_on| run_on.value),
            optional: optional.is_some_and(|optional| optional.value),
            on_last: on_last.is_some_and(|on_last| on_last.value),
            variables,
        })
    }
}

/// A client certificate is of no use without its key.
fn check_identity(arguments: &Arguments, variables: &Variables) -> Result<()> {
    let [certificate, key] = ["TLS_CERT", "TLS_KEY"].map(|setting| variables.named(setting));
    let is_set = |name: &str| Ok::<_, anyhow::Error>(arguments.variable(name, |_| Ok(()))?.is_some());
    match (is_set(&certificate)?, is_set(&key)?) {
        (true, false) => bail!("{certificate} is set and {key} is not; a client certificate needs both"),
        (false, true) => bail!("{key} is set and {certificate} is not; a client certificate needs both"),
        _ => Ok(()),
    }
}

/// The rules in one of a hook's own variables.
fn rules(arguments: &Arguments, name: Option<String>) -> Result<Option<Setting<AllowList>>> {
    let Some(by) = name else { return Ok(None) };
    let rules = arguments.variables(&by, values::parsed)?;
    Ok((!rules.is_empty()).then(|| Setting { value: AllowList::new(rules), by: by.into() }))
}

fn by<T>(option: &options::Opt, value: T) -> Setting<T> {
    Setting { value, by: option.long().into() }
}

/// `1 hook`, `2 hooks`.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Value of a hook's own variable.
fn one<T>(
    arguments: &Arguments,
    name: Option<String>,
    parse: impl Fn(&OsStr) -> Result<T>,
) -> Result<Option<Setting<T>>> {
    let Some(by) = name else { return Ok(None) };
    Ok(arguments.variable(&by, parse)?.map(|value| Setting { value, by: by.into() }))
}
