//! The built hooks in hooks/dist are what their sources make, whoever builds them and wherever.

use crate::support::{Run, repository, wrapper};
use std::{fs, process::Command};

#[test]
fn the_built_hooks_are_fresh() {
    let output = Command::new(repository("hooks/build")).arg("--check").output().unwrap();
    assert!(output.status.success(), "run hooks/build: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_hook_is_built_in_and_runs_from_its_file_alike() {
    for entry in fs::read_dir(repository("hooks/dist")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        for hook in [path.as_os_str(), name.as_ref()] {
            let mut run = wrapper().plugin(hook).with(&["true"]);
            run.env("HOOK_ISTIO_QUIT_STARTUP", "0").env("HOOK_ISTIO_QUIT_URL", "http://localhost:1/");
            let done = run.done();
            assert!(done.line().starts_with(&format!("wrapper: {name}: ")), "{hook:?}: {done:?}");
        }
    }
}

#[test]
fn every_hook_fits_into_a_config_map() {
    // kubectl apply keeps the object in an annotation of at most 256 KiB, base64 of 190 kB.
    for entry in fs::read_dir(repository("hooks/dist")).unwrap() {
        let entry = entry.unwrap();
        assert!(entry.metadata().unwrap().len() < 190 * 1000, "{entry:?}");
    }
}
