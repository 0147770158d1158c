//! Supervisor: explains a hook that was not found: what is wrong with its name, and which one was probably meant.

use super::built_in;
use crate::text::closest;
use std::path::Path;

/// Explains a name that no built-in hook has.
pub fn explain(name: &str) -> String {
    let files = "a file has a / in its name or ends in .wasm";
    if name.is_empty() {
        return format!("the name is empty; it must be a built-in hook or a file ({files})");
    }
    let names = built_in::names();
    let meant = closest(name, names.iter().copied()).map(|meant| format!("; did you mean {meant}?"));
    let form = match name {
        _ if meant.is_some() => meant.as_deref(),
        _ if name.contains('=') => Some("; NAME=HOOK takes a NAME of letters, digits, - and _"),
        _ if name.contains([',', ' ']) => {
            Some("; several are separated by \":\" in the variable, or the option is repeated")
        }
        _ => None,
    };
    format!("no such built-in hook{} (there are: {}; {files})", form.unwrap_or_default(), names.join(", "))
}

/// Hint for a file that does not exist and has the name of a built-in hook: `istio-quit.wasm`.
pub fn hint(path: &Path) -> String {
    let name = path.to_str().and_then(|path| path.strip_suffix(".wasm"));
    let found = name.filter(|name| built_in::names().contains(name) && !path.exists());
    found.map(|name| format!("; the built-in hook is called {name}")).unwrap_or_default()
}
