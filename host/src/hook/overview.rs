//! Supervisor: what is known of hooks before they run, for `--check`, `--inspect`, `--list-hooks` and the log.

use super::{
    Hooks,
    built_in::{BUILT_IN, BuiltIn},
    description::Description,
    load::{Code, Hook, readable},
    settings::{Common, OF_WRAPPER},
    spec::{Listed, Source, Spec},
};
use crate::{answer::Item, job::Phase, memfd, text::size};
use std::sync::Arc;

/// The most a ConfigMap holds, all of its values together.
const CONFIG_MAP: u64 = 1 << 20;

/// The largest file that `kubectl apply` can put there: it keeps a copy in an annotation, in base64, of at most 256 KiB
/// with all others.
const APPLIED: u64 = 190_000;

/// The listed hooks of a phase, as `--check` shows them.
pub fn listed(listed: &[Listed], hooks: &Hooks, phase: Phase, common: &Common) -> Vec<Item> {
    let found = |listed: &Listed| {
        let mut hooks = hooks.of(phase).iter();
        hooks.find(|hook| Arc::ptr_eq(&hook.settings, &listed.settings))
    };
    listed.iter().map(|listed| Item::Fields(overview(listed, found(listed), phase, common))).collect()
}

fn overview(listed: &Listed, hook: Option<&Hook>, phase: Phase, common: &Common) -> Vec<(&'static str, Item)> {
    let settings = &listed.settings;
    let mut fields = names(listed);
    let report = hook.map(|hook| hook.report.as_str()).unwrap_or_default();
    fields.extend(values(report, "about").next().map(|about| ("about", about.into())));
    if phase == Phase::After {
        fields.push(("on", settings.run_on.as_str().into()));
        fields.push(("on-last", Item::Flag(settings.on_last)));
    }
    fields.push(("optional", Item::Flag(settings.optional)));
    fields.push(("timeout", Item::Time(settings.timeout.value)));
    fields.push(("memory", Item::Size(settings.memory.value as u64)));
    fields.push(("digest-checked", Item::Flag(settings.sha256.is_some())));
    fields.push(("allow-http", Item::texts(settings.allow_http.value.rules())));
    fields.push(("variables", Item::texts(names_of_variables(listed, hook, common))));
    fields.push(("needs", Item::texts(values(report, "needs"))));
    let reads: Vec<_> = values(report, "reads").map(|read| row(read, &["name", "state"])).collect();
    if !reads.is_empty() {
        fields.push(("reads", Item::List(reads)));
    }
    fields.extend(values(report, "truncated").next().map(|_| ("truncated", Item::Flag(true))));
    fields.push(("valid", Item::Flag(hook.is_some_and(|hook| hook.valid))));
    fields
}

/// What `--inspect` shows of a hook.
pub fn inspected(listed: &Listed, hooks: &Hooks) -> Vec<(&'static str, Item)> {
    let hook = hooks.after.first();
    let report = hook.map(|hook| hook.report.as_str()).unwrap_or_default();
    let mut fields = names(listed);
    let length = match hook.map(|hook| &hook.code) {
        Some(Code::BuiltIn(built_in)) => {
            fields.push(("sha256", built_in.sha256.to_string().into()));
            Some(built_in.length)
        }
        Some(Code::Component(file)) => Some(memfd::length(file)),
        None => None,
    };
    if let Some(length) = length {
        let fits = if length <= APPLIED {
            "yes"
        } else if length <= CONFIG_MAP {
            "yes, with `kubectl create` or `kubectl apply --server-side`"
        } else {
            "no; mount it from an image or a volume"
        };
        fields.push(("size", Item::Size(length)));
        fields.push(("fits-configmap", fits.into()));
    }
    for key in ["sha256", "world", "compile-time", "code-size", "about", "phase"] {
        fields.extend(values(report, key).next().map(|value| (key, value.into())));
    }
    if let Some(Hook { code: Code::BuiltIn(_), .. }) = hook {
        fields.push(("compile-time", "none: compiled when wrapper was built".into()));
    }
    for (key, name) in [("import", "imports"), ("reads", "reads")] {
        let values: Vec<_> = values(report, key).collect();
        if !values.is_empty() {
            fields.push((name, Item::texts(values)));
        }
    }
    let settings = values(report, "setting").map(|setting| row(setting, &["name", "values", "default"]));
    fields.push(("settings", Item::List(settings.collect())));
    fields.extend(values(report, "truncated").next().map(|_| ("truncated", Item::Flag(true))));
    fields.push(("valid", Item::Flag(hook.is_some_and(|hook| hook.valid))));
    fields
}

/// The built-in hooks.
pub fn built_in() -> Item {
    let hooks = BUILT_IN.iter().map(|built_in| {
        let description = Description::parse(built_in.description);
        let settings = description.settings.iter().map(|setting| setting.name);
        Item::Fields(vec![
            ("name", built_in.name.into()),
            ("phase", description.phase.unwrap_or("any").into()),
            ("about", description.about.into()),
            ("settings", Item::texts(settings)),
        ])
    });
    Item::List(hooks.collect())
}

/// The built-in hooks, two lines each.
pub fn built_in_as_text() -> String {
    let mut text = String::new();
    for BuiltIn { name, description, .. } in BUILT_IN {
        let description = Description::parse(description);
        let names: Vec<_> = description.settings.iter().map(|setting| setting.name).collect();
        let settings = if names.is_empty() { "none".into() } else { names.join(", ") };
        let phase = description.phase.unwrap_or("any");
        text += &format!("{name:17} {phase:7} {}\n{:26}settings: {settings}\n", description.about, "");
    }
    let all = OF_WRAPPER.join(", ");
    text + &format!("A setting is a variable: URL of istio-quit is HOOK_ISTIO_QUIT_URL. All hooks have:\n{all}\n")
}

/// The effective settings of the hooks in one line.
pub fn summary(before: &[Listed], after: &[Listed]) -> String {
    let of = |phase: &str, hooks: &[Listed]| {
        let one = |listed: &Listed| {
            let settings = &listed.settings;
            let on = if phase == "after" { format!("on {}, ", settings.run_on.as_str()) } else { String::new() };
            format!(
                "{} ({on}timeout {}, memory {}, allow {})",
                listed.spec.label,
                humantime::format_duration(settings.timeout.value),
                size(settings.memory.value as u64),
                settings.allow_http.value.rules().collect::<Vec<_>>().join(" "),
            )
        };
        let hooks: Vec<_> = hooks.iter().map(one).collect();
        format!("{phase} {}", if hooks.is_empty() { "none".into() } else { hooks.join(", ") })
    };
    format!("hooks: {}; {}", of("before", before), of("after", after))
}

fn names(listed: &Listed) -> Vec<(&'static str, Item)> {
    let Spec { label, source, .. } = &listed.spec;
    let built_in = matches!(source, Source::BuiltIn(_));
    vec![
        ("name", label.name.as_str().into()),
        ("source", label.source.as_str().into()),
        ("built-in", Item::Flag(built_in)),
    ]
}

/// The names of the variables that the hook may read.
fn names_of_variables(listed: &Listed, hook: Option<&Hook>, common: &Common) -> Vec<String> {
    let granted = hook.map(|hook| hook.granted(common)).unwrap_or_default();
    readable(&listed.settings.variables, &granted).map(|(name, _)| name.to_owned()).collect()
}

/// The values of a key in a report.
fn values<'a>(report: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    report
        .lines()
        .filter_map(move |line| line.split_once('\t'))
        .filter(move |(found, _)| *found == key)
        .map(|(_, value)| value)
}

/// Columns with tabs between.
fn row(text: &str, names: &[&'static str]) -> Item {
    let columns = names.iter().zip(text.split('\t')).map(|(name, column)| (*name, column.into()));
    Item::Row(columns.collect())
}
