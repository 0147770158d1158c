//! What wrapper promises, each promise a test on the built binary. A module is a subject.

// A test that fails says so by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod support;

mod context;
mod dist;
mod exit_codes;
mod istio_quit;
mod loading;
mod options;
mod output;
mod sdk;
