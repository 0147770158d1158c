//! Variables that look like ours and are not, which is most often a slip of the pen, and without a word would be lost.

use super::options;
use crate::environment;

const OURS: &[u8] = b"WRAPPER_";

/// What the variable of a hook's digest begins and ends with.
const DIGEST: (&[u8], &[u8]) = (b"HOOK_", b"_SHA256");

/// The names of such variables. For every Service whose name begins with `wrapper` Kubernetes makes some as well
/// (`WRAPPER_SERVICE_HOST`, `WRAPPER_PORT_80_TCP`); they are left out.
pub fn slips() -> Vec<String> {
    let names = environment::variables().filter(|variable| variable.starts_with(OURS)).map(|variable| {
        let name = variable.split(|byte| *byte == b'=').next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    });
    let unknown = names.filter(|name| !options::variables().any(|variable| variable == name));
    unknown.filter(|name| !name.contains("_SERVICE_") && !name.contains("_PORT")).collect()
}

/// The names of the variables that give a hook's digest; an empty one counts as not given.
pub fn digests() -> Vec<String> {
    let set = environment::variables().filter_map(|variable| {
        let equals = variable.iter().position(|byte| *byte == b'=')?;
        let (name, value) = variable.split_at_checked(equals)?;
        (value.len() > 1 && name.starts_with(DIGEST.0) && name.ends_with(DIGEST.1)).then_some(name)
    });
    set.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}
