//! What the process does that checks and compiles hooks.

mod mistaken;
pub mod share;
mod unsupported;
pub mod validate;
