//! Runner: the hook's code, from the compiler or compiled now.

use super::trap;
use crate::{
    hook::{
        Common, compiler,
        engine::{self, Code},
        load::Hook,
        memfd,
    },
    log,
};
use std::fs::File;
use wasmtime::{Engine, component::Component};

/// The hook's code: machine code, or where executable memory is forbidden, as by SELinux's execmem or a strict seccomp
/// profile, code that is interpreted.
pub fn obtain(hook: &Hook, common: &Common, prepared: Option<&File>) -> wasmtime::Result<Component> {
    let engine = |code| engine::new(hook.settings.memory.value, common.scarce_address_space, code);
    let machine = engine(Code::usual())?;
    match component(hook, &machine, prepared) {
        Err(error) if trap::is_permission_denied(&error) => {
            log::debug(|| format!("executable memory is forbidden here, the hook is interpreted: {error}"));
            component(hook, &engine(Code::Interpreted)?, None)
        }
        result => result,
    }
}

/// The code for this engine: what the compiler left, or what is compiled now.
fn component(hook: &Hook, engine: &Engine, prepared: Option<&File>) -> wasmtime::Result<Component> {
    if let Some(code) = prepared {
        match load(code, engine) {
            Ok(component) => return Ok(component),
            Err(error) => log::debug(|| format!("prepared code is not used: {error}")),
        }
    }
    let bytes = hook.bytes()?;
    // The check was done before, but the process that did it is not the one that relies on it.
    if hook.needs_check() {
        compiler::check(&bytes, &hook.settings).map_err(wasmtime::Error::msg)?;
    }
    Component::new(engine, &bytes)
}

#[allow(unsafe_code)]
fn load(code: &File, engine: &Engine) -> wasmtime::Result<Component> {
    let bytes = memfd::read(code)?;
    // SAFETY: the file was created, written and sealed by the compiler for this hook, which is the same binary,
    // and came on a socket that no other process can send to.
    unsafe { Component::deserialize(engine, bytes) }
}
