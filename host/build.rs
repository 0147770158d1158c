//! Writes down what wit/ declares: the functions of every interface, so that a hook that needs another one is refused
//! by name before the command starts.

use std::{env, error::Error, fmt::Write, fs, path::Path};
use wit_parser::Resolve;

fn main() -> Result<(), Box<dyn Error>> {
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
