//! Supervisor: reads the bytes of hooks before the command starts, and does not parse them.

use super::{
    Common, Hooks, Settings, Variables, Verdict,
    built_in::BuiltIn,
    compilers::Compiler,
    description::{Description, Findings, Listing},
    settings::Purpose,
    spec::{Listed, Source, Spec},
    unknown,
};
use crate::{
    environment,
    job::Phase,
    log::{Label, Level, Line},
    memfd,
    text::strerror,
};
use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Enough for a Python interpreter in a component (18 MB), and little enough to be checked in under two seconds. A
/// ConfigMap holds up to 1 MiB.
const SIZE_LIMIT: u64 = 32 * 1024 * 1024;

/// Largest hook that is compiled beside the command: compiling a larger one would take too much of the container's
/// memory, so it is compiled when it runs.
const PRECOMPILED_SIZE: u64 = 8 * 1024 * 1024;

/// A hook whose bytes have been read, and, once it is checked, where its compiled code comes from.
pub struct Hook {
    pub label: Label,
    pub phase: Phase,
    pub settings: Arc<Settings>,
    /// Whether it is compiled beside the command.
    pub precompile: bool,
    /// The process that checks and compiles it.
    pub compiler: Option<Compiler>,
    pub code: Code,
    /// The hook that ends the proxy of a mesh before this one runs.
    after_proxy: Option<String>,
    /// The variables that it may read besides `HOOK_…`, because it is built in: those of the sidecar itself, or of a
    /// specification.
    pub variables: Vec<&'static str>,
    /// Whether it can be run. An invalid one is kept only to be reported.
    pub valid: bool,
    /// What `--check` or `--inspect` asks for: lines of a key and a value with a tab between.
    pub report: String,
}

/// What a hook is run from.
pub enum Code {
    /// Code in the binary.
    BuiltIn(&'static BuiltIn),
    /// A component, in a sealed file in memory. It has to be checked and compiled.
    Component(File),
}

impl Hook {
    /// The variables that the hook may read besides `HOOK_…`: those for all hooks, and those of a built-in one.
    pub fn granted<'a>(&self, common: &'a Common) -> Vec<&'a str> {
        common.env.iter().map(String::as_str).chain(self.variables.iter().copied()).collect()
    }

    /// Compares its settings with what it says about itself, and returns the report that is asked for. What is wrong is
    /// logged; an optional hook may run nevertheless, and fail.
    pub fn fits(
        &self,
        description: &Description,
        variables: &[(&str, &str)],
        is_set: &dyn Fn(&str) -> bool,
        purpose: Purpose,
    ) -> (bool, String) {
        if purpose == Purpose::Inspect {
            return (true, description.report(None));
        }
        let findings = self.findings(description, variables, is_set);
        let report = if purpose == Purpose::Run { String::new() } else { description.report(Some(&findings)) };
        findings.warnings.iter().for_each(|warning| Line::new(Level::Warn, warning).about_hook(&self.label).write());
        (self.may_run_with(&findings.errors), report)
    }

    /// Logs what is wrong with its settings; whether it may run nevertheless.
    fn may_run_with(&self, errors: &[String]) -> bool {
        let level = if self.settings.optional { Level::Warn } else { Level::Error };
        let verdict = Verdict::Misconfigured.as_str();
        for error in errors {
            let line = Line::new(level, format!("{verdict}: {error}")).about_hook(&self.label);
            line.field("verdict", verdict).write();
        }
        errors.is_empty() || self.settings.optional
    }

    fn findings(
        &self,
        description: &Description,
        variables: &[(&str, &str)],
        is_set: &dyn Fn(&str) -> bool,
    ) -> Findings {
        let counterpart = || BuiltIn::named(self.label.source.as_bytes())?.counterpart(self.phase);
        description.check(&Listing {
            phase: self.phase,
            settings: &self.settings,
            variables,
            is_set,
            counterpart: &counterpart,
            after_proxy: self.after_proxy.as_deref(),
        })
    }

    /// The descriptors of its component, and of where its code comes from.
    pub fn descriptors(&self) -> Vec<i32> {
        let component = match &self.code {
            Code::BuiltIn(_) => None,
            Code::Component(file) => Some(file.as_raw_fd()),
        };
        component.into_iter().chain(self.compiler.as_ref().map(Compiler::descriptor)).collect()
    }
}

/// The container's variables that a hook may read: those named `HOOK_…` that are not another hook's, and the granted
/// ones. They are not copied.
pub fn readable(named: &Variables, granted: &[&str]) -> impl Iterator<Item = (&'static str, &'static str)> {
    environment::variables()
        .filter_map(|variable| str::from_utf8(variable).ok()?.split_once('='))
        .filter(|(name, _)| (name.starts_with("HOOK_") && !named.hide(name)) || granted.contains(name))
}

/// Reads all hooks. Those that cannot be read are reported in the log.
pub fn load(before: &[Listed], after: &[Listed], common: &Common) -> Hooks {
    let mut unusable = None;
    let mut after_proxy = None;
    let mut read = |listed: &Listed, phase| {
        let hook = load_one(listed, phase, after_proxy.clone(), common);
        if let Some(Hook { phase: Phase::After, code: Code::BuiltIn(built_in), label, .. }) = &hook
            && built_in.ends_proxy()
        {
            after_proxy = Some(label.name.clone());
        }
        if !hook.as_ref().is_some_and(|hook| hook.valid) {
            unusable.get_or_insert_with(|| listed.spec.label.clone());
        }
        hook.filter(|hook| hook.valid || common.purpose != Purpose::Run)
    };
    let before = before.iter().filter_map(|listed| read(listed, Phase::Before)).collect();
    let after = after.iter().filter_map(|listed| read(listed, Phase::After)).collect();
    Hooks { before, after, unusable }
}

fn load_one(listed: &Listed, phase: Phase, after_proxy: Option<String>, common: &Common) -> Option<Hook> {
    let Listed { spec: Spec { source, label, .. }, settings } = listed;
    let found = match source {
        Source::BuiltIn(built_in) if are_compiled() => read_component(&component_of(built_in)).map(Code::Component),
        Source::BuiltIn(built_in) => Ok(Code::BuiltIn(built_in)),
        Source::File(path) => read_file(path).map_err(|why| why + &unknown::hint(path)),
        Source::Unknown => Err(unknown::explain(&label.source)),
    };
    let checked = found.and_then(|code| match &code {
        Code::BuiltIn(built_in) => settings.check_digest(&built_in.sha256).map(|()| code),
        // A component's digest is compared by the compiler.
        Code::Component(_) => Ok(code),
    });
    let code = match checked {
        Ok(code) => code,
        Err(why) => {
            Line::new(Level::Error, why).about_source(label).write();
            return None;
        }
    };
    let precompile = match &code {
        Code::BuiltIn(_) => false,
        Code::Component(file) => {
            common.precompile && common.purpose == Purpose::Run && memfd::length(file) <= PRECOMPILED_SIZE
        }
    };
    let description = match (source, &code) {
        (Source::BuiltIn(built_in), _) | (_, Code::BuiltIn(built_in)) => Some(Description::parse(built_in.description)),
        (_, Code::Component(_)) => None,
    };
    let variables = description.iter().flat_map(|description| description.reads.clone()).collect();
    let hook = Hook {
        label: label.clone(),
        phase,
        settings: settings.clone(),
        precompile,
        compiler: None,
        code,
        after_proxy,
        variables,
        valid: true,
        report: String::new(),
    };
    for problem in unreadable_files(settings) {
        Line::new(Level::Warn, problem).about_hook(label).write();
    }
    match (&hook.code, description) {
        (Code::BuiltIn(_), Some(description)) => {
            let readable: Vec<_> = readable(&settings.variables, &hook.granted(common)).collect();
            let is_set = |name: &str| environment::names().any(|set| set == name);
            let (fits, report) = hook.fits(&description, &readable, &is_set, common.purpose);
            Some(Hook { valid: fits, report, ..hook })
        }
        // Its description is for the compiler to read.
        _ => Some(hook),
    }
}

/// The files with certificates that cannot be opened. The hook reads them when it runs; a sidecar or the command may
/// write them until then.
fn unreadable_files(settings: &Settings) -> Vec<String> {
    if !settings.allow_http.value.any_https() {
        return Vec::new();
    }
    let own = ["TLS_CERT", "TLS_KEY"].map(|setting| settings.variables.named(setting));
    let problem = |name: String| {
        let path = environment::variable(&name)?;
        environment::open_regular(path).err().map(|why| environment::problem_of_file(&name, path.as_ref(), &why))
    };
    own.into_iter().chain(["SSL_CERT_FILE".into()]).filter_map(problem).collect()
}

/// Whether built-in hooks are compiled like files: in debug builds, so that tests can hold both ways.
fn are_compiled() -> bool {
    cfg!(debug_assertions) && std::env::var_os("TEST_COMPILE").is_some()
}

/// The file that a built-in hook was made of, on the machine that built it.
fn component_of(built_in: &BuiltIn) -> PathBuf {
    let dist = if cfg!(debug_assertions) { concat!(env!("CARGO_MANIFEST_DIR"), "/../hooks/dist") } else { "" };
    Path::new(dist).join(built_in.name).with_extension("wasm")
}

fn read_file(path: &Path) -> Result<Code, String> {
    let component = read_component(path)?;
    let length = memfd::length(&component);
    let built_in = if are_compiled() { None } else { BuiltIn::in_file(&component, length) };
    Ok(built_in.map_or(Code::Component(component), Code::BuiltIn))
}

/// The bytes of a hook, in a sealed file in memory.
fn read_component(path: &Path) -> Result<File, String> {
    let mut file = environment::open_regular(path)?;
    if file.metadata().map_err(strerror)?.len() > SIZE_LIMIT {
        return Err(environment::larger_than(SIZE_LIMIT));
    }
    let copy = memfd::copy_sealed(&mut file, SIZE_LIMIT + 1).map_err(strerror)?;
    match copy.metadata().map_err(strerror)?.len() {
        0 => Err("the file is empty".into()),
        length if length > SIZE_LIMIT => Err(environment::larger_than(SIZE_LIMIT)),
        _ => Ok(copy),
    }
}
