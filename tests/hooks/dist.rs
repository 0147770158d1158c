//! The hooks in hooks/dist are what their sources build to, on any machine and in any directory.

use crate::harness::{Run, peer::Peer, repository, wrapper};
use std::{fs, process::Command};

#[test]
fn the_built_hooks_are_fresh() {
    let output = Command::new(repository("hooks/build")).arg("--check").output().unwrap();
    assert!(output.status.success(), "run hooks/build: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_hook_is_built_in_and_runs_from_its_file_alike() {
    let peer = Peer::with_status(200);
    for entry in fs::read_dir(repository("hooks/dist")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let variable = format!("HOOK_{}", name.to_uppercase().replace('-', "_"));
        // It would ask the sidecars of whoever runs the tests; its own tests have a network of their own.
        if name == "sidecars" {
            continue;
        }
        for hook in [path.as_os_str(), name.as_ref()] {
            // Whom to ask, whether to quit or to be ready, or to tell; and what to wait for.
            let option = if name.ends_with("ready") { "--before" } else { "--after" };
            let setting = if name == "ready" { "FOR" } else { "URL" };
            let mut run = wrapper().with(&["--plugin-failure", "fail", option]);
            run.arg(hook).arg("true").env(format!("{variable}_{setting}"), peer.url("/"));
            let done = run.done();
            assert_eq!(done.code(), 0, "{hook:?}: {done:?}");
        }
    }
}

#[test]
fn every_hook_fits_into_a_config_map() {
    // kubectl apply keeps the object in an annotation of at most 256 KiB, base64 of 190 kB.
    for entry in fs::read_dir(repository("hooks/dist")).unwrap() {
        let entry = entry.unwrap();
        let size = entry.metadata().unwrap().len();
        assert!(size < 190 * 1000, "{entry:?}: {size}");
    }
}
