//! CPUs whose system calls `cpu.rs` does not know.

use super::Layer;

/// Whether it can judge what is mapped.
pub const SEES_MAPPINGS: bool = false;

#[derive(Clone, Copy)]
pub enum Role<'a> {
    Compiler {
        #[expect(dead_code, reason = "there is no filter to put it into")]
        reports: &'a [i32],
    },
    Runner {
        #[expect(dead_code, reason = "there is no filter to put it into")]
        lookups: bool,
    },
}

pub fn seccomp(_: Role<'_>) -> Layer {
    Err("seccomp (no filter for this CPU)".into())
}

pub fn seal() -> Result<(), String> {
    Err("no filter for this CPU".into())
}
