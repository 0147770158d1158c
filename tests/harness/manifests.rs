//! Kubernetes' manifests: read, checked against its schemas, built by kustomize and admitted by its policies, with
//! kubectl itself and tests/harness/manifests.py.

use super::repository;
use serde_json::Value;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The newest schemas there are, and the oldest that matter: clusters are run for years.
pub const NEWEST: &str = "1.37";
pub const OLDEST: &str = "1.31";

/// The folder in which `tests/run` installs kubectl and the schemas.
fn tools() -> PathBuf {
    let tools = repository("target/test-tools/kubernetes");
    assert!(tools.join("bin/kubectl").exists(), "no kubectl; `tests/run` installs what the tests need");
    tools
}

#[track_caller]
fn run(command: &mut Command, input: &str) -> Output {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("it starts");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The output of kubectl, or its error. There is no cluster, and no configuration that could name one.
pub fn kubectl(args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(tools().join("bin/kubectl"));
    let output = run(command.args(args).env_clear().env("HOME", "/nonexistent").current_dir(repository("")), "");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The objects that kustomize builds from a folder.
pub fn built(folder: &str) -> Result<Vec<Value>, String> {
    kubectl(&["kustomize", folder]).map(|yaml| documents(&yaml).unwrap())
}

fn helper(args: &[&str], input: &str) -> Result<Value, String> {
    let mut command = Command::new("python3");
    command.arg("-B").arg(repository("tests/harness/manifests.py")).args(args).env("PYTHONPATH", tools());
    let output = run(&mut command, input);
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[track_caller]
fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        other => panic!("no list: {other}"),
    }
}

/// The documents of each of these texts in YAML.
fn read(texts: &[String]) -> Result<Vec<Vec<Value>>, String> {
    let answer = helper(&["yaml"], &serde_json::to_string(texts).unwrap())?;
    Ok(list(answer).into_iter().map(list).collect())
}

/// The documents of a stream of YAML.
pub fn documents(yaml: &str) -> Result<Vec<Value>, String> {
    read(&[yaml.into()]).map(|mut all| all.remove(0))
}

/// The error in each object for that version of Kubernetes, `None` if it is valid.
#[track_caller]
pub fn validate(objects: &[Value], version: &str) -> Vec<Option<String>> {
    let problems = helper(&["validate", version], &serde_json::to_string(objects).unwrap());
    list(problems.unwrap_or_else(|error| panic!("{error}"))).into_iter().map(|problem| words(&problem)).collect()
}

fn words(value: &Value) -> Option<String> {
    value.as_str().map(Into::into)
}

/// The result of creating objects under these policies: the object, or the message of the denial.
#[track_caller]
pub fn admit(policies: &Path, objects: &[Value]) -> Vec<Result<Value, String>> {
    let answers = helper(&["admit", policies.to_str().unwrap()], &serde_json::to_string(objects).unwrap());
    let answers = list(answers.unwrap_or_else(|error| panic!("{error}")));
    answers
        .into_iter()
        .map(|answer| words(&answer["refused"]).map_or_else(|| Ok(answer["object"].clone()), Err))
        .collect()
}

/// A manifest, and where it stands.
#[derive(Debug)]
pub struct Manifest {
    pub place: String,
    pub object: Value,
}

/// The files below a folder that have this ending, as paths of the repository.
pub fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path, ending));
        } else if path.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The objects of a file.
#[track_caller]
pub fn file(path: &str) -> Vec<Value> {
    let yaml = fs::read_to_string(repository(path)).unwrap();
    documents(&yaml).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every object of deploy/ that is for Kubernetes; what is for kustomize, kustomize reads.
#[track_caller]
pub fn in_files() -> Vec<Manifest> {
    let paths = files("deploy", ".yaml");
    let texts: Vec<_> = paths.iter().map(|path| fs::read_to_string(repository(path)).unwrap()).collect();
    let all = read(&texts).unwrap_or_else(|error| panic!("{error}"));
    let placed = paths.iter().zip(all).flat_map(|(place, objects)| objects.into_iter().map(move |it| (place, it)));
    let kubernetes = placed.filter(|(_, object)| !object["apiVersion"].as_str().unwrap().starts_with("kustomize."));
    kubernetes.map(|(place, object)| Manifest { place: place.clone(), object }).collect()
}

/// The objects in a page's blocks of YAML. What shows a part of a container is made a whole Job.
#[track_caller]
pub fn in_page(path: &str) -> Vec<Manifest> {
    let page = fs::read_to_string(repository(path)).unwrap();
    let blocks: Vec<_> = page.split("```yaml\n").skip(1).map(|block| block.split_once("```").unwrap().0).collect();
    let objects = documents(&blocks.join("\n---\n")).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(objects.len() >= blocks.len(), "{path}: a block without an object");
    let whole = |object: Value| if object["kind"].is_null() { job(container(object)) } else { object };
    objects.into_iter().map(|object| Manifest { place: path.into(), object: whole(object) }).collect()
}

fn container(mut part: Value) -> Value {
    part["name"] = "my-job".into();
    part["image"] = "registry.example/my-job:1.0".into();
    part
}

/// A Job of one container.
pub fn job(container: Value) -> Value {
    serde_json::json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "my-job"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    })
}

/// The specification of the pods that an object makes, if it makes some.
pub fn pod(object: &Value) -> Option<&Value> {
    let spec = match object["kind"].as_str()? {
        "Pod" => &object["spec"],
        "PodTemplate" => &object["template"]["spec"],
        "Job" => &object["spec"]["template"]["spec"],
        "CronJob" => &object["spec"]["jobTemplate"]["spec"]["template"]["spec"],
        _ => return None,
    };
    assert!(spec["containers"].is_array(), "a pod without containers: {object}");
    Some(spec)
}

/// The items of a list that may be absent.
pub fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// A list of strings that may be absent.
pub fn strings(list: &Value) -> Vec<String> {
    items(list).iter().map(|word| word.as_str().unwrap_or_else(|| panic!("not a string: {word}")).into()).collect()
}
