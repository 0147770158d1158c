//! The image that the Dockerfile builds has one program with its hooks, and runs on any node as any user.

use crate::harness::{
    Run, executable,
    podman::{self, WRAPPER, ask, podman},
    repository,
};
use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Bytes that a node has to pull and keep: the program and its hooks.
const LIMIT: u64 = 11_250_000;

/// The image's files, as long as this lives.
struct Files(PathBuf);

impl Files {
    fn mount() -> Self {
        Self(ask(&["image", "mount", WRAPPER]).into())
    }

    /// All of them, each with its size and its mode.
    fn all(&self) -> BTreeMap<String, (u64, u32)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let data = fs::symlink_metadata(&path).unwrap();
                if data.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = format!("/{}", path.strip_prefix(&self.0).unwrap().display());
                assert!(data.is_file(), "{name} is no file: {data:?}");
                found.insert(name, (data.len(), data.permissions().mode() & 0o7777));
            }
        }
        found
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        podman(&["image", "unmount", WRAPPER]).done();
    }
}

/// The hooks as built: their paths in the image, and their files.
fn hooks() -> Vec<(String, PathBuf)> {
    let files = fs::read_dir(repository("hooks/dist")).unwrap().map(|it| it.unwrap().path());
    let hooks = files.filter(|path| path.extension().is_some_and(|it| it == "wasm"));
    hooks.map(|path| (format!("/hooks/{}", path.file_name().unwrap().to_str().unwrap()), path)).collect()
}

fn of_config(field: &str) -> String {
    ask(&["image", "inspect", "--format", &format!("{{{{json .Config.{field}}}}}"), WRAPPER])
}

#[test]
fn the_image_holds_the_program_and_the_hooks_for_everybody_and_nothing_else() {
    if !podman::is_there() {
        return;
    }
    let image = Files::mount();
    let files = image.all();
    let mut expected: Vec<_> = hooks().into_iter().map(|(name, _)| name).collect();
    expected.push("/wrapper".into());
    expected.sort();
    assert_eq!(files.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    for (name, (_, mode)) in &files {
        let everybody = if name == "/wrapper" { 0o555 } else { 0o444 };
        assert_eq!(mode & everybody, everybody, "{name} {mode:o}");
        // Nor may any of it be changed by others, or lend its owner's rights.
        assert_eq!(mode & 0o7022, 0, "{name} {mode:o}");
    }
    for (name, built) in hooks() {
        let inside = fs::read(image.0.join(name.trim_start_matches('/'))).unwrap();
        assert!(inside == fs::read(built).unwrap(), "{name} is another file");
    }
}

#[test]
fn the_image_is_small() {
    if !podman::is_there() {
        return;
    }
    let mut files = Files::mount().all();
    // The build that tests are run with has names, lines and no optimisation.
    if env::var_os("WRAPPER_IMAGE_BINARY").is_none() {
        files.remove("/wrapper");
    }
    let size: u64 = files.values().map(|(size, _)| size).sum();
    assert!(size <= LIMIT, "{size} bytes: {files:?}");
}

#[test]
fn the_image_starts_wrapper_as_an_unprivileged_user() {
    if !podman::is_there() {
        return;
    }
    assert_eq!(of_config("User"), r#""65532:65532""#);
    assert_eq!(of_config("Entrypoint"), r#"["/wrapper"]"#);
    for nothing in ["Cmd", "Volumes", "ExposedPorts", "WorkingDir"] {
        let value = of_config(nothing);
        assert!(["null", "[]", "{}", r#""""#, r#""/""#].contains(&value.as_str()), "{nothing}: {value}");
    }
    let done = podman(&["run", "--rm", "--network", "none", WRAPPER, "--version"]).done();
    assert_eq!(done.code(), 0, "{done:?}");
    assert!(done.stdout.starts_with(concat!("wrapper ", env!("CARGO_PKG_VERSION"))), "{done:?}");
}

#[test]
fn it_runs_a_command_and_a_hook_with_no_rights_no_network_and_nothing_to_write_to() {
    if !podman::is_there() {
        return;
    }
    let nothing = ["--network=none", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all"];
    // A user of the kind that OpenShift makes up.
    let nobody = ["--security-opt=no-new-privileges", "--user=1000650000:0"];
    for hook in ["echo", "/hooks/echo.wasm"] {
        let run = podman(&["run", "--rm"]).with(&nothing).with(&nobody);
        let done = run.with(&[WRAPPER, "--after", hook, "--", "/wrapper", "--version"]).done();
        assert_eq!(done.code(), 0, "{done:?}");
        assert!(done.stdout.starts_with("wrapper "), "{done:?}");
        assert!(done.stderr.contains("wrapper: echo: "), "{done:?}");
    }
}

/// A copy of what makes a release's image, committed, and a Docker that prints what it is asked.
fn release_of(folder: &Path) -> PathBuf {
    for file in ["Dockerfile", "release/image", "release/platform.sh"] {
        fs::create_dir_all(folder.join("repository/release")).unwrap();
        executable(&folder.join("repository").join(file), &fs::read_to_string(repository(file)).unwrap());
    }
    fs::create_dir(folder.join("bin")).unwrap();
    let docker = format!("#!/bin/sh\ncase $* in *inspect*) echo sha256:{} ;; *) echo \"$*\" ;; esac\n", "a".repeat(64));
    executable(&folder.join("bin/docker"), &docker);
    let commit = "git init -q . && git add . && git -c user.name=me -c user.email=me@localhost commit -qm all";
    let done = Command::new("sh").args(["-c", commit]).current_dir(folder.join("repository")).status();
    assert!(done.unwrap().success());
    folder.join("repository")
}

fn release_image(repository: &Path, argument: &str, compiler: Option<&str>) -> Output {
    let mut run = Command::new(repository.join("release/image"));
    run.arg(argument).env("PATH", format!("{}/../bin:{}", repository.display(), env::var("PATH").unwrap()));
    run.env_remove("COMPILER").envs(compiler.map(|image| ("COMPILER", image)));
    run.output().unwrap()
}

#[test]
fn an_image_for_a_release_is_made_from_an_image_that_is_named_by_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let repository = release_of(folder.path());
    let digest = "b".repeat(64);
    for image in
        ["rust:1.95.0-bookworm", "rust@sha256:abc", "rust:1.95.0@latest", &format!("rust@sha256:{digest}0"), ""]
    {
        let output = release_image(&repository, "registry.example/wrapper:1", Some(image));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("is not named by a digest"), "{image}: {output:?}");
        assert!(output.stdout.is_empty(), "{image}: {output:?}");
    }
    let pinned = format!("rust:1.95.0@sha256:{digest}");
    let output = release_image(&repository, "registry.example/wrapper:1", Some(&pinned));
    assert!(output.status.success(), "{output:?}");
    let asked = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        asked.trim_end(),
        format!(
            "buildx build --platform linux/amd64,linux/arm64,linux/riscv64,linux/s390x,linux/arm/v7 --build-arg \
             COMPILER={pinned} --tag registry.example/wrapper:1 --push ."
        )
    );
}

#[test]
fn the_digest_of_today_is_written_into_the_dockerfile() {
    let folder = tempfile::tempdir().unwrap();
    let repository = release_of(folder.path());
    let output = release_image(&repository, "--pin", None);
    assert!(output.status.success(), "{output:?}");
    let dockerfile = fs::read_to_string(repository.join("Dockerfile")).unwrap();
    let line = dockerfile.lines().find(|line| line.starts_with("ARG COMPILER=")).unwrap();
    let pinned = format!("@sha256:{}", "a".repeat(64));
    assert!(line.starts_with("ARG COMPILER=docker.io/library/rust:") && line.ends_with(&pinned), "{line}");
    // Again, it replaces the digest; and what is not committed is no release.
    assert!(release_image(&repository, "--pin", None).status.success());
    assert_eq!(fs::read_to_string(repository.join("Dockerfile")).unwrap(), dockerfile);
    let output = release_image(&repository, "registry.example/wrapper:1", None);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("not committed"), "{output:?}");
}
