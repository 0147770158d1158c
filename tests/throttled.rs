//! A container with a hundredth of a processor. Only the release is fast enough to be of use there, so these promises
//! are held by the program that `WRAPPER_IMAGE_BINARY` names.

use crate::support::{Run, assert_took, peer::Peer, skipped};
use std::{env, fs, path::Path, process::Command};

/// A processor cgroup of the test's own.
struct Processor(std::path::PathBuf);

impl Processor {
    /// Of each tenth of a second that many microseconds.
    fn limited_to(microseconds: u32) -> Option<Self> {
        let name = format!("wrapper-test-throttled-{}", std::process::id());
        let first = Path::new("/sys/fs/cgroup/cpu");
        let (group, file, limit) = match first.exists() {
            true => (first.join(name), "cpu.cfs_quota_us", microseconds.to_string()),
            false => (Path::new("/sys/fs/cgroup").join(name), "cpu.max", format!("{microseconds} 100000")),
        };
        fs::create_dir(&group).ok()?;
        let made = Self(group);
        fs::write(made.0.join(file), limit).ok()?;
        Some(made)
    }

    /// Has the command's process join it first.
    fn holding(&self, run: Command) -> Command {
        let processes = self.0.join("cgroup.procs");
        run.first(move || fs::write(&processes, "0"))
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn with_a_hundredth_of_a_processor_hooks_do_their_work_within_their_time() {
    let Ok(program) = env::var("WRAPPER_IMAGE_BINARY") else { return };
    let Some(processor) = Processor::limited_to(1000) else {
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
