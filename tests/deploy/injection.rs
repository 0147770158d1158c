//! Jobs that are wrapped by the kustomize component and by the admission policies: the result is what one would write
//! by hand.

use super::manifests::unrestricted;
use crate::harness::{
    manifests::{NEWEST, admit, built, documents, file, files, items, job, pod, strings, validate},
    repository,
};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, slice};

/// A kustomization of these Jobs with the component.
fn kustomized(jobs: &[Value]) -> Result<Vec<Value>, String> {
    let directory = tempfile::tempdir().unwrap();
    // kustomize takes a component by a relative path only, so it is copied to where the Jobs are.
    let component = fs::canonicalize(repository("deploy/kustomize/component")).unwrap();
    for part in fs::read_dir(component).unwrap() {
        let part = part.unwrap();
        fs::create_dir_all(directory.path().join("component")).unwrap();
        fs::copy(part.path(), directory.path().join("component").join(part.file_name())).unwrap();
    }
    let folder = directory.path().join("jobs");
    fs::create_dir(&folder).unwrap();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": jobs});
    fs::write(folder.join("jobs.yaml"), list.to_string()).unwrap();
    let kustomization = json!({"resources": ["jobs.yaml"], "components": ["../component"], "namePrefix": "a-"});
    fs::write(folder.join("kustomization.yaml"), kustomization.to_string()).unwrap();
    built(folder.to_str().unwrap())
}

fn labelled(mut object: Value) -> Value {
    object["metadata"]["labels"] = json!({"wrapper.example/inject": "istio-quit"});
    object
}

fn cron_job(job: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "my-cron-job"},
        "spec": {"schedule": "30 2 * * *", "jobTemplate": {"spec": job["spec"]}},
    })
}

/// A Job that has nothing but a command, and one that has all that could be in the way.
fn plain_and_rich() -> [Value; 2] {
    let plain = json!({"name": "plain", "image": "registry.example/my-job:1.0", "command": ["/my-job", "--fast"]});
    let mut rich = job(json!({
        "name": "rich", "image": "registry.example/my-job:1.0", "command": ["/my-job", "--fast"], "args": ["x"],
        "env": [{"name": "A", "value": "b"}], "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }));
    let spec = &mut rich["spec"]["template"]["spec"];
    spec["securityContext"] = json!({"runAsUser": 0});
    spec["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    spec["initContainers"] = json!([{"name": "prepare", "image": "registry.example/prepare:1.0"}]);
    spec["containers"].as_array_mut().unwrap().push(json!({"name": "other", "image": "registry.example/other:1.0"}));
    rich["metadata"]["name"] = "rich".into();
    [job(plain), rich]
}

/// Takes the one item out of a list that was not there before, and the list, if it was not there either.
#[track_caller]
fn take_added(list: &str, was: &Value, is: &mut Value) -> Value {
    let items = is[list].as_array_mut().unwrap();
    let place = items.iter().position(|item| !self::items(&was[list]).contains(item)).expect("one is added");
    let added = items.remove(place);
    if was[list].is_null() && items.is_empty() {
        is.as_object_mut().unwrap().remove(list);
    }
    added
}

/// Fails unless the pod is what it was, with wrapper in front of its first container's command.
#[track_caller]
fn assert_wrapped_once(was: &Value, is: &Value) {
    let mut rest = is.clone();
    // The same as in the manifest that shows how it is done by hand.
    let by_hand = file("deploy/job-init-container.yaml").remove(0);
    let by_hand = pod(&by_hand).unwrap();
    // Whoever the pod is: the kubelet does not start a container of root's that says it is not.
    assert_eq!(by_hand["initContainers"][0]["securityContext"]["runAsUser"], 65532);
    assert_eq!(take_added("initContainers", was, &mut rest), by_hand["initContainers"][0]);
    assert_eq!(take_added("volumes", was, &mut rest), by_hand["volumes"][0]);
    let (before, first, shown) = (&was["containers"][0], &mut rest["containers"][0], &by_hand["containers"][0]);
    assert_eq!(take_added("volumeMounts", before, first), shown["volumeMounts"][0]);
    let wrapper = strings(&shown["command"]).into_iter().take_while(|word| word != "/my-job");
    assert_eq!(strings(&first["command"]), wrapper.chain(strings(&before["command"])).collect::<Vec<_>>());
    first["command"] = before["command"].clone();
    assert_eq!(&rest, was, "something else has changed");
}

#[test]
fn the_component_wraps_a_job_that_has_nothing_and_one_that_has_everything() {
    let jobs = plain_and_rich();
    let mut given: Vec<_> = jobs.iter().cloned().map(labelled).collect();
    given.push(labelled(cron_job(&jobs[0])));
    given.push(job(json!({"name": "left-alone", "image": "registry.example/my-job:1.0"})));
    given[3]["metadata"]["name"] = "left-alone".into();
    let made = kustomized(&given).unwrap();
    assert_eq!(made.len(), given.len(), "{made:#?}");
    assert_eq!(validate(&made, NEWEST), [None, None, None, None]);
    for was in &given {
        let name = format!("a-{}", was["metadata"]["name"].as_str().unwrap());
        let is = made.iter().find(|job| job["metadata"]["name"] == name.as_str()).unwrap();
        if name == "a-left-alone" {
            assert_eq!(is["spec"], was["spec"]);
        } else {
            assert_wrapped_once(pod(was).unwrap(), pod(is).unwrap());
        }
    }
}

#[test]
fn the_component_refuses_a_job_whose_command_is_in_its_image() {
    let error = kustomized(&[labelled(job(json!({"name": "a", "image": "registry.example/my-job:1.0"})))]).unwrap_err();
    assert!(error.contains("doc is missing path") && error.contains("/containers/0/command/0"), "{error}");
}

/// A pod as the Job controller makes it.
fn pod_of(job: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "spec": pod(job).unwrap(),
        "metadata": {
            "generateName": "my-job-",
            "labels": {"wrapper.example/inject": "istio-quit", "batch.kubernetes.io/job-name": "my-job"},
        },
    })
}

fn policy(name: &str) -> PathBuf {
    repository("deploy/admission").join(name)
}

#[test]
fn the_policy_wraps_a_labelled_pod_once() {
    let pods = plain_and_rich().map(|job| pod_of(&job));
    let wrapped: Vec<_> = admit(&policy("wrap.yaml"), &pods).into_iter().map(Result::unwrap).collect();
    assert_eq!(validate(&wrapped, NEWEST), [None, None]);
    for (was, is) in pods.iter().zip(&wrapped) {
        assert_wrapped_once(&was["spec"], &is["spec"]);
        assert_eq!(is["metadata"], was["metadata"]);
    }
    let again: Vec<_> = admit(&policy("wrap.yaml"), &wrapped).into_iter().map(Result::unwrap).collect();
    assert_eq!(again, wrapped);
}

#[test]
fn the_policy_puts_the_hook_there_that_the_label_names() {
    let mut one = pod_of(&plain_and_rich()[0]);
    one["metadata"]["labels"]["wrapper.example/inject"] = "linkerd-shutdown".into();
    let wrapped = admit(&policy("wrap.yaml"), &[one]).remove(0).unwrap();
    assert_eq!(
        strings(&wrapped["spec"]["containers"][0]["command"])[..3],
        ["/wrapper-bin/wrapper", "--after", "linkerd-shutdown"]
    );
}

#[test]
fn the_policy_leaves_other_pods_alone() {
    let [plain, _] = plain_and_rich().map(|job| pod_of(&job));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut pod = plain.clone();
        change(&mut pod);
        pod
    };
    let without = |label: &'static str| {
        changed(&|pod| _ = pod["metadata"]["labels"].as_object_mut().unwrap().remove(label).unwrap())
    };
    let sidecar = json!([{"name": "proxy", "image": "registry.example/my-proxy:1.0", "restartPolicy": "Always"}]);
    let others = [
        without("wrapper.example/inject"),
        without("batch.kubernetes.io/job-name"),
        changed(&|pod| _ = pod["spec"]["containers"][0].as_object_mut().unwrap().remove("command").unwrap()),
        changed(&|pod| pod["spec"]["containers"][0]["command"] = json!(["/wrapper", "--", "/my-job"])),
        changed(&|pod| pod["spec"]["initContainers"] = sidecar.clone()),
        changed(&|pod| pod["metadata"]["labels"]["wrapper.example/inject"] = "".into()),
    ];
    for (was, is) in others.iter().zip(admit(&policy("wrap.yaml"), &others)) {
        assert_eq!(&is.unwrap(), was);
    }
    assert_ne!(admit(&policy("wrap.yaml"), slice::from_ref(&plain)).remove(0).unwrap(), plain);
}

#[test]
fn pods_that_were_restricted_still_are_when_they_are_wrapped() {
    let restricted = &file("deploy/job-restricted.yaml")[1];
    let mut bare = restricted.clone();
    bare["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["/my-job"]);
    let by_policy = admit(&policy("wrap.yaml"), &[pod_of(&bare)]).remove(0).unwrap();
    let by_component = kustomized(&[labelled(bare)]).unwrap().remove(0);
    for wrapped in [by_policy, by_component] {
        let spec = pod(&wrapped).unwrap();
        assert_eq!(strings(&spec["containers"][0]["command"])[0], "/wrapper-bin/wrapper");
        assert_eq!(unrestricted(spec), None, "{wrapped}");
    }
}

#[test]
fn a_labelled_job_without_a_command_is_rejected_with_a_message() {
    let [plain, _] = plain_and_rich();
    let label = |mut job: Value| {
        job["spec"]["template"]["metadata"] = json!({"labels": {"wrapper.example/inject": "istio-quit"}});
        job
    };
    let without = job(json!({"name": "a", "image": "registry.example/my-job:1.0"}));
    let empty = job(json!({"name": "a", "image": "registry.example/my-job:1.0", "command": []}));
    let refused = [label(without.clone()), cron_job(&label(without.clone())), label(empty)];
    for answer in admit(&policy("refuse.yaml"), &refused) {
        let words = answer.unwrap_err();
        assert!(words.contains("wrapper.example/inject needs a command"), "{words}");
    }
    let taken = [label(plain.clone()), cron_job(&label(plain)), cron_job(&without), without];
    for (was, is) in taken.iter().zip(admit(&policy("refuse.yaml"), &taken)) {
        assert_eq!(&is.unwrap(), was);
    }
}

#[test]
fn a_label_that_names_no_hook_for_a_sidecar_is_rejected_with_a_message() {
    let [plain, _] = plain_and_rich();
    let naming = |hook: &str| {
        let mut job = plain.clone();
        job["spec"]["template"]["metadata"] = json!({"labels": {"wrapper.example/inject": hook}});
        job
    };
    for hook in ["", "istio-qiut", "istio_quit", "echo"] {
        let words = admit(&policy("refuse.yaml"), &[naming(hook)]).remove(0).unwrap_err();
        assert!(words.contains("wrapper.example/inject needs the name of a hook: cloudsql-quit, "), "{words}");
    }
    let hooks = files("hooks/dist", ".wasm");
    let names = hooks.iter().map(|path| path.trim_start_matches("hooks/dist/").trim_end_matches(".wasm"));
    let quitting: Vec<_> = names.filter(|name| name.ends_with("-quit") || name.ends_with("-shutdown")).collect();
    assert!(quitting.len() >= 7, "{quitting:?}");
    for hook in quitting {
        assert!(admit(&policy("refuse.yaml"), &[naming(hook)]).remove(0).is_ok(), "{hook} is not in refuse.yaml");
    }
}

#[test]
fn a_policy_with_a_mistake_is_noticed() {
    let text = fs::read_to_string(policy("wrap.yaml")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let damaged = directory.path().join("wrap.yaml");
    let plain = pod_of(&plain_and_rich()[0]);
    let wraps = |text: &str| {
        fs::write(&damaged, text).unwrap();
        let outcome = std::panic::catch_unwind(|| admit(&damaged, slice::from_ref(&plain)).remove(0));
        outcome.is_ok_and(|pod| {
            std::panic::catch_unwind(|| assert_wrapped_once(&plain["spec"], &pod.unwrap()["spec"])).is_ok()
        })
    };
    assert!(wraps(&text));
    for (right, wrong) in [
        // Fields that are not there, and values of another type.
        ("sizeLimit: \"64Mi\"", "sizelimit: \"64Mi\""),
        ("runAsNonRoot: true", "runAsNonRoot: \"true\""),
        ("Object.spec.volumes.emptyDir{", "Object.spec.volumes.configMap{"),
        ("op: \"add\", path: \"/spec/volumes/-\"", "op: \"add\", path: 1"),
        // Words of which one may be no string.
        ("string(object.metadata", "dyn(object.metadata"),
        ("requests: {\"cpu\": \"10m\"", "requests: {\"cpu\": 1"),
        // A list that is not there.
        ("(has(object.spec.volumes) ? [] : [", "(true ? [] : ["),
        // Another pod than was meant.
        ("variables.wrapper + variables.container.command", "variables.container.command + variables.wrapper"),
        ("readOnly: true", "readOnly: false"),
        ("operator: Exists", "operator: DoesNotExist"),
    ] {
        let other = text.replacen(right, wrong, 1);
        assert_ne!(other, text, "{right} is not there");
        assert!(!wraps(&other), "{wrong} is not noticed");
    }
}

#[test]
fn the_policy_that_wraps_validates_as_the_version_that_it_names_for_older_servers() {
    let text = fs::read_to_string(repository("deploy/admission/wrap.yaml")).unwrap();
    let policies = |version: &str| documents(&text.replace("k8s.io/v1\n", &format!("k8s.io/{version}\n"))).unwrap();
    for (version, served) in [("1.34", "v1beta1"), ("1.35", "v1beta1"), ("1.36", "v1")] {
        assert_eq!(validate(&policies(served), version), [None, None], "{version}");
    }
    assert_eq!(validate(&policies("v1"), "1.35"), [Some("no schema".into()), Some("no schema".into())]);
}
