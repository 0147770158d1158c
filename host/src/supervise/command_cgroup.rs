//! Supervisor: a cgroup of the command's own (cgroups(7), version 2), on request and where one can be made.
//!
//! ```text
//!   container's cgroup      memory.max (not ours); memory.oom.group 0; no processes, so that it may delegate `memory`
//!   ├── wrapper-PID         wrapper, its helpers, and whatever else was in the container's cgroup
//!   └── command-PID         the command and its descendants; memory.oom.group as the container had it;
//!                           with a reserve memory.max: the container's, less the reserve
//! ```
//!
//! When the container is out of memory, the kernel looks from the process that it has chosen upwards for a cgroup that
//! is killed as a whole. It finds the command's, and wrapper's is none. The reserve is for memory that no
//! kill gives back: files of a tmpfs stay charged to the cgroup of the process that wrote them.

use crate::{
    cgroup::{self, MOUNTED},
    log,
    outcome::{CpuTime, Usage},
    text::strerror,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use bytesize::ByteSize;
use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags, open, statfs},
    io::{self, Errno},
    process::{Pid, getpid},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Type of the file system of cgroups of version 2 (statfs(2)). With those of version 1 there is a tmpfs in its place.
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;

/// Attempts to empty a cgroup in which processes are created meanwhile.
const ATTEMPTS: usize = 100;

/// Interval of comparing the container's limit with the command's: Kubernetes can resize a container in place, and no
/// event says so.
const RESIZE_POLL: Duration = Duration::from_secs(10);

/// The command's cgroup. Dropping it restores what was there before, except for a cgroup that still has processes.
pub struct CommandCgroup {
    folder: PathBuf,
    wrappers: PathBuf,
    container: PathBuf,
    /// To enter it.
    processes: OwnedFd,
    reserve: u64,
    /// Its own limit, and when to compare it with the container's.
    limit: Option<u64>,
    resize_at: Option<Instant>,
    /// Whether `memory` was delegated here, and whether memory.oom.group was set.
    delegated: bool,
    was_group: bool,
}

impl CommandCgroup {
    /// Makes it, and moves all processes of the container's cgroup beside it. It may use so much less memory than the
    /// container.
    pub fn create(reserve: u64) -> Result<Self> {
        let container = own()?;
        let controllers = read(&container.join("cgroup.controllers"))?;
        ensure!(lists(&controllers, "memory"), "{} has no memory controller", container.display());
        // The PID, because a wrapper that was killed, or one that runs at the same time, has cgroups there, too.
        let [wrappers, folder] = ["wrapper", "command"].map(|name| container.join(format!("{name}-{}", getpid())));
        let file = folder.join("cgroup.procs");
        let opened = make(&wrappers).and_then(|()| make(&folder)).and_then(|()| {
            open(&file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| failed("open", &file, errno))
        });
        let processes = match opened {
            Ok(processes) => processes,
            Err(error) => {
                remove(&folder);
                remove(&wrappers);
                return Err(error);
            }
        };
        let mut cgroup = Self {
            folder,
            wrappers,
            container,
            processes,
            reserve,
            limit: None,
            resize_at: None,
            delegated: false,
            was_group: false,
        };
        if let Err(error) = cgroup.prepare() {
            cgroup.restore();
            return Err(error);
        }
        Ok(cgroup)
    }

    fn prepare(&mut self) -> Result<()> {
        self.delegate_memory()?;
        let group = self.container.join("memory.oom.group");
        self.was_group = is_group(&self.container);
        // The command is killed as the container would have been.
        write(&self.folder.join("memory.oom.group"), if self.was_group { "1" } else { "0" })?;
        let ungrouped = if self.was_group { write(&group, "0") } else { Ok(()) };
        self.was_group &= ungrouped.is_ok();
        if self.reserve > 0 {
            self.follow_limit();
        }
        let outside = self.container.ancestors().skip(1).take_while(|folder| folder.starts_with(MOUNTED));
        let spared = match ungrouped {
            Ok(()) => match outside.into_iter().find(|folder| is_group(folder)) {
                Some(folder) => Err(anyhow!("{} has memory.oom.group set", folder.display())),
                None => Ok(()),
            },
            Err(error) => Err(error),
        };
        self.log_means(spared);
        Ok(())
    }

    /// Says whom the OOM killer ends, and by which limit.
    fn log_means(&self, spared: Result<()>) {
        let folder = self.folder.display();
        let limited = |limit: u64| format!("the command has the cgroup {folder}, limited to {}", ByteSize(limit));
        match (spared, self.limit) {
            (Ok(()), None) => {
                log::debug(|| format!("the OOM killer spares wrapper: the command has the cgroup {folder}"));
            }
            (Ok(()), Some(limit)) => log::debug(|| format!("the OOM killer spares wrapper: {}", limited(limit))),
            (Err(error), Some(limit)) => log::debug(|| {
                let limited = limited(limit);
                format!(
                    "the OOM killer spares wrapper unless the container reaches its own limit: {limited}; {error:#}"
                )
            }),
            (Err(error), None) => {
                log::warn(format!("the OOM killer can kill wrapper together with the command: {error:#}"));
            }
        }
    }

    /// Has the cgroups inside count and limit memory, for which the container's may have no processes itself.
    fn delegate_memory(&mut self) -> Result<()> {
        let file = self.container.join("cgroup.subtree_control");
        if lists(&read(&file)?, "memory") {
            return self.join_wrappers();
        }
        for _ in 0..ATTEMPTS {
            self.join_wrappers()?;
            match write_now(&file, "+memory") {
                // A process was created meanwhile.
                Err(Errno::BUSY) => {}
                Err(errno) => return Err(failed("write", &file, errno)),
                Ok(()) => {
                    self.delegated = true;
                    return Ok(());
                }
            }
        }
        bail!("{} has processes that wrapper cannot move", self.container.display())
    }

    /// Moves what is in the container's cgroup, wrapper above all.
    fn join_wrappers(&self) -> Result<()> {
        let file = self.wrappers.join("cgroup.procs");
        write(&file, &getpid().to_string())?;
        move_all(&self.container, &file);
        Ok(())
    }

    /// Has the calling process, which is about to become the command, enter it: one system call.
    pub fn enter(&self) -> Result<(), Errno> {
        io::write(&self.processes, b"0").map(drop)
    }

    /// When to call `follow_limit` next, if ever.
    pub fn resize_at(&self) -> Option<Instant> {
        self.resize_at
    }

    /// Sets the limit by the container's as it is now. Once it cannot, it is not tried again.
    pub fn follow_limit(&mut self) {
        self.resize_at = None;
        let limits = self.container.ancestors().take_while(|folder| folder.starts_with(MOUNTED));
        // The file says `max` where there is no limit.
        let limits = limits.filter_map(|folder| read(&folder.join("memory.max")).ok()?.trim().parse::<u64>().ok());
        let container = limits.min();
        let limit = match container.map(|container| container.checked_sub(self.reserve)) {
            Some(None | Some(0)) => {
                let container = ByteSize(container.unwrap_or_default());
                return log::warn(format!("the container has {container} of memory, no more than --memory-reserve"));
            }
            limit => limit.flatten(),
        };
        if limit != self.limit {
            let text = limit.map_or("max".into(), |limit| limit.to_string());
            if let Err(error) = write(&self.folder.join("memory.max"), &text) {
                return log::warn(format!("nothing is reserved of the container's memory: {error:#}"));
            }
            self.limit = limit;
        }
        self.resize_at = Instant::now().checked_add(RESIZE_POLL);
    }

    /// Kills all processes in it at once, so that none of them can start another one meanwhile. Since Linux 5.14.
    pub fn kill(&self) {
        let _ = write_now(&self.folder.join("cgroup.kill"), "1");
    }

    /// Processes in it that the OOM killer has ended.
    pub fn oom_kills(&self) -> u64 {
        cgroup::oom_kills_in(&self.folder).unwrap_or(0)
    }

    /// What all processes in it have used. Its memory has the page cache in it, and is counted since Linux 5.19.
    pub fn usage(&self) -> Usage {
        let number = |file, key| cgroup::number(&self.folder, file, key);
        let time = |key| number("cpu.stat", key).map(Duration::from_micros);
        let cpu_time = time("user_usec ").zip(time("system_usec ")).map(|(user, system)| CpuTime { user, system });
        Usage { peak_memory: number("memory.peak", ""), cpu_time }
    }

    /// Removes the cgroups and moves the processes back, as far as that is possible.
    fn restore(&self) {
        remove(&self.folder);
        let siblings = fs::read_dir(&self.container).into_iter().flatten().flatten();
        let siblings = siblings.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        // Others need what it delegates: another wrapper's command, or what this one's command has left behind.
        if siblings.map(|entry| entry.path()).any(|folder| folder != self.wrappers) {
            return;
        }
        if self.delegated {
            let _ = write_now(&self.container.join("cgroup.subtree_control"), "-memory");
        }
        if self.was_group {
            let _ = write_now(&self.container.join("memory.oom.group"), "1");
        }
        move_all(&self.wrappers, &self.container.join("cgroup.procs"));
        remove(&self.wrappers);
    }
}

impl Drop for CommandCgroup {
    fn drop(&mut self) {
        // With PID 1 the container ends, and its runtime removes its cgroups. To move a process takes some ms.
        if getpid() != Pid::INIT {
            self.restore();
        }
    }
}

/// The cgroup that wrapper was started in: in a container usually the one that is mounted.
fn own() -> Result<PathBuf> {
    let kind = statfs(MOUNTED).map_err(|errno| failed("open", MOUNTED.as_ref(), errno))?.f_type;
    ensure!(u64::try_from(kind) == Ok(CGROUP2_SUPER_MAGIC), "{MOUNTED} is not cgroup v2");
    let listed = read("/proc/self/cgroup".as_ref())?;
    let path = listed.lines().find_map(|line| line.strip_prefix("0::/")).context("wrapper has no cgroup")?;
    // Where the container shares the host's cgroup namespace, the path is not always one that is mounted.
    let folders = [Path::new(MOUNTED).join(path), MOUNTED.into()];
    let is_own = |folder: &PathBuf| processes_in(folder).contains(&getpid());
    let folder = folders.into_iter().find(is_own).context("wrapper's cgroup is not mounted")?;
    // It has no limits and is no container's.
    ensure!(folder.join("cgroup.events").exists(), "wrapper is in the root cgroup");
    Ok(folder)
}

/// The processes in a cgroup that this process can see, without those in the cgroups inside.
fn processes_in(folder: &Path) -> Vec<Pid> {
    let listed = read(&folder.join("cgroup.procs")).unwrap_or_default();
    // Those of other PID namespaces have the number 0.
    listed.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
}

/// Moves the processes of a cgroup to where this file is. One that has ended meanwhile needs no move.
fn move_all(from: &Path, to: &Path) {
    for process in processes_in(from) {
        let _ = write_now(to, &process.to_string());
    }
}

fn is_group(folder: &Path) -> bool {
    read(&folder.join("memory.oom.group")).is_ok_and(|text| text.trim() == "1")
}

fn lists(text: &str, controller: &str) -> bool {
    text.split_whitespace().any(|listed| listed == controller)
}

/// Makes a cgroup. A wrapper that was killed may have left one with that name, with counters that cannot be reset.
fn make(folder: &Path) -> Result<()> {
    remove(folder);
    fs::create_dir(folder).map_err(|error| failed("create", folder, error))
}

fn remove(folder: &Path) {
    let _ = fs::remove_dir(folder);
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).map_err(|error| failed("read", file, error))
}

fn write(file: &Path, text: &str) -> Result<()> {
    write_now(file, text).map_err(|errno| failed("write", file, errno))
}

/// Not `fs::write`, which would create a missing file, and fail with a misleading error.
fn write_now(file: &Path, text: &str) -> Result<(), Errno> {
    let file = open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    io::write(&file, text.as_bytes()).map(drop)
}

fn failed(verb: &str, file: &Path, error: impl Into<std::io::Error>) -> anyhow::Error {
    anyhow!("cannot {verb} {}: {}", file.display(), strerror(error))
}
