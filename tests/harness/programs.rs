//! The programs of tests/programs, built with rustc.

use super::repository;
use std::{env, fs, process::Command, sync::OnceLock};

/// The path of tests/programs/child.rs as a program, built once in a test run.
pub fn child() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| built("child", &[]))
}

/// The path of tests/programs/job.rs as a program that needs no other file, built once in a test run.
pub fn job() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| built("job", &["-C", "target-feature=+crt-static", "-C", "relocation-model=static"]))
}

fn built(name: &str, options: &[&str]) -> String {
    let directory = repository("target/test-tools");
    fs::create_dir_all(&directory).unwrap();
    let program = directory.join(name);
    // Built beside and moved: another run of the tests may be using it.
    let fresh = directory.join(format!("{name}.{}", std::process::id()));
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "-C", "opt-level=1", "-C", "strip=symbols"])
        .args(options)
        .arg("-o")
        .arg(&fresh)
        .arg(repository(&format!("tests/programs/{name}.rs")))
        .output()
        .expect("rustc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(fresh, &program).unwrap();
    program.to_str().unwrap().into()
}
