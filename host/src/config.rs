//! Supervisor: the settings of a run, as data. `cli` fills them in, and `main` passes them on.

use crate::{
    hook::{Common, Listed},
    log,
};
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// All settings of a run, checked.
#[derive(Debug)]
pub struct Config {
    pub command: Vec<OsString>,
    pub before: Vec<Listed>,
    pub after: Vec<Listed>,
    /// Settings for all of them.
    pub hooks: Common,
    pub hook_failure_counts: bool,
    pub stop_timeout: Option<Duration>,
    pub kill_group: bool,
    /// The file that the kubelet reads a container's termination message from.
    pub termination_log: Option<PathBuf>,
    pub log: log::Settings,
}
