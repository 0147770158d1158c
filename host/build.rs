//! Writes down what wit/ declares: the functions of every interface, so that a hook that needs another one is refused
//! by name before the command starts; and the built-in hooks. Lays out a release.

use std::{env, error::Error, fmt::Write, fs, path::Path, process::Command};
use wasmparser::{Parser, Payload};
use wit_parser::Resolve;

fn main() -> Result<(), Box<dyn Error>> {
    version()?;
    declared()?;
    built_in()?;
    lay_out_release()
}

/// What `--version` shows: the target, and the commit if there is one: in WRAPPER_COMMIT, or for a release in git. Other
/// builds would be made anew with every commit.
fn version() -> Result<(), Box<dyn Error>> {
    println!("cargo:rustc-env=TARGET={}", env::var("TARGET")?);
    println!("cargo:rerun-if-env-changed=WRAPPER_COMMIT");
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    if env::var_os("WRAPPER_COMMIT").is_none() && env::var("PROFILE")? == "release" {
        for file in ["HEAD", "logs/HEAD"] {
            let file = git(&["rev-parse", "--git-path", file]);
            file.iter().for_each(|file| println!("cargo:rerun-if-changed={file}"));
        }
        let commit = git(&["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]);
        commit.iter().for_each(|commit| println!("cargo:rustc-env=WRAPPER_COMMIT={commit}"));
    }
    Ok(())
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

/// Writes down the hooks that become part of the binary: for each its name, its component's length and digest, what it
/// says about itself, and its code for the interpreter of a machine like the one that is built for. hooks/build makes
/// these files.
fn built_in() -> Result<(), Box<dyn Error>> {
    let dist = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../hooks/dist").canonicalize()?;
    let order = if env::var("CARGO_CFG_TARGET_ENDIAN")? == "little" { "" } else { "be" };
    let codes = dist.join(format!("pulley{}{order}", env::var("CARGO_CFG_TARGET_POINTER_WIDTH")?));
    let digests = fs::read_to_string(dist.join("SHA256SUMS"))?;
    println!("cargo:rerun-if-changed={}", dist.display());
    println!("cargo:rerun-if-env-changed=WRAPPER_COMPILE_HOOKS");
    println!("cargo:rustc-env=WASMTIME_VERSION={}", version_of_wasmtime()?);

    let hook = |line: &str| -> Result<(String, String), Box<dyn Error>> {
        let (digest, file) = line.split_once("  ").ok_or("hooks/dist/SHA256SUMS: not a line of sha256sum")?;
        let name = file.strip_suffix(".wasm").ok_or("hooks/dist/SHA256SUMS: not a component")?;
        let component = fs::read(dist.join(file))?;
        let (length, description) = (component.len(), description(&component)?);
        let bytes = (0..digest.len()).step_by(2).map(|at| digest.get(at..at + 2).unwrap_or_default());
        let bytes = bytes.map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<Vec<_>, _>>()?;
        let code = codes.join(name).with_extension("cwasm");
        let code = match (code.exists(), env::var_os("WRAPPER_COMPILE_HOOKS")) {
            (true, _) => format!("include_bytes!({code:?})"),
            // hooks/build is about to make it, with this very program.
            (false, Some(_)) => "b\"\"".into(),
            (false, None) => return Err(format!("{} is missing: run hooks/build", code.display()).into()),
        };
        let fields = format!(
            "name: {name:?}, length: {length}, sha256: Digest({bytes:?}), description: {description:?}, \
             code: &Aligned(*{code})"
        );
        Ok((name.to_owned(), format!("BuiltIn {{ {fields} }},\n")))
    };
    let mut hooks = digests.lines().map(hook).collect::<Result<Vec<_>, _>>()?;
    hooks.sort();
    let table: String = hooks.into_iter().map(|(_, entry)| entry).collect();
    fs::write(Path::new(&env::var("OUT_DIR")?).join("built_in.rs"), format!("&[\n{table}]\n"))?;
    Ok(())
}

/// The text that guest-sdk's `describe!` leaves in a component.
fn description(component: &[u8]) -> Result<String, Box<dyn Error>> {
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::CustomSection(section) if section.name() == "wrapper:hook" => {
                return Ok(str::from_utf8(section.data())?.to_owned());
            }
            _ => {}
        }
    }
    Ok(String::new())
}

/// The engine's version, to the patch, of which the code of built-in hooks is.
fn version_of_wasmtime() -> Result<String, Box<dyn Error>> {
    let lock = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../Cargo.lock");
    println!("cargo:rerun-if-changed={}", lock.display());
    let lock = fs::read_to_string(lock)?;
    let (_, entry) = lock.split_once("\nname = \"wasmtime\"\n").ok_or("Cargo.lock does not name wasmtime")?;
    let version = entry.lines().next().and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    Ok(version.ok_or("Cargo.lock does not have wasmtime's version")?.to_owned())
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
