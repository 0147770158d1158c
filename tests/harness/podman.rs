//! Pods as podman runs them: images, built once in a test run, and pods, which end when dropped. All state is kept in
//! target/test-tools/podman, apart from the machine's own; what a killed run left there is removed by the next.

use super::{Done, HANGS, Run, manifests::kubectl, programs, repository, skipped};
use nix::{
    sched::{CloneFlags, setns},
    unistd::geteuid,
};
use serde_json::{Value, json};
use std::{
    env,
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The image of the Dockerfile: wrapper and its hooks.
pub const WRAPPER: &str = "localhost/wrapper:test";
/// A Job's own image, without wrapper.
pub const MY_JOB: &str = "localhost/my-job:test";
/// The same with wrapper in front, as the README says.
pub const MY_JOB_WRAPPED: &str = "localhost/my-job-wrapped:test";
/// A real Envoy, whose admin interface is where Istio's agent would be.
const ENVOY: &str = "localhost/envoy:test";
pub const ENVOY_PORT: u16 = 15020;
const PAUSE: &str = "localhost/pause:test";

/// Name of the sidecar's container, the same as Istio's.
pub const SIDECAR: &str = "istio-proxy";

/// podman is asked again after so long: an answer costs it 50 ms of a processor.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// True if pods can be run here; the images are then built. If not, that is reported.
pub fn is_there() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| {
        let why = match missing() {
            Some(why) => why,
            None => match prepare() {
                Ok(()) => return true,
                Err(why) => {
                    assert!(env::var_os("CI").is_none(), "CI must run pods: {why}");
                    why
                }
            },
        };
        skipped(&format!("pods and images: {why}"));
        false
    })
}

fn missing() -> Option<String> {
    if !geteuid().is_root() {
        return Some("the tests do not run as root".into());
    }
    let answers = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    let program = ["podman", "runc"].into_iter().find(|program| !answers(program))?;
    Some(format!("{program} is not installed"))
}

fn store(path: &str) -> PathBuf {
    repository("target/test-tools/podman").join(path)
}

/// podman with nothing but our own settings and folders.
pub fn podman(args: &[&str]) -> Command {
    on(driver(), args)
}

fn on(driver: &str, args: &[&str]) -> Command {
    let mut command = Command::new("podman");
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root");
    command.env("CONTAINERS_CONF", repository("tests/containers/containers.conf"));
    command.args(["--storage-driver", driver, "--root"]).arg(store(driver));
    for (folder, path) in [("runroot", "run"), ("tmpdir", "tmp"), ("volumepath", "volumes")] {
        command.arg(format!("--{folder}")).arg(store(path));
    }
    command.arg("--network-config-dir").arg(store("networks")).args(args).stdin(Stdio::null());
    command
}

/// The one that shares layers, where the kernel and the file system have it.
fn driver() -> &'static str {
    static DRIVER: OnceLock<&str> = OnceLock::new();
    DRIVER.get_or_init(|| match on("overlay", &["info"]).done().status.success() {
        true => "overlay",
        false => "vfs",
    })
}

/// The output of podman, which has to succeed.
#[track_caller]
pub fn ask(args: &[&str]) -> String {
    let done = podman(args).done();
    assert!(done.status.success(), "podman {args:?}: {done:?}");
    done.stdout.trim_end().to_owned()
}

/// Makes the images, or says why no container can be run here.
fn prepare() -> Result<(), String> {
    static LOCK: OnceLock<File> = OnceLock::new();
    fs::create_dir_all(store("context")).unwrap();
    // Held until this process has ended: another run of the tests waits for it, and a test of this one that tries
    // again, because an image could not be built for the first, does not.
    LOCK.get_or_init(|| {
        let lock = File::create(store("lock")).unwrap();
        lock.lock().unwrap();
        lock
    });
    forget_another_boot();
    for left in [&["pod", "rm", "--all", "--force", "--time", "0"][..], &["rm", "--all", "--force", "--time", "0"]] {
        let done = podman(left).done();
        if !done.status.success() {
            return Err(done.stderr);
        }
    }
    podman(&["volume", "rm", "--all", "--force"]).done();

    fs::copy(programs::job(), store("context/my-job")).unwrap();
    build(MY_JOB, &container_file("my-job"), &store("context"), None);
    let done = podman(&["run", "--rm", "--network", "none", MY_JOB]).done();
    if !done.status.success() {
        return Err(done.stderr);
    }
    build(PAUSE, &container_file("pause"), &store("context"), None);

    let program = env::var("WRAPPER_IMAGE_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_wrapper").into());
    fs::copy(program, store("context/wrapper.static")).unwrap();
    let context = format!("build={}", store("context").display());
    build(WRAPPER, &last_stage_of_the_dockerfile(), &repository(""), Some(&context));
    let lines = format!("FROM {MY_JOB}\n{}", lines_of_the_readme());
    build(MY_JOB_WRAPPED, &lines, &store("context"), Some(&format!("wrapper=container-image://{WRAPPER}")));

    build(ENVOY, &container_file("envoy"), &envoy_with_its_libraries(), None);
    // Images that these replaced, and those that they were built from.
    ask(&["image", "prune", "--force"]);
    fs::remove_dir_all(store("context")).unwrap();
    Ok(())
}

/// Podman's state of running containers is valid for this boot of the machine only.
fn forget_another_boot() {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    if fs::read_to_string(store("boot")).is_ok_and(|last| last == boot) {
        return;
    }
    for path in ["run", "tmp"] {
        let _ = fs::remove_dir_all(store(path));
    }
    fs::write(store("boot"), boot).unwrap();
}

fn container_file(name: &str) -> String {
    fs::read_to_string(repository(&format!("tests/containers/{name}.Containerfile"))).unwrap()
}

/// From its last FROM on, with the stage that it copies from as another context.
fn last_stage_of_the_dockerfile() -> String {
    let dockerfile = fs::read_to_string(repository("Dockerfile")).unwrap();
    let start = dockerfile.rfind("\nFROM ").expect("a stage");
    dockerfile[start..].to_owned()
}

/// The lines that the README has for the Job's own Dockerfile.
fn lines_of_the_readme() -> String {
    let readme = fs::read_to_string(repository("README.md")).unwrap();
    let (_, rest) = readme.split_once("```dockerfile\n").expect("lines of a Dockerfile");
    rest.split_once("```").unwrap().0.to_owned()
}

#[track_caller]
fn build(tag: &str, lines: &str, context: &Path, other_context: Option<&str>) {
    let mut command = podman(&["build", "--quiet", "--pull=never", "--tag", tag, "--file"]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    command.arg(file.path());
    if let Some(other) = other_context {
        command.args(["--build-context", other]);
    }
    let done = command.with(&[context.to_str().unwrap()]).done();
    assert!(done.status.success(), "{tag} cannot be built from\n{lines}\n{}", done.stderr);
}

/// A folder with the Envoy that tests/run installs and all that the loader wants for it.
fn envoy_with_its_libraries() -> PathBuf {
    let binary = repository("target/test-tools/envoy/envoy/_bin/envoy");
    assert!(binary.exists(), "no Envoy; `tests/run` installs what the tests need");
    let folder = store("context/envoy");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::hard_link(&binary, folder.join("envoy")).unwrap();
    let libraries = Command::new("ldd").with(&[binary.to_str().unwrap()]).done().stdout;
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let copied = Command::new("cp").args(["--dereference", "--parents", library]).arg(&folder).status().unwrap();
        assert!(copied.success(), "{library}");
    }
    folder
}

/// A pod that runs, beside a real Envoy. It is removed with this value.
pub struct Pod {
    name: String,
    volumes: Vec<String>,
}

impl Pod {
    /// Starts a pod of these containers and volumes, and of what else is in a manifest's `spec`. A ConfigMap that it
    /// names is there, with the built `istio-quit.wasm`.
    #[track_caller]
    pub fn play(mut spec: Value) -> Self {
        static PODS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("pod{}", PODS.fetch_add(1, Ordering::Relaxed));
        // podman keeps volumes by these names, for all pods together.
        let own = |it: &mut Value| *it = format!("{name}-{}", it.as_str().unwrap()).into();
        for list in ["initContainers", "containers"] {
            for container in array(&mut spec, list) {
                array(container, "volumeMounts").iter_mut().for_each(|mount| own(&mut mount["name"]));
            }
        }
        let mut documents = Vec::new();
        let mut volumes = Vec::new();
        for volume in array(&mut spec, "volumes") {
            own(&mut volume["name"]);
            volumes.push(volume["name"].as_str().unwrap().to_owned());
            if let Some(map) = volume.get_mut("configMap") {
                own(&mut map["name"]);
                let map = map["name"].as_str().unwrap();
                volumes.push(map.to_owned());
                documents.push(config_map(map));
            }
        }
        array(&mut spec, "containers").push(json!({"name": SIDECAR, "image": ENVOY}));
        documents.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}));

        let mut file = tempfile::NamedTempFile::new().unwrap();
        for document in documents {
            writeln!(file, "---\n{document}").unwrap();
        }
        let pod = Self { name, volumes };
        ask(&["kube", "play", "--network", "none", file.path().to_str().unwrap()]);
        pod
    }

    fn container(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    fn state(&self, container: &str, field: &str) -> String {
        ask(&["inspect", "--format", &format!("{{{{.State.{field}}}}}"), &self.container(container)])
    }

    pub fn runs(&self, container: &str) -> bool {
        self.state(container, "Status") == "running"
    }

    /// The container's output so far, of both streams.
    pub fn log(&self, container: &str) -> String {
        let Done { stdout, stderr, .. } = podman(&["logs", &self.container(container)]).done();
        stdout + &stderr
    }

    #[track_caller]
    fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + HANGS;
        while !condition() {
            let logs = || ["my-job", SIDECAR].map(|container| self.log(container)).join("-- and the sidecar\n");
            assert!(Instant::now() < deadline, "never came: {what}; it says\n{}", logs());
            thread::sleep(ASK_AGAIN);
        }
    }

    #[track_caller]
    pub fn until_log_has(&self, container: &str, text: &str) {
        self.until(text, || self.log(container).contains(text));
    }

    /// Waits until a container has ended, and says with which code.
    #[track_caller]
    pub fn code(&self, container: &str) -> i32 {
        self.until(&format!("the end of {container}"), || {
            ["exited", "stopped"].contains(&self.state(container, "Status").as_str())
        });
        self.state(container, "ExitCode").parse().unwrap()
    }

    /// When a container ended, in nanoseconds since 1970.
    pub fn ended_at(&self, container: &str) -> u128 {
        self.state(container, "FinishedAt.UnixNano").parse().unwrap()
    }

    /// When the job was done by its own word, in the same unit.
    #[track_caller]
    pub fn job_done_at(&self, container: &str) -> u128 {
        let log = self.log(container);
        let said = log.lines().find_map(|line| line.strip_prefix("done "));
        said.unwrap_or_else(|| panic!("the job was never done: {log}")).parse().unwrap()
    }

    #[track_caller]
    pub fn until_envoy_is_ready(&self) {
        self.until("Envoy is ready", || self.envoy("GET", "/ready").contains("LIVE"));
    }

    /// Envoy's response within the running pod; nothing if the connection is refused.
    pub fn envoy(&self, method: &str, path: &str) -> String {
        let infra = ask(&["pod", "inspect", "--format", "{{.InfraContainerID}}", &self.name]);
        let network = format!("/proc/{}/ns/net", ask(&["inspect", "--format", "{{.State.Pid}}", &infra]));
        let exchange = || {
            setns(File::open(network).expect("the pod runs"), CloneFlags::CLONE_NEWNET).unwrap();
            let mut answer = String::new();
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", ENVOY_PORT)) {
                stream.set_read_timeout(Some(HANGS)).unwrap();
                let head = "Host: localhost\r\nContent-Length: 0\r\nConnection: close";
                let _ = write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n\r\n");
                let _ = stream.read_to_string(&mut answer);
            }
            answer
        };
        thread::scope(|threads| threads.spawn(exchange).join().unwrap())
    }

    /// Tells a container to stop as the kubelet does: SIGTERM, and SIGKILL when the grace period is over. It has ended
    /// then; says how long that took.
    #[track_caller]
    pub fn stop(&self, container: &str, grace: Duration) -> Duration {
        let start = Instant::now();
        ask(&["stop", "--time", &grace.as_secs().to_string(), &self.container(container)]);
        start.elapsed()
    }

    /// The same to all containers of the pod.
    #[track_caller]
    pub fn stop_all(&self, grace: Duration) -> Duration {
        let start = Instant::now();
        ask(&["pod", "stop", "--time", &grace.as_secs().to_string(), &self.name]);
        start.elapsed()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        podman(&["pod", "rm", "--force", "--time", "0", &self.name]).done();
        for volume in &self.volumes {
            podman(&["volume", "rm", "--force", volume]).done();
        }
    }
}

/// The list of this name in a manifest, empty where there is none.
fn array<'a>(value: &'a mut Value, name: &str) -> &'a mut Vec<Value> {
    let list = &mut value[name];
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().unwrap_or_else(|| panic!("not a list: {name}"))
}

/// A ConfigMap with the built hook.
fn config_map(name: &str) -> Value {
    let from = "--from-file=istio-quit.wasm=hooks/dist/istio-quit.wasm";
    let made = kubectl(&["create", "configmap", name, from, "--dry-run=client", "-o", "json"]).unwrap();
    serde_json::from_str(&made).unwrap()
}
