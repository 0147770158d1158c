//! A container with a hundredth of a CPU. Only a release build is fast enough for it, so this runs only with the one
//! that `WRAPPER_IMAGE_BINARY` names.

use crate::harness::{Run, assert_took, cgroup::Cgroup, peer::Peer, skipped};
use std::{env, process::Command};

#[test]
fn with_a_hundredth_of_a_processor_hooks_do_their_work_within_their_time() {
    let Ok(program) = env::var("WRAPPER_IMAGE_BINARY") else { return };
    let Some(processor) = Cgroup::limited("throttled", "cpu", ("cpu.cfs_quota_us", "1000"), ("cpu.max", "1000 100000"))
    else {
        return skipped("no processor cgroup may be made here");
    };
    let (server, sidecar) = (Peer::with_status(200), Peer::with_status(200));
    let mut run = Command::new(program).with(&["--plugin", "http", "--plugin", "istio-quit", "--", "true"]);
    run.env_clear().env("PATH", "/usr/bin:/bin").env("HOOK_HTTP_URL", server.url("/"));
    run.env("HOOK_ISTIO_QUIT_URL", sidecar.url("/quitquitquit"));
    let done = processor.holding(run).done();
    assert_eq!(done.code(), 0, "{done:?}");
    assert_eq!((server.requests().len(), sidecar.requests().len()), (1, 1), "{done:?}");
    assert!(!done.stderr.contains("timed"), "{done:?}");
    assert_took(&done, 0.1, 25.0);
}
