//! Supervisor: explains a hook that was not found: what is wrong with its name, and which one was probably meant; and
//! finds variables of hooks that are not listed.

use super::{
    built_in,
    settings::{OF_WRAPPER, prefix},
    spec::Listed,
};
use crate::{
    environment,
    text::{closest, typographic},
};
use std::{env, path::Path};

/// Explains a name that no built-in hook has.
pub fn explain(name: &str) -> String {
    let files = "a file has a / in its name or ends in .wasm";
    if name.is_empty() {
        return format!("the name is empty; it must be a built-in hook or a file ({files})");
    }
    let names = built_in::names();
    let meant = closest(name, names.iter().copied()).map(|meant| format!("; did you mean {meant}?"));
    let form = match name {
        // What is left of a URL in the variable, which is split at colons; a line about the rest follows.
        "https" | "oci" => "; hooks are not downloaded".into(),
        _ if let Some(character) = typographic(name) => format!("; the name begins with {character}"),
        _ if let Some(meant) = meant => meant,
        _ if name.contains('=') => "; NAME=HOOK takes a NAME of letters, digits, - and _".into(),
        _ if name.contains([',', ' ']) => {
            "; several are separated by \":\" in the variable, or the option is repeated".into()
        }
        _ => match of_product(name, &names).as_slice() {
            [] => String::new(),
            found => format!("; did you mean {}?", found.join(" or ")),
        },
    };
    format!("no such built-in hook{form} (there are: {}; {files})", names.join(", "))
}

/// The hooks of the product that a name begins with: for `linkerd-quit` or `linkerd` those of `linkerd`.
fn of_product<'a>(name: &str, hooks: &[&'a str]) -> Vec<&'a str> {
    let letters = name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
    let letters: Vec<_> = letters.collect();
    let is_meant = |hook: &&&str| hook.split('-').next().is_some_and(|product| letters.starts_with(product.as_bytes()));
    hooks.iter().filter(is_meant).copied().collect()
}

/// Hint for a file that does not exist: a URL, the name of a built-in hook as in `istio-quit.wasm`, a relative path.
pub fn hint(path: &Path) -> String {
    if path.exists() {
        return String::new();
    }
    let text = path.to_string_lossy();
    if text.contains("://") {
        return "; hooks are not downloaded; put the file into the image or mount it".into();
    }
    match text.strip_suffix(".wasm").filter(|name| built_in::names().contains(name)) {
        Some(name) => format!("; the built-in hook is called {name}"),
        None if path.is_relative() => {
            env::current_dir().map(|directory| format!(" (relative to {})", directory.display())).unwrap_or_default()
        }
        None => String::new(),
    }
}

/// The least length of a name that a typo is looked for in: short names are all similar.
const LEAST_LENGTH: usize = 4;

/// Warnings about variables `HOOK_<NAME>_…` that look like settings and belong to no hook of these.
pub fn variables<'a>(listed: impl Iterator<Item = &'a Listed> + Clone) -> Vec<String> {
    let mut warnings = Vec::new();
    for variable in environment::variables() {
        let Some((name, _)) = str::from_utf8(variable).ok().and_then(|variable| variable.split_once('=')) else {
            continue;
        };
        let Some(bare) = name.strip_prefix("HOOK_").filter(|_| environment::variable(name).is_some()) else { continue };
        if listed.clone().any(|hook| hook.settings.variables.setting_in(name).is_some()) {
            continue;
        }
        let of_built_in = built_in::names().into_iter().any(|hook| name.starts_with(&prefix(hook)));
        let is_setting = OF_WRAPPER.into_iter().any(|setting| {
            name.strip_suffix(setting).is_some_and(|start| start.len() > "HOOK_".len() && start.ends_with('_'))
        });
        if listed.clone().next().is_none() {
            if of_built_in || is_setting {
                warnings.push(format!("{name} is set, but no hook is listed (--after, --before)"));
            }
        } else if let Some(meant) = meant(bare, listed.clone()).filter(|_| !of_built_in) {
            warnings.push(format!("{name}: there is no hook of this name; did you mean {meant}?"));
        } else if is_setting && !of_built_in {
            warnings.push(format!("{name}: there is no hook of this name"));
        }
    }
    warnings
}

/// The same setting of a listed hook whose name is similar.
fn meant<'a>(bare: &str, listed: impl Iterator<Item = &'a Listed>) -> Option<String> {
    let names: Vec<_> = listed.map(|hook| hook.settings.variables.named("")).collect();
    let names = names.iter().filter_map(|name| name.strip_prefix("HOOK_")?.strip_suffix('_'));
    let long: Vec<_> = names.filter(|name| name.len() >= LEAST_LENGTH).collect();
    bare.match_indices('_').find_map(|(place, _)| {
        let (start, setting) = bare.split_at_checked(place)?;
        closest(start, long.iter().copied()).map(|name| format!("HOOK_{name}{setting}"))
    })
}
