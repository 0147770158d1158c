//! Runner: the hook's code: of the binary, from the compiler, or compiled now.

use super::Inherited;
use crate::{
    hook::{Common, built_in::BuiltIn, compiler, engine, load::Hook},
    log, memfd,
};
use std::fs::File;
use wasmtime::{Engine, Result, component::Component};

/// Code of a built-in hook, used where it lies in the binary.
#[allow(unsafe_code)]
pub fn of_built_in(built_in: &BuiltIn, hook: &Hook, common: &Common) -> Result<Component> {
    let engine = engine::for_built_in(hook.settings.memory.value, common.scarce_address_space)?;
    // SAFETY: it was compiled for this engine when the binary was built, is constant, and lives as long as the process.
    unsafe { Component::deserialize_raw(&engine, built_in.code().into()) }
}

/// Code of a component: what the compiler left, or what is compiled now.
pub fn of_component(file: &File, hook: &Hook, common: &Common, inherited: &Inherited) -> Result<Component> {
    let engine = engine::new(hook.settings.memory.value, common.scarce_address_space, inherited.target)?;
    if let Some(code) = &inherited.code {
        match load(code, &engine) {
            Ok(component) => return Ok(component),
            Err(error) => log::debug(|| format!("not using the precompiled code: {error}")),
        }
    }
    let bytes = memfd::read(file)?;
    // The check was done before, but the process that did it is not the one that relies on it.
    compiler::check(&bytes, &hook.settings).map_err(wasmtime::Error::msg)?;
    Component::new(&engine, &bytes)
}

#[allow(unsafe_code)]
fn load(code: &File, engine: &Engine) -> Result<Component> {
    let bytes = memfd::read(code)?;
    // SAFETY: the file was created, written and sealed by the compiler for this hook, which is the same binary,
    // and came on a socket that no other process can send to.
    unsafe { Component::deserialize(engine, bytes) }
}
