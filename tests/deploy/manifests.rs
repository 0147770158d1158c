//! The manifests of deploy/ and of the pages are valid for Kubernetes, and what kubectl and a policy would check of
//! them holds. No cluster is needed.

use super::invocation::Invocation;
use crate::harness::{
    digest,
    manifests::{
        Manifest, NEWEST, OLDEST, built, documents, file, files, in_files, in_page, items, job, kubectl, pod, validate,
    },
    repository,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::Path, slice, sync::OnceLock};

const EXAMPLE: &str = "deploy/kustomize/example";

/// Every manifest that somebody could apply, read once in a test run.
pub fn all() -> &'static [Manifest] {
    static ALL: OnceLock<Vec<Manifest>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = in_files();
        let pages = [vec!["README.md".into()], files("docs", ".md"), files("deploy", ".md")].concat();
        all.extend(pages.iter().flat_map(|page| in_page(page)));
        all.extend(built(EXAMPLE).unwrap().into_iter().map(|object| Manifest { place: EXAMPLE.into(), object }));
        assert!(all.len() > 30, "there are more manifests: {all:#?}");
        all
    })
}

fn objects(manifests: &[Manifest]) -> Vec<Value> {
    manifests.iter().map(|manifest| manifest.object.clone()).collect()
}

#[test]
fn every_manifest_validates_against_the_schemas_of_kubernetes() {
    let manifests = all();
    let mut unknown = BTreeSet::new();
    for version in [OLDEST, NEWEST] {
        for (manifest, problem) in manifests.iter().zip(validate(&objects(manifests), version)) {
            match problem.as_deref() {
                // The oldest has no restart rules.
                Some(problem) if version == OLDEST && manifest.place == "deploy/job-restart-rules.yaml" => {
                    assert!(problem.contains("restartPolicyRules"), "{problem}");
                }
                Some("no schema") => _ = unknown.insert((version, manifest.object["kind"].as_str().unwrap())),
                problem => assert_eq!(problem, None, "Kubernetes {version}, {}: {}", manifest.place, manifest.object),
            }
        }
    }
    // Everything but the policy that wraps can be had in the oldest.
    let younger = [(OLDEST, "MutatingAdmissionPolicy"), (OLDEST, "MutatingAdmissionPolicyBinding")];
    assert_eq!(unknown, younger.into());
}

#[test]
fn a_manifest_with_a_mistake_does_not_validate() {
    let job = &file("deploy/job-restricted.yaml")[1];
    let container = "/spec/template/spec/containers/0";
    for (place, key, value, words) in [
        ("", "kind", json!("Jobb"), "no schema"),
        ("/spec", "backofLimit", json!(0), "backofLimit"),
        ("/spec", "backoffLimit", json!("0"), "'0' is not of type"),
        ("/spec/template/spec", "container", json!([]), "container"),
        (container, "comand", json!(["/wrapper"]), "comand"),
        (container, "command", json!("/wrapper"), "'/wrapper' is not of type"),
        (container, "env", json!([{"name": "WRAPPER_DISABLE_HOOKS", "value": true}]), "True is not of type"),
        (container, "env", json!([{"name": "HOOK_ID", "valueFrom": {"secretRef": {}}}]), "secretRef"),
    ] {
        let mut wrong = job.clone();
        let object = wrong.pointer_mut(place).unwrap().as_object_mut().unwrap();
        object.insert(key.into(), value);
        let problem = validate(&[wrong], NEWEST).remove(0).unwrap_or_else(|| panic!("{place}: {key} is taken"));
        assert!(problem.contains(words), "{place}, {key}: {problem}");
    }
    assert!(documents("a: 1\na: 2\n").is_err(), "a key that comes twice is taken");
}

/// A mistake that an API server rejects and no schema knows.
fn mistake(object: &Value) -> Option<String> {
    let pod = pod(object)?;
    let volumes: Vec<_> = items(&pod["volumes"]).iter().map(|volume| &volume["name"]).collect();
    let containers = || items(&pod["initContainers"]).iter().chain(items(&pod["containers"]));
    for container in containers() {
        let names: Vec<_> = containers().filter(|other| other["name"] == container["name"]).collect();
        if names.len() > 1 {
            return Some(format!("two containers {}", container["name"]));
        }
        for mount in items(&container["volumeMounts"]) {
            let count = volumes.iter().filter(|name| **name == &mount["name"]).count();
            if count != 1 {
                return Some(format!("{count} volumes {}", mount["name"]));
            }
        }
    }
    let ends = ["Never", "OnFailure"].contains(&pod["restartPolicy"].as_str().unwrap_or("Always"));
    let runs = object["kind"] != "PodTemplate"; // A source of values for kustomize.
    (runs && !ends).then(|| "a Job's pod has restartPolicy Never or OnFailure".into())
}

#[test]
fn what_a_manifest_mounts_it_has_and_its_pod_ends() {
    for Manifest { place, object } in all() {
        assert_eq!(mistake(object), None, "{place}");
    }
    let whole = json!({"name": "my-job", "volumeMounts": [{"name": "hooks", "mountPath": "/hooks"}]});
    let mut object = job(whole);
    assert_eq!(mistake(&object).unwrap(), "0 volumes \"hooks\"");
    object["spec"]["template"]["spec"]["volumes"] = json!([{"name": "hooks"}]);
    assert_eq!(mistake(&object), None);
    object["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
    assert!(mistake(&object).unwrap().contains("restartPolicy"));
    object["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "my-job"}]);
    assert_eq!(mistake(&object).unwrap(), "two containers \"my-job\"");
}

/// The commands in the comment at the head of the manifest.
fn shown(path: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(repository(path)).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("#     kubectl "));
    lines.map(|line| line.replace('\'', "").split_inclusive(' ').fold(vec![], words_of)).collect()
}

/// Splits at spaces, but not inside of JSON.
fn words_of(mut words: Vec<String>, part: &str) -> Vec<String> {
    match words.last_mut() {
        Some(last) if last.contains('{') && !last.contains('}') => *last = format!("{last} {}", part.trim()),
        _ => words.push(part.trim().into()),
    }
    words
}

#[test]
fn the_commands_shown_make_the_config_map_that_is_mounted() {
    let [create, patch] = shown("deploy/job-configmap.yaml").try_into().unwrap();
    let without_cluster = ["--dry-run=client", "-o", "json"];
    let create: Vec<_> = create.iter().map(String::as_str).chain(without_cluster).collect();
    let made: Value = serde_json::from_str(&kubectl(&create).unwrap()).unwrap();
    assert_eq!(validate(slice::from_ref(&made), NEWEST), [None]);

    let manifest = file("deploy/job-configmap.yaml").remove(0);
    let spec = pod(&manifest).unwrap();
    assert_eq!(spec["volumes"][0]["configMap"]["name"], made["metadata"]["name"]);
    let mount = spec["containers"][0]["volumeMounts"][0]["mountPath"].as_str().unwrap();
    let invocation = Invocation::read(&spec["containers"][0], None).unwrap();
    let name = Path::new(invocation.variable("WRAPPER_PLUGIN_PATH").unwrap()).strip_prefix(mount).unwrap();
    assert!(made["binaryData"][name.to_str().unwrap()].is_string(), "{made}");

    // `patch NAME` asks a cluster; `patch --local -f FILE` does the same to a file.
    let saved = tempfile::NamedTempFile::new().unwrap();
    fs::write(saved.path(), made.to_string()).unwrap();
    assert_eq!(patch[..3], ["patch", "configmap", "wrapper-hooks"]);
    let local = ["patch", "--local", "-o", "json", "-f", saved.path().to_str().unwrap()];
    let patch: Vec<_> = local.into_iter().chain(patch[3..].iter().map(String::as_str)).collect();
    let patched: Value = serde_json::from_str(&kubectl(&patch).unwrap()).unwrap();
    assert_eq!(patched["immutable"], true);
    assert_eq!(patched["binaryData"], made["binaryData"]);
}

#[test]
fn the_digest_shown_is_that_of_the_hook() {
    let manifest = file("deploy/job-configmap.yaml").remove(0);
    let invocation = Invocation::read(&pod(&manifest).unwrap()["containers"][0], None).unwrap();
    let shown = invocation.variable("WRAPPER_PLUGIN_SHA256").unwrap();
    assert_eq!(shown, digest("istio-quit"), "a new istio-quit has a new digest in deploy/job-configmap.yaml");
}

#[test]
fn the_config_map_of_ones_own_hook_is_made_from_its_file_and_named_after_its_bytes() {
    const FOLDER: &str = "deploy/kustomize/own-hook";
    let hook = repository("hooks/dist/http.wasm");
    let build = |bytes: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        for file in files(FOLDER, ".yaml") {
            fs::copy(repository(&file), folder.path().join(file.rsplit('/').next().unwrap())).unwrap();
        }
        fs::write(folder.path().join("report.wasm"), bytes).unwrap();
        let objects = built(folder.path().to_str().unwrap()).unwrap();
        assert_eq!(validate(&objects, NEWEST), [None, None]);
        let [config_map, job]: [Value; 2] = objects.try_into().unwrap();
        assert_eq!(config_map["immutable"], true);
        assert!(config_map["binaryData"]["report.wasm"].is_string(), "{config_map}");
        assert_eq!(pod(&job).unwrap()["volumes"][0]["configMap"]["name"], config_map["metadata"]["name"]);
        (config_map["metadata"]["name"].clone(), job)
    };
    let bytes = fs::read(&hook).unwrap();
    let (name, job) = build(&bytes);
    assert_ne!(name, build(&bytes[1..]).0, "Jobs that run would get a new hook");

    let container = &pod(&job).unwrap()["containers"][0];
    let invocation = Invocation::read(container, None).unwrap();
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/hooks");
    assert!(invocation.options.contains(&"/hooks/report.wasm".into()), "{invocation:?}");
    let shown = invocation.variable("HOOK_REPORT_SHA256").unwrap();
    assert_eq!(shown, digest("http"), "hooks/build writes the digest of http into {FOLDER}");
}

#[test]
fn a_hook_of_190_kilobytes_goes_through_kubectl_apply_and_one_of_200_does_not() {
    const ANNOTATIONS: usize = 256 * 1024; // TotalAnnotationSizeLimitB of the API server.
    let hook = tempfile::NamedTempFile::new().unwrap();
    for (size, fits) in [(190_000, true), (200_000, false)] {
        fs::write(hook.path(), vec![0xff; size]).unwrap();
        let from = format!("--from-file=istio-quit.wasm={}", hook.path().display());
        let args = ["create", "configmap", "wrapper-hooks", &from, "--dry-run=client", "--save-config", "-o", "json"];
        let made: Value = serde_json::from_str(&kubectl(&args).unwrap()).unwrap();
        let kept: usize =
            made["metadata"]["annotations"].as_object().unwrap().values().map(|it| it.as_str().unwrap().len()).sum();
        assert_eq!(kept < ANNOTATIONS, fits, "{kept} bytes of annotations for {size}");
    }
}

/// The first violation of the Pod Security Standard "restricted" in a pod.
pub fn unrestricted(pod: &Value) -> Option<String> {
    const VOLUMES: [&str; 8] =
        ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
    for container in items(&pod["initContainers"]).iter().chain(items(&pod["containers"])) {
        let own = &container["securityContext"];
        let says = |path: &str, wanted: &Value| {
            let given = |context: &Value| context.pointer(path).filter(|value| !value.is_null()).cloned();
            given(own).or_else(|| given(&pod["securityContext"])).as_ref() == Some(wanted)
        };
        for (path, wanted) in [
            ("/runAsNonRoot", json!(true)),
            ("/allowPrivilegeEscalation", json!(false)),
            ("/capabilities/drop", json!(["ALL"])),
            ("/seccompProfile/type", json!("RuntimeDefault")),
        ] {
            if !says(path, &wanted) {
                return Some(format!("{} of {}", path, container["name"]));
            }
        }
    }
    let mut kinds = items(&pod["volumes"]).iter().flat_map(|volume| volume.as_object().unwrap().keys());
    kinds.find(|kind| *kind != "name" && !VOLUMES.contains(&kind.as_str())).cloned()
}

#[test]
fn the_restricted_manifest_is_what_its_namespace_asks_for_line_by_line() {
    let [namespace, job] = file("deploy/job-restricted.yaml").try_into().unwrap();
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    assert_eq!(namespace["metadata"]["name"], job["metadata"]["namespace"]);
    let spec = pod(&job).unwrap();
    assert_eq!(unrestricted(spec), None);
    for (place, key) in [
        ("/securityContext", "runAsNonRoot"),
        ("/securityContext", "seccompProfile"),
        ("/containers/0/securityContext", "allowPrivilegeEscalation"),
        ("/containers/0/securityContext", "capabilities"),
    ] {
        let mut weaker = spec.clone();
        weaker.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(key).unwrap();
        assert!(unrestricted(&weaker).unwrap().contains(key), "{place}: {key} is not needed");
    }
    let mut weaker = spec.clone();
    weaker["volumes"] = json!([{"name": "root", "hostPath": {"path": "/"}}]);
    assert_eq!(unrestricted(&weaker).unwrap(), "hostPath");
}

#[test]
fn the_network_policy_selects_the_jobs_that_say_so() {
    let policy = file("deploy/network-policy.yaml").remove(0);
    let labels = &policy["spec"]["podSelector"]["matchLabels"];
    let job = &file("deploy/job-restricted.yaml")[1]["spec"]["template"];
    let cron_job = &file("deploy/cronjob-monitor.yaml")[0]["spec"]["jobTemplate"]["spec"]["template"];
    for template in [job, cron_job] {
        for (key, value) in labels.as_object().unwrap() {
            assert_eq!(&template["metadata"]["labels"][key], value);
        }
    }
}

#[test]
fn every_file_is_in_the_table_and_every_file_of_the_table_is_there() {
    let page = fs::read_to_string(repository("deploy/README.md")).unwrap();
    let links: BTreeSet<_> = page.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0).collect();
    for link in &links {
        let path = link.split_once('#').map_or(*link, |(path, _)| path);
        assert!(repository("deploy").join(path).exists(), "{link} is not there");
    }
    for path in files("deploy", ".yaml") {
        let path = path.strip_prefix("deploy/").unwrap();
        // A file of a kustomization that is linked is found from there.
        let mut folders = Path::new(path).ancestors().skip(1);
        let kustomized = folders.any(|it| links.contains(it.join("kustomization.yaml").to_str().unwrap()));
        assert!(kustomized || links.contains(path), "{path} is not in the table");
    }
}
