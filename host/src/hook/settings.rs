//! All processes: what a hook may do and use, which variables are its own, and what holds for all hooks of a run.

use super::allow_list::{AllowList, Origin};
use crate::outcome::RunOn;
use anyhow::ensure;
use std::{fmt, str::FromStr, sync::Arc, time::Duration};

/// Settings of one hook. Options are the defaults of all hooks; `HOOK_<NAME>_…` is for one.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time limit of the whole hook.
    pub timeout: Setting<Duration>,
    /// In bytes, over all its linear memories.
    pub memory: Setting<usize>,
    pub allow_http: Setting<AllowList>,
    /// The digest its bytes must have.
    pub sha256: Option<Setting<Digest>>,
    /// The outcomes of the command for which it runs, if it is an after-hook.
    pub run_on: RunOn,
    /// Whether its failure is ignored.
    pub optional: bool,
    /// Whether it runs only in the container that ends last, if it is an after-hook.
    pub on_last: bool,
    pub variables: Variables,
}

/// The settings of any hook that wrapper itself reads.
pub const OF_WRAPPER: [&str; 10] =
    ["TIMEOUT", "MEMORY", "ALLOW", "ALLOW_HTTP", "SHA256", "ON", "OPTIONAL", "ON_LAST", "TLS_CERT", "TLS_KEY"];

/// Methods that no hook can use, in any case, as in browsers: they make a proxy a tunnel to where no rule applies, or
/// have a server repeat headers that others added.
pub const FORBIDDEN_METHODS: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];

impl Settings {
    /// Compares the digest of the hook's component with the one that it must have.
    pub fn check_digest(&self, found: &Digest) -> Result<(), String> {
        match &self.sha256 {
            Some(Setting { value, by }) if found != value => {
                Err(format!("its SHA-256 is {found}, but {by} expects {value}"))
            }
            _ => Ok(()),
        }
    }
}

/// What hooks are loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Run,
    /// To say what would run.
    Check,
    /// To show one hook.
    Inspect,
}

/// Settings for all hooks of a run.
#[derive(Clone, Debug)]
pub struct Common {
    pub purpose: Purpose,
    /// Whether hooks are compiled beside the command, and not only when they run.
    pub precompile: bool,
    /// Variables that every hook may read, whatever their names.
    pub env: Vec<String>,
    /// Whether `ulimit -v` is set. Read at the start: the sandbox sets a limit of its own.
    pub scarce_address_space: bool,
}

/// A SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
        Self(digest)
    }
}

impl FromStr for Digest {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        // The number parser would take a sign.
        let digits = text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        ensure!(digits, "not a SHA-256 digest of 64 hexadecimal digits");
        let mut digest = [0; 32];
        for (index, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2).unwrap_or_default(), 16)?;
        }
        Ok(Self(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A value, and where the user sets it: `--plugin-timeout`, or the hook's own variable.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    pub value: T,
    pub by: Arc<str>,
}

impl<T> Setting<T> {
    /// The setting as the user would write it with this value.
    pub fn written(&self, value: impl fmt::Display) -> String {
        let between = if self.by.starts_with("--") { ' ' } else { '=' };
        format!("{}{between}{value}", self.by)
    }
}

impl Setting<AllowList> {
    /// The message for a place that is not allowed, with the setting that would allow it.
    pub fn refusal(&self, origin: &Origin) -> String {
        format!("not allowed: {origin}; to allow it: {}", self.written(origin))
    }
}

/// Owners of the variables named `HOOK_…`.
#[derive(Clone, Debug)]
pub struct Variables {
    /// Those of each hook. All hooks share the list: wrapper keeps it for as long as the command runs.
    all: Arc<[Owned]>,
    /// This hook's place in it.
    this: usize,
}

/// Prefixes of a hook's variables.
#[derive(Debug)]
struct Owned {
    /// Those of its settings: `HOOK_SLACK_`, and `HOOK_HTTP_` for the built-in hook behind that name.
    names: Vec<String>,
    /// Those of the hooks that it takes the place of, some of whose settings it reads.
    replaced: Vec<String>,
}

impl Owned {
    /// Length of the longest that a variable begins with.
    fn length(&self, variable: &str) -> Option<usize> {
        let all = self.names.iter().chain(&self.replaced);
        all.filter(|prefix| variable.starts_with(prefix.as_str())).map(String::len).max()
    }
}

impl Variables {
    /// Takes each listed hook's name and own name. A hook also owns the variables of its own name, unless another hook
    /// is listed under that name.
    pub fn of(hooks: &[(&str, &str)]) -> Vec<Self> {
        let listed: Vec<String> = hooks.iter().map(|(name, _)| prefix(name)).collect();
        let unlisted = |name: &&str| Some(prefix(name)).filter(|prefix| !listed.contains(prefix));
        let all: Arc<[Owned]> = hooks
            .iter()
            .map(|(name, own_name)| Owned {
                names: [prefix(name)].into_iter().chain(unlisted(own_name)).collect(),
                replaced: replaced_by(own_name).iter().filter_map(unlisted).collect(),
            })
            .collect();
        (0..all.len()).map(|this| Self { all: all.clone(), this }).collect()
    }

    /// The variable of one of this hook's settings: `HOOK_ISTIO_QUIT_ON`. guest-sdk's `Context::variable` names it
    /// alike.
    pub fn named(&self, setting: &str) -> String {
        self.own().first().map_or("HOOK_", String::as_str).to_owned() + setting
    }

    /// Whether a variable belongs to another hook and not to this one: the longest matching prefix decides, so
    /// `HOOK_SLACK_EXTRA_URL` is not `slack`'s where there is a hook `slack-extra`.
    pub fn hide(&self, variable: &str) -> bool {
        let others = self.all.iter().enumerate().filter(|(index, _)| *index != self.this);
        let own = self.all.get(self.this).and_then(|own| own.length(variable));
        others.filter_map(|(_, other)| other.length(variable)).max() > own
    }

    /// The setting that a variable of this hook names, and whether it names it by the name that the hook is listed
    /// under.
    pub fn setting_in<'a>(&self, variable: &'a str) -> Option<(&'a str, bool)> {
        let (own, setting) = self.own().iter().find_map(|own| Some((own, variable.strip_prefix(own.as_str())?)))?;
        (!self.hide(variable)).then_some((setting, self.own().first() == Some(own)))
    }

    fn own(&self) -> &[String] {
        self.all.get(self.this).map_or(&[], |own| &own.names)
    }
}

/// The hooks that a built-in one takes the place of, and some of whose settings it reads.
fn replaced_by(name: &str) -> &'static [&'static str] {
    match name {
        "sidecars" => &[
            "istio-quit",
            "envoy-quit",
            "linkerd-shutdown",
            "consul-shutdown",
            "dapr-shutdown",
            "cloudsql-quit",
            "vault-quit",
        ],
        _ => &[],
    }
}

/// The start of the names of a hook's variables.
pub fn prefix(name: &str) -> String {
    let capital = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() } else { b'_' };
    let name: String = name.bytes().map(capital).map(char::from).collect();
    format!("HOOK_{name}_")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the hooks see a variable.
    fn seen(hooks: &[(&str, &str)], variable: &str) -> Vec<bool> {
        Variables::of(hooks).iter().map(|variables| !variables.hide(variable)).collect()
    }

    #[test]
    fn a_variable_belongs_to_the_hook_whose_name_is_the_longest_it_begins_with() {
        let hooks = [("slack", "http"), ("slack-extra", "http"), ("mine.v2", "mine.v2")];
        for (variable, expected) in [
            ("HOOK_SLACK_URL", [true, false, false]),
            ("HOOK_SLACK_EXTRA_URL", [false, true, false]),
            ("HOOK_SLACK_EXTRA", [true, false, false]),
            ("HOOK_SLACKER_URL", [true, true, true]),
            ("HOOK_MINE_V2_TOKEN", [false, false, true]),
            ("HOOK_SLACK", [true, true, true]),
            ("HOOK_POD", [true, true, true]),
            ("HOOK_HTTP_URL", [true, true, false]),
        ] {
            assert_eq!(seen(&hooks, variable), expected, "{variable}");
        }
    }

    #[test]
    fn a_hook_under_another_name_keeps_the_variables_it_is_documented_with_unless_they_are_anothers() {
        let variable = "HOOK_ISTIO_QUIT_URL";
        assert_eq!(seen(&[("quit", "istio-quit"), ("istio", "http")], variable), [true, false]);
        assert_eq!(seen(&[("quit", "istio-quit"), ("istio-quit", "istio-quit")], variable), [false, true]);
        assert_eq!(seen(&[("quit", "istio-quit"), ("istio-quit", "mine")], variable), [false, true]);
    }

    #[test]
    fn sidecars_owns_the_variables_of_the_hooks_that_it_replaces_unless_they_are_listed() {
        for variable in ["HOOK_DAPR_SHUTDOWN_TOKEN", "HOOK_ISTIO_QUIT_URL", "HOOK_SIDECARS_EXCEPT"] {
            assert_eq!(seen(&[("mine", "mine"), ("all", "sidecars")], variable), [false, true], "{variable}");
        }
        assert_eq!(seen(&[("mine", "mine"), ("sidecars", "sidecars")], "HOOK_HTTP_URL"), [true, true]);
        let listed = [("sidecars", "sidecars"), ("dapr-shutdown", "dapr-shutdown")];
        assert_eq!(seen(&listed, "HOOK_DAPR_SHUTDOWN_TOKEN"), [false, true]);
    }

    #[test]
    fn hooks_of_one_name_share_its_variables() {
        assert_eq!(seen(&[("http", "http"), ("http", "http"), ("x", "x")], "HOOK_HTTP_URL"), [true, true, false]);
        assert_eq!(seen(&[("a-b", "x"), ("a_b", "y")], "HOOK_A_B_URL"), [true, true]);
    }

    #[test]
    fn the_variable_of_a_setting_is_the_name_in_capitals() {
        for (name, variable) in [
            ("my-quit.v2", "HOOK_MY_QUIT_V2_ON"),
            ("istio-quit", "HOOK_ISTIO_QUIT_ON"),
            ("to_slack", "HOOK_TO_SLACK_ON"),
            ("=http", "HOOK__HTTP_ON"),
        ] {
            let [variables] = &*Variables::of(&[(name, "http")]) else { panic!() };
            assert_eq!(variables.named("ON"), variable);
        }
    }
}
