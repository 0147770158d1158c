//! The options and variables of the manifests: the built wrapper accepts all of them, and every hook does its work.

use super::{invocation::Invocation, manifests::all};
use crate::harness::{
    Done, Run,
    dependencies::Grpc,
    eventually,
    manifests::{Manifest, file, files, in_files, items, pod, strings},
    names, network,
    peer::{Peer, free_port},
    repository, wrapper,
};
use nix::libc;
use serde_json::Value;
use std::{collections::BTreeSet, fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path};

/// Runs it with this script in place of the program and this server in place of all others.
fn run(invocation: &Invocation, peer: &Peer, script: &str, message: &Path) -> Done {
    let invocation = &invocation.waiting_for(&peer.url("/"));
    // Hooks that are mounted are those of the repository; `http` stands in for one's own, under its name.
    let here = |word: &String| match word.rsplit_once('/').and_then(|(_, file)| file.strip_suffix(".wasm")) {
        Some("report") => format!("report={}", hook_file("http")),
        Some(name) => hook_file(name),
        None => word.replace("/dev/termination-log", message.to_str().unwrap()),
    };
    let urls = invocation.hooks().into_iter().map(|hook| {
        // Of all sidecars one is there.
        let hook = if hook == "SIDECARS" { "ISTIO_QUIT".into() } else { hook };
        (format!("HOOK_{hook}_URL"), peer.url("/"))
    });
    let env = invocation.env.iter().map(|(name, value)| {
        // A URL that comes from a secret.
        if name.ends_with("_URL") && value == "secret" {
            return (name.clone(), peer.url("/secret"));
        }
        let origins = origins(invocation);
        (name.clone(), origins.iter().fold(here(value), |value, origin| value.replace(origin, &peer.url(""))))
    });
    let options = invocation.options.iter().map(here).collect();
    Invocation { options, env: urls.chain(env).collect(), ..invocation.clone() }.with_script(script).done()
}

fn hook_file(name: &str) -> String {
    repository("hooks/dist").join(format!("{name}.wasm")).to_str().unwrap().into()
}

/// The servers that hooks may reach beside the pod's own, all of them or one.
fn origins(invocation: &Invocation) -> Vec<String> {
    let is_list = |name: &str| {
        let name = name.strip_suffix("_HTTP").unwrap_or(name);
        name == "WRAPPER_ALLOW" || (name.starts_with("HOOK_") && name.ends_with("_ALLOW"))
    };
    let lists = invocation.env.iter().filter(|(name, _)| is_list(name)).map(|(_, list)| list.as_str());
    let allowed = lists.flat_map(|list| list.split(','));
    allowed.filter(|origin| !origin.starts_with("http://localhost:")).map(Into::into).collect()
}

/// Every invocation of wrapper in these manifests, and where it stands.
fn invocations(manifests: &[Manifest]) -> Vec<(String, Invocation)> {
    let mut found = Vec::new();
    for Manifest { place, object } in manifests {
        let Some(pod) = pod(object) else { continue };
        for container in items(&pod["initContainers"]).iter().chain(items(&pod["containers"])) {
            // If wrapper is the image's ENTRYPOINT, the file shows that line of the Dockerfile.
            let text = fs::read_to_string(repository(place)).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("#     ENTRYPOINT "));
            let entrypoint = line.map(|words| serde_json::from_str(words).unwrap());
            found.extend(Invocation::read(container, entrypoint).map(|invocation| (place.clone(), invocation)));
        }
    }
    found
}

/// Whether it is a witness, or has one.
fn is_witnessed(invocation: &Invocation) -> bool {
    invocation.options.iter().any(|option| option == "--witness") || invocation.variable("WRAPPER_WITNESS").is_some()
}

fn is_install(invocation: &Invocation) -> bool {
    invocation.options.first().is_some_and(|option| option == "--install")
}

#[test]
fn wrapper_accepts_the_options_of_every_manifest_and_every_hook_succeeds() {
    let invocations: Vec<_> =
        invocations(all()).into_iter().filter(|(place, _)| !place.ends_with("migration.md")).collect();
    let places: BTreeSet<_> = invocations.iter().map(|(place, _)| place.as_str()).collect();
    for path in files("deploy", ".yaml").iter().filter(|path| path.contains("job-")) {
        assert!(places.contains(path.as_str()), "wrapper is in front of nothing in {path}");
    }
    let alone = |invocation: &Invocation| !is_install(invocation) && !is_witnessed(invocation);
    let accepts = |place: &str, invocation: &Invocation| {
        let peer = Peer::with_status(200);
        let directory = tempfile::tempdir().unwrap();
        let message = directory.path().join("message");
        fs::write(&message, "").unwrap();
        let done = run(invocation, &peer, "echo \"$0 $@\"; exit 7", &message);
        assert_eq!(done.code(), 7, "{place}, {invocation:?}: {done:?}");
        assert_eq!(done.stdout.trim(), invocation.command.join(" "), "{place}, {invocation:?}: {done:?}");
        // `http` does not have the settings of the hook that it stands in for, and `ready` no URL.
        let of_test = ["hook \"report\": there is no setting ", "there is no setting HOOK_READY_URL"];
        let mut lines = done.stderr.lines().filter(|line| !of_test.iter().any(|words| line.contains(words)));
        let wrong = lines.find(|line| line.starts_with("wrapper: hook \"") || line.contains("warning"));
        assert_eq!(wrong, None, "{place}: {done:?}");
        let disabled = invocation.variable("WRAPPER_DISABLE_HOOKS").is_some();
        // A span, and metrics.
        let requests = |hook: &String| if hook == "OTLP" { 2 } else { 1 };
        assert_eq!(
            peer.requests().len(),
            if disabled { 0 } else { invocation.hooks().iter().map(requests).sum() },
            "{place}, {invocation:?}: {done:?}"
        );
        let words = fs::read_to_string(&message).unwrap();
        assert_eq!(
            words.lines().count(),
            usize::from(invocation.variable("WRAPPER_TERMINATION_LOG").is_some()),
            "{words}"
        );
    };
    for (place, invocation) in invocations.iter().filter(|(_, invocation)| alone(invocation)) {
        // Not the sidecars of whoever runs the tests.
        match invocation.hooks().iter().any(|hook| hook == "SIDECARS") {
            true => network::alone(|| accepts(place, invocation)),
            false => accepts(place, invocation),
        }
    }
}

#[test]
fn the_containers_that_have_a_witness_quit_the_sidecar_once_killed_or_not() {
    const MANIFESTS: [(&str, usize); 2] = [("deploy/job-witness.yaml", 1), ("deploy/job-several-containers.yaml", 2)];
    let witnessed = invocations(all()).into_iter().filter(|(_, invocation)| is_witnessed(invocation)).count();
    assert_eq!(witnessed, 2 + 3, "there is another manifest with a witness");
    for (place, containers) in MANIFESTS {
        let spec = file(place).remove(0);
        let spec = pod(&spec).unwrap();
        let mounted = |container: &Value| container["volumeMounts"][0]["mountPath"].as_str().unwrap().to_owned();
        let witness = &spec["initContainers"][0];
        assert_eq!(witness["restartPolicy"], "Always", "{place}: it would hold the pod up");
        assert_eq!(items(&spec["containers"]).len(), containers);
        for killed in [false, true] {
            let (peer, folder) = (Peer::with_status(200), tempfile::tempdir().unwrap());
            let start = |container: &Value, command: &[&str]| {
                let here = |value: &str| value.replace(&mounted(container), folder.path().to_str().unwrap());
                let mut invocation = Invocation::read(container, None).unwrap();
                invocation.options.iter_mut().for_each(|option| *option = here(option));
                invocation.env.iter_mut().for_each(|(_, value)| *value = here(value));
                let mut run = wrapper().with(&["--log", "debug"]);
                run.args(&invocation.options).args(command).envs(invocation.env);
                run.env("HOOK_ISTIO_QUIT_URL", peer.url("/"));
                run.running()
            };
            let mut watching = start(witness, &[]);
            watching.until_stderr_has("the witness listens\n");
            let mut wrappers: Vec<_> =
                items(&spec["containers"]).iter().map(|container| start(container, &["--", "sleep", "30"])).collect();
            for run in &mut wrappers {
                run.until_stderr_has("registered with the witness\n");
                run.until_stderr_has("wrapper: started ");
            }
            for (ended, mut run) in wrappers.into_iter().enumerate() {
                assert_eq!(peer.requests().len(), 0, "{place}: {ended} of {containers} have ended");
                run.signal(if killed { libc::SIGKILL } else { libc::SIGTERM });
                assert_eq!(run.exit_code(), if killed { None } else { Some(143) }, "{place}");
            }
            eventually("the sidecar is asked to quit", || peer.requests().len() == 1);
            watching.signal(libc::SIGTERM);
            assert_eq!((watching.done().code(), peer.requests().len()), (0, 1), "{place}");
        }
    }
}

#[test]
fn a_job_starts_when_the_servers_of_its_manifest_are_there() {
    network::alone(|| {
        if !names::can_have_files() {
            return;
        }
        let job = file("deploy/job-dependencies.yaml").remove(0);
        let invocation = Invocation::read(&pod(&job).unwrap()["containers"][0], None).unwrap();
        let (database, mut ledger) = (free_port(), Grpc::start());
        let mut run = names::wrapper_with("127.0.0.1 postgres.default.svc ledger.default.svc\\n", "");
        run.args(&invocation.options).args(["--", "sh", "-c", "echo \"$0 $@\"; exit 7"]).args(&invocation.command);
        run.envs(invocation.env.iter().map(|(name, value)| {
            let value = value.replace("5432", &database.to_string()).replace("50051", &ledger.port.to_string());
            // The names are loopback's here, which no name opens.
            (name, if name.ends_with("_ALLOW") { value + ",tcp://127.0.0.1:*" } else { value })
        }));
        let mut run = run.running();
        run.until_stderr_has("(connection refused), grpc://");
        run.until_stderr_has("billing.Ledger (answered UNKNOWN)\n");
        ledger.set("billing.Ledger", "SERVING");
        run.until_stderr_has("billing.Ledger is ready\n");
        assert!(run.stdout_so_far().is_empty(), "{}", run.stderr_so_far());
        let _database = TcpListener::bind(("127.0.0.1", database)).unwrap();
        let done = run.done();
        assert_eq!((done.code(), done.stdout.trim()), (7, invocation.command.join(" ").as_str()), "{done:?}");
    });
}

#[test]
fn an_invalid_option_of_a_manifest_is_detected() {
    let peer = Peer::with_status(200);
    let code = |invocation: Invocation| run(&invocation, &peer, "exit 7", Path::new("/dev/null")).code();
    let options = |words: &[&str]| Invocation {
        options: words.iter().map(|word| (*word).into()).collect(),
        ..Invocation::default()
    };
    assert_eq!(code(options(&["--after", "istio-quit"])), 7);
    assert_eq!(code(options(&["--after", "istio-quitt"])), 125);
    assert_eq!(code(options(&["--plugins", "istio-quit"])), 125);
    assert_eq!(code(options(&["--after", "/hooks/istio-quitt.wasm"])), 125);
    let env = |name: &str, value: &str| Invocation { env: vec![(name.into(), value.into())], ..Invocation::default() };
    assert_eq!(code(env("WRAPPER_PLUGIN_PATH", "/hooks/istio-quit.wasm")), 7);
    assert_eq!(code(env("WRAPPER_STOP_TIMEOUT", "60x")), 125);
}

#[test]
fn every_variable_of_wrapper_in_a_manifest_is_in_its_help() {
    let help = wrapper().with(&["--help"]).done().stdout;
    let known = |name: &str| {
        let starts = ["[env: ", " or "].map(|start| format!("{start}{name}"));
        starts.iter().any(|start| ["]", "=", ",", " or "].iter().any(|end| help.contains(&format!("{start}{end}"))))
    };
    assert!(known("WRAPPER_PLUGIN_PATH") && !known("WRAPPER_PLUGIN"));
    for (place, invocation) in invocations(all()) {
        for (name, _) in invocation.env.iter().filter(|(name, _)| name.starts_with("WRAPPER_")) {
            assert!(known(name), "{place}: {name}");
        }
    }
}

#[test]
fn where_a_hook_connects_a_manifest_allows_it() {
    let mut servers = 0;
    for (place, invocation) in invocations(all()) {
        let elsewhere = |value: &str| value.starts_with("http") && !value.starts_with("http://localhost:");
        let connects = |name: &str| name.ends_with("_URL") || name.ends_with("_ENDPOINT");
        for (name, value) in invocation.env.iter().filter(|(name, value)| connects(name) && elsewhere(value)) {
            servers += 1;
            let allowed = origins(&invocation);
            assert!(
                allowed.iter().any(|origin| format!("{value}/").starts_with(&format!("{origin}/"))),
                "{place}: {name}: {allowed:?}"
            );
        }
    }
    assert!(servers > 7);
}

#[test]
fn the_init_container_puts_wrapper_where_the_command_expects_it() {
    let mut installs = 0;
    for Manifest { place, object } in all() {
        let Some(pod) = pod(object) else { continue };
        for installer in items(&pod["initContainers"]) {
            let Some(invocation) = Invocation::read(installer, None).filter(is_install) else { continue };
            installs += 1;
            let [_, path] = invocation.options.as_slice() else { panic!("{place}: {invocation:?}") };
            let directory = tempfile::tempdir().unwrap();
            let done = wrapper().with(&["--install", directory.path().join("wrapper").to_str().unwrap()]).done();
            assert_eq!(done.code(), 0, "{done:?}");
            let installed = fs::metadata(directory.path().join("wrapper")).unwrap();
            assert_eq!(installed.permissions().mode() & 0o777, 0o755);
            // In the first container, from the same volume at the same place.
            let container = &pod["containers"][0];
            if object["kind"] != "PodTemplate" {
                assert_eq!(&strings(&container["command"])[0], path, "{place}");
            }
            let mount = &installer["volumeMounts"][0];
            assert!(path.starts_with(mount["mountPath"].as_str().unwrap()), "{place}");
            let same = |other: &&Value| other["name"] == mount["name"] && other["mountPath"] == mount["mountPath"];
            let same = items(&container["volumeMounts"]).iter().find(same).unwrap_or_else(|| panic!("{place}"));
            assert_eq!(same["readOnly"], true, "{place}");
            assert_eq!(strings(&installer["command"])[0], "/wrapper", "{place}: the image has it there");
        }
    }
    assert!(installs >= 4, "a Job, the component, and two that it made: {installs}");
}

#[test]
fn a_file_of_a_manifest_is_below_something_that_it_mounts() {
    let mut found = 0;
    for Manifest { place, object } in in_files() {
        for container in pod(&object).map_or(&[][..], |pod| items(&pod["containers"])) {
            let Some(invocation) = Invocation::read(container, None) else { continue };
            let mounts = items(&container["volumeMounts"]).iter().map(|mount| mount["mountPath"].as_str().unwrap());
            let mounts: Vec<_> = mounts.collect();
            let values =
                invocation.env.iter().map(|(_, value)| value).chain(&invocation.options).chain([&invocation.program]);
            for path in values.filter(|path| path.ends_with(".wasm") || path.ends_with("/wrapper")) {
                let mounted = mounts.iter().any(|mount| Path::new(path).starts_with(mount));
                assert!(mounted || path == "/wrapper", "{place}: {path} of {mounts:?}");
                found += usize::from(mounted);
            }
        }
    }
    assert!(found >= 4, "{found}");
}

#[test]
fn the_monitor_is_notified_of_the_start_and_the_exit_code_and_the_sidecar_quits_last() {
    let cron_job = file("deploy/cronjob-monitor.yaml").remove(0);
    let invocation = Invocation::read(&pod(&cron_job).unwrap()["containers"][0], None).unwrap();
    let peer = Peer::with_status(200);
    assert_eq!(run(&invocation, &peer, "exit 7", Path::new("/dev/null")).code(), 7);
    let requests = peer.requests();
    let lines: Vec<_> = requests.iter().map(|request| request.lines().next().unwrap()).collect();
    let expected = ["GET / HTTP/1.1", "POST /secret/start HTTP/1.1", "POST /secret/7 HTTP/1.1", "POST / HTTP/1.1"];
    assert_eq!(lines, expected);
}

#[test]
fn the_job_runs_even_if_the_monitor_cannot_be_notified_of_the_start() {
    let cron_job = file("deploy/cronjob-monitor.yaml").remove(0);
    let invocation = Invocation::read(&pod(&cron_job).unwrap()["containers"][0], None).unwrap();
    let nobody = format!("http://localhost:{}/", free_port());
    for (optional, code) in [("true", 7), ("false", 125)] {
        let own =
            [("HOOK_START_URL", nobody.as_str()), ("HOOK_START_TIMEOUT", "3s"), ("HOOK_START_OPTIONAL", optional)];
        let mut invocation = invocation.clone();
        invocation.env.retain(|(name, _)| own.iter().all(|(own, _)| own != name));
        invocation.env.extend(own.map(|(name, value)| (name.into(), value.into())));
        let peer = Peer::with_status(200);
        let done = run(&invocation, &peer, "exit 7", Path::new("/dev/null"));
        assert_eq!(done.code(), code, "{optional}: {done:?}");
        assert_eq!(done.stderr.contains("HOOK_START_OPTIONAL is true"), code == 7, "{done:?}");
        assert_eq!(peer.requests().len(), 3, "the gate, the end and the sidecar");
    }
}

#[test]
fn the_commands_time_and_the_hooks_fit_into_the_grace_period() {
    let cron_job = file("deploy/cronjob-monitor.yaml").remove(0);
    let spec = pod(&cron_job).unwrap();
    let invocation = Invocation::read(&spec["containers"][0], None).unwrap();
    let after = invocation.options.iter().filter(|word| *word == "--after").count() as u64;
    assert_eq!(
        (invocation.variable("WRAPPER_STOP_TIMEOUT"), invocation.variable("WRAPPER_PLUGIN_TIMEOUT")),
        (Some("1m"), Some("30s"))
    );
    let grace_period = spec["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(60 + after * 30 < grace_period);
    assert_eq!(invocation.variable("WRAPPER_GRACE_PERIOD"), Some(&*grace_period.to_string()));
    let warns = |stop_timeout: &str| {
        let mut invocation = invocation.clone();
        invocation.env.push(("WRAPPER_STOP_TIMEOUT".into(), stop_timeout.into()));
        let done = run(&invocation, &Peer::with_status(200), "exit 7", Path::new("/dev/null"));
        done.stderr.contains("is longer than --grace-period")
    };
    assert!(!warns("1m") && warns("2m"));
}
