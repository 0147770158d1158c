//! Supervisor and runner: the hooks that are part of the binary, compiled when it was built.
//!
//! Their code is for wasmtime's interpreter, Pulley. It is the same on all CPUs of one word length and byte order,
//! needs no memory that is executable, and is used where it lies in the binary. hooks/build makes it from the
//! components in hooks/dist, and a test here compares the two.

use super::{description::Description, settings::Digest};
use crate::{job::Phase, memfd};
use std::fs::File;

/// A hook that is part of the binary.
#[derive(Debug)]
pub struct BuiltIn {
    pub name: &'static str,
    /// Bytes of its component.
    pub length: u64,
    /// Digest of its component.
    pub sha256: Digest,
    /// What it says about itself, see `description`.
    pub description: &'static str,
    code: &'static Aligned<[u8]>,
}

/// The engine reads numbers where they lie.
#[derive(Debug)]
#[repr(align(16))]
struct Aligned<T: ?Sized>(T);

pub const BUILT_IN: &[BuiltIn] = include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// The names of all of them.
pub fn names() -> Vec<&'static str> {
    BUILT_IN.iter().map(|built_in| built_in.name).collect()
}

impl BuiltIn {
    pub fn named(name: &[u8]) -> Option<&'static Self> {
        BUILT_IN.iter().find(|built_in| built_in.name.as_bytes() == name)
    }

    /// The built-in hook that this file is a copy of, such as one mounted from an image's /hooks. Its compiled code is
    /// used.
    pub fn in_file(file: &File, length: u64) -> Option<&'static Self> {
        // Most files differ in length and need not be read.
        if !BUILT_IN.iter().any(|built_in| built_in.length == length) {
            return None;
        }
        let sha256 = Digest::of(&memfd::read(file).ok()?);
        BUILT_IN.iter().find(|built_in| built_in.sha256 == sha256)
    }

    /// The hook of the same product for the other phase: for `istio-ready` `istio-quit`.
    pub fn counterpart(&self, phase: Phase) -> Option<&'static str> {
        let (product, _) = self.name.split_once('-')?;
        let is_of_product = |name: &str| name.split_once('-').is_some_and(|(other, _)| other == product);
        let mut others = BUILT_IN.iter().filter(|other| is_of_product(other.name));
        let found = others.find(|other| Description::parse(other.description).phase == Some(phase.as_str()));
        found.map(|found| found.name)
    }

    /// Whether it asks the proxy of a mesh to quit, through which the pod's connections go.
    pub fn ends_proxy(&self) -> bool {
        ["istio-quit", "linkerd-shutdown", "consul-shutdown", "sidecars"].contains(&self.name)
    }

    pub fn code(&self) -> &'static [u8] {
        &self.code.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::engine;
    use std::{fs, path::Path};

    /// With `WRAPPER_COMPILE_HOOKS` set, as hooks/build does, the files are written and not compared.
    #[test]
    fn the_code_of_built_in_hooks_is_what_their_components_compile_to() {
        let hooks = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../hooks"));
        let writes = std::env::var_os("WRAPPER_COMPILE_HOOKS").is_some();
        for interpreter in ["pulley64", "pulley64be", "pulley32"] {
            let engine = engine::that_compiles_built_in(interpreter).unwrap();
            let directory = hooks.join("dist").join(interpreter);
            for BuiltIn { name, .. } in BUILT_IN {
                let component = fs::read(hooks.join("dist").join(name).with_extension("wasm")).unwrap();
                let code = engine.precompile_component(&component).unwrap();
                let file = directory.join(name).with_extension("cwasm");
                if writes {
                    fs::create_dir_all(&directory).unwrap();
                    fs::write(&file, code).unwrap();
                } else {
                    assert!(fs::read(&file).is_ok_and(|kept| kept == code), "{file:?}: run hooks/build");
                }
            }
        }
    }
}
