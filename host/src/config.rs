//! Supervisor: the settings of a run, as data. `cli` fills them in, and `main` passes them on.

use crate::{
    hook::{Common, Listed},
    log, witness,
};
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// All settings of a run, checked.
#[derive(Debug)]
pub struct Config {
    /// With none this is the witness of other containers.
    pub command: Vec<OsString>,
    pub before: Vec<Listed>,
    pub after: Vec<Listed>,
    /// Settings that hold for all hooks.
    pub common: Common,
    pub hook_failure_counts: bool,
    pub stop_timeout: Option<Duration>,
    pub kill_group: bool,
    /// The file that the kubelet reads a container's termination message from.
    pub termination_log: Option<PathBuf>,
    pub witness: Option<witness::Settings>,
    pub log: log::Settings,
}
