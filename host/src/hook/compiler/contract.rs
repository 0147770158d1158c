//! Compiler and runner: the contract between hooks and wrapper: features of WebAssembly, interfaces, versions.

use wasmparser::WasmFeatures;

/// WebAssembly as every toolchain emits it. Threads would let a hook keep cores busy, and the memory limit does not
/// support 64-bit memories.
pub const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::COMPONENT_MODEL)
    // No hook needs a garbage collector, and the engine is built without one.
    .difference(WasmFeatures::GC_TYPES);

/// Every interface of wit/ with its functions. Hooks built for a later patch version are supported if they import
/// nothing else.
const DECLARED: &[(&str, &[&str])] = include!(concat!(env!("OUT_DIR"), "/declared.rs"));

/// The WASI 0.2 interfaces that hooks can import. Those for files and sockets deny every call, but runtimes of some
/// languages import them.
pub const WASI: [(&str, &[&str]); 7] = [
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"]),
    ("wasi:filesystem", &["preopens", "types"]),
    ("wasi:http", &["outgoing-handler", "types"]),
    ("wasi:io", &["error", "poll", "streams"]),
    ("wasi:random", &["insecure", "insecure-seed", "random"]),
    (
        "wasi:sockets",
        &["instance-network", "ip-name-lookup", "network", "tcp", "tcp-create-socket", "udp", "udp-create-socket"],
    ),
];

/// Our own package, its version in wit/, and the interfaces of it that hooks may import.
const HOOK: &str = "wrapper:hook";
pub const VERSION: &str = "0.1.0";
const GIVEN: [&str; 3] = ["context", "logging", "probe"];

/// The supported versions: within a series, later ones only add.
const HOOK_SERIES: &str = "0.1.";
const WASI_SERIES: &str = "0.2.";

/// The custom section with what a hook says about itself, which guest-sdk's `describe!` makes, and the bytes of it that
/// are read; a long one has a kilobyte.
pub const DESCRIPTION: &str = "wrapper:hook";
pub const DESCRIPTION_LIMIT: usize = 16 << 10;

/// Exports of a hook and of a program.
pub const RUN: &str = "wrapper:hook/run";
pub const MAIN: &str = "wasi:cli/run";

/// An interface as a component names it: `wasi:io/streams@0.2.0`.
pub struct Interface<'a> {
    /// Without the version.
    pub name: &'a str,
    package: &'a str,
    short: &'a str,
    pub version: &'a str,
}

impl<'a> Interface<'a> {
    pub fn parse(text: &'a str) -> Self {
        let (name, version) = text.split_once('@').unwrap_or((text, ""));
        let (package, short) = name.split_once('/').unwrap_or((name, ""));
        Self { name, package, short, version }
    }

    pub fn is_ours(&self) -> bool {
        self.package == HOOK
    }

    /// Whether hooks are given any interface of its package.
    pub fn is_wasi(&self) -> bool {
        WASI.iter().any(|(package, _)| *package == self.package)
    }

    /// Whether its version belongs to a supported series. Prereleases are not compatible.
    pub fn is_of_series(&self) -> bool {
        let patch = self.version.strip_prefix(if self.is_ours() { HOOK_SERIES } else { WASI_SERIES });
        patch.is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// Whether it is one of WASI from before 0.2.0 was final.
    pub fn is_draft(&self) -> bool {
        self.version.starts_with("0.2.0-")
    }

    /// Whether hooks may import it.
    pub fn is_given(&self) -> bool {
        let names = WASI.iter().find(|(package, _)| *package == self.package).map(|(_, names)| *names);
        let names = if self.is_ours() { Some(&GIVEN[..]) } else { names };
        names.is_some_and(|names| names.contains(&self.short)) && self.is_of_series()
    }

    /// Its functions.
    pub fn functions(&self) -> &'static [&'static str] {
        DECLARED.iter().find(|(declared, _)| *declared == self.name).map_or(&[], |(_, functions)| functions)
    }
}

/// The interface that a hook exports.
pub fn run() -> String {
    format!("{RUN}@{VERSION}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interfaces_that_are_given_are_declared() {
        for (package, names) in WASI {
            for name in names {
                let interface = format!("{package}/{name}");
                assert!(DECLARED.iter().any(|(declared, _)| *declared == interface), "{interface}");
            }
        }
        assert!(include_str!("../../../../wit/hook.wit").contains(&format!("package wrapper:hook@{VERSION};")));
    }
}
