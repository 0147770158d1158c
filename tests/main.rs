//! Promises of wrapper, each a test on the built binary: one folder per area, one module per subject.

// A test that fails says so by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

/// Running the command.
mod supervisor {
    mod command_cgroup; // --memory-reserve where the command can have no cgroup of its own
    mod exit_codes; // wrapper exits as the command did, whatever the hooks do
    mod groups; // the command has a process group of its own
    mod idle; // one thread and no wake-ups while the command runs
    mod leftovers; // --leftovers: processes that outlive the command are waited for, or ended
    mod oom; // where it may, wrapper has the OOM killer spare it, and never the command
    mod reaping; // orphans are reaped and do not delay the exit
    mod rewriting; // --rewrite-signal
    mod scarce_processes; // a failed fork is retried within the hook's time
    mod signals; // signals are forwarded as they are, and the inherited signal state is restored
    mod soak; // all of it at once, hundreds of times, with random signals
    mod start; // the command is found and executed, or one line says why not
    mod stdio; // the command has wrapper's standard streams, in whatever state they are
    mod stopping; // SIGTERM, --stop-timeout and --kill-group
    mod terminal; // Ctrl-C, job control and reading from a terminal work as without wrapper
    mod time_limit; // --timeout, and the warning of --grace-period
}

/// Options, variables and the other things that the program does itself.
mod cli {
    mod errors; // docs/errors.md quotes the program, and has all that it can say at the start
    mod install; // --install copies the binary atomically
    mod options; // options before the command, variables as defaults, errors before anything starts
    mod questions; // --check, --inspect and --list-hooks answer and run nothing
    mod reference; // the pages describe the options and hooks that there are
    mod termination_message; // --termination-log writes one line for `kubectl describe pod`
    mod values; // durations, sizes and flags are the same in options and in settings of hooks
}

/// Loading and running hooks, and the context that they get.
mod hooks {
    mod checking; // each hook is validated in a process and a time of its own
    mod context; // the context, typed and as variables
    mod cpus; // the same hook does the same on every CPU
    mod descriptions; // what a hook says about its settings is checked before the command starts
    mod dist; // hooks/dist is what the sources make
    mod files; // hook files of any size and owner, which change while they are read
    mod fixtures; // a hook built for 0.1 runs unchanged
    mod languages; // the hooks of hooks/examples
    mod loading; // what cannot be a hook is rejected before the command starts
    mod output; // what hooks print and log, and how their failures are reported
    mod schedule; // which hooks run when, under which name, and when they are compiled
    mod sdk; // the documentation's hook, outside of this workspace
    mod settings; // HOOK_<NAME>_…: what holds for one hook only
    mod throttled; // hooks finish on a hundredth of a CPU
}

/// A witness: a wrapper that runs the hooks of containers that are killed.
mod witness {
    mod hostile; // what any process of the pod can send to a witness
    mod killed; // a killed wrapper's hooks are run once, and none of one that ends by itself
    mod last; // HOOK_<NAME>_ON_LAST: of several containers the last one runs the hook
}

/// Limits of what a hook can do and cost.
mod sandbox {
    mod imports; // files, sockets, processes and other hosts are denied
    mod limits; // time, memory and log output are bounded
    mod restricted_container; // hooks run without a user, files, capabilities or much memory
    mod syscalls; // the operating system's layer holds even without WebAssembly
}

/// Connections of hooks.
mod http {
    mod addresses; // several addresses of a host, some of them dead
    mod name_servers; // several of them, some of which fail
    mod names_and_tls; // DNS, which addresses are allowed, and certificates
    mod peers; // servers that hang, drip, flood, reset and lie
}

/// The built-in hooks.
mod builtin {
    mod http; // http: notifications
    mod otlp; // otlp: a span and metrics, and --trace-context
    mod pushgateway; // pushgateway: metrics
    mod quit; // …-quit and …-shutdown: a sidecar is asked to quit
    mod ready; // …-ready: the command starts when the sidecar is ready
    mod sidecars; // sidecars: all known sidecars are asked at once
    mod targets; // ready: the command starts when all that it needs is there
}

/// Manifests, images and pods.
mod deploy {
    mod exit_codes; // what failure policies and restart rules make of the exit codes
    mod image; // the image that the Dockerfile builds
    mod injection; // what the kustomize component and the admission policies make of a Job
    mod invocation;
    mod manifests; // every manifest is valid for Kubernetes
    mod migration; // the manifests of deploy/migration.md work as the page says
    mod monitoring; // the manifests that send to a collector, a Pushgateway and an Alertmanager, with real ones
    mod pods; // pods with a real sidecar complete
    mod settings; // what the manifests set is accepted by wrapper
    mod wrapper4; // what Wrapper4 got wrong
}

/// Tools for the tests: running the binary, guests, peers, pods.
mod harness;
