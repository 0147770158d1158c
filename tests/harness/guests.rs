//! Components for the tests: small programs of tests/guests, and components written in WebAssembly text.

use super::repository;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

/// The target for which components are built.
pub const TARGET: &str = "wasm32-wasip2";

/// A program of tests/guests/src/bin, built as a WASI command.
pub fn program(name: &str) -> PathBuf {
    build(&["-p", "guests", "--bins"], "guest");
    built("guest", &format!("{name}.wasm"))
}

/// A hook of tests/guests/examples, built with guest-sdk.
pub fn hook(name: &str) -> PathBuf {
    build(&["-p", "guests", "--examples"], "guest");
    built("guest", &format!("examples/{name}.wasm"))
}

/// The same without optimisation, with names and debug information.
pub fn debug_hook(name: &str) -> PathBuf {
    build(&["-p", "guests", "--examples"], "dev");
    built("debug", &format!("examples/{name}.wasm"))
}

/// Builds for the hooks' target, once in a test run.
pub fn build(what: &[&str], profile: &str) {
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let key = format!("{what:?} {profile}");
    if built.contains(&key) {
        return;
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(repository("")).args(["build", "--quiet", "--target", TARGET, "--profile", profile]).args(what);
    // Cargo's variables for the build of the tests do not belong to this one.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME") {
        cargo.env_remove(name);
    }
    let output = cargo.output().expect("cargo runs");
    assert!(
        output.status.success(),
        "guests cannot be built; is the target there (rustup target add {TARGET})?\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    built.push(key);
}

fn built(profile: &str, file: &str) -> PathBuf {
    repository(&format!("target/{TARGET}/{profile}/{file}"))
}

/// A component written as text, in a file that lives as long as the value.
pub fn text(text: &str) -> tempfile::TempPath {
    bytes(&wat::parse_str(text).expect("well-formed text"))
}

/// A program whose `main` is the function `run` of this core module, given as text.
pub fn as_program(module: &str) -> tempfile::TempPath {
    text(&format!(
        r#"(component
            (core module $m {module})
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $interface (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $interface)))"#
    ))
}

/// The component of an official hook with one more section, which means nothing: not the bytes of a built-in hook, so
/// it is checked and compiled as any other.
pub fn official(name: &str) -> PathBuf {
    /// A custom section of the name `x`.
    const SECTION: [u8; 4] = [0, 2, 1, b'x'];
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("official");
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join(name).with_extension("wasm");
    let component = std::fs::read(repository("hooks/dist").join(name).with_extension("wasm")).unwrap();
    let copy = tempfile::NamedTempFile::new_in(&directory).unwrap();
    std::fs::write(copy.path(), [&component[..], &SECTION].concat()).unwrap();
    std::fs::set_permissions(copy.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    copy.persist(&file).unwrap();
    file
}

/// A hook of tests/guests that says this about itself, as a file.
pub fn described(name: &str, description: &str) -> tempfile::TempPath {
    const NAME: &[u8] = b"\x0cwrapper:hook";
    /// The length of a section in two bytes, the lower seven bits first (LEB128).
    fn length(bytes: &[u8]) -> [u8; 2] {
        assert!(bytes.len() < 1 << 14);
        [(bytes.len() % 128 + 128) as u8, (bytes.len() / 128) as u8]
    }
    let section = [NAME, description.as_bytes()].concat();
    bytes(&[&std::fs::read(hook(name)).unwrap()[..], &[0], &length(&section), &section].concat())
}

/// Any bytes as a `.wasm` file.
pub fn bytes(bytes: &[u8]) -> tempfile::TempPath {
    let file = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file.into_temp_path()
}
