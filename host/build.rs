//! Writes down what wit/ declares: the functions of every interface, so that a hook that needs another one is refused
//! by name before the command starts. Lays out a release.

use std::{env, error::Error, fmt::Write, fs, path::Path};
use wit_parser::Resolve;

fn main() -> Result<(), Box<dyn Error>> {
    declared()?;
    lay_out_release()
}

fn declared() -> Result<(), Box<dyn Error>> {
    let wit = Path::new("../wit");
    println!("cargo:rerun-if-changed={}", wit.display());
    let mut resolve = Resolve::default();
    resolve.push_path(wit)?;

    let mut table = String::from("&[\n");
    for (_, package) in &resolve.packages {
        for (name, interface) in &package.interfaces {
            let (namespace, package) = (&package.name.namespace, &package.name.name);
            let interface = resolve.interfaces.get(*interface).ok_or("an interface is declared but not there")?;
            let functions: Vec<_> = interface.functions.keys().collect();
            writeln!(table, "    (\"{namespace}:{package}/{name}\", &{functions:?}),")?;
        }
    }
    table.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("declared.rs"), table)?;
    Ok(())
}

/// Has a release laid out as `release.ld` says: with the code that starts together, and without the tables by which a
/// stack is unwound.
///
/// A release ends at a panic, after one line, and prints no backtrace. Without the tables the C library's unwinder
/// would abort when `RUST_BACKTRACE` asks a library's error for one, so the program brings a function in its place that
/// finds no frame (`entry.rs`).
fn lay_out_release() -> Result<(), Box<dyn Error>> {
    println!("cargo:rustc-check-cfg=cfg(no_unwind_tables)");
    // The linker of this target is known to take the script: it is the one that rustc brings along.
    let known = env::var("TARGET")? == "x86_64-unknown-linux-gnu";
    if known && env::var("PROFILE")? == "release" {
        let script = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("release.ld");
        println!("cargo:rerun-if-changed={}", script.display());
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
        println!("cargo:rustc-link-arg-bins=-Wl,--wrap=_Unwind_Backtrace");
        println!("cargo:rustc-cfg=no_unwind_tables");
    }
    Ok(())
}
