//! What wrapper promises, each promise a test on the built binary. A module is a subject.

// A test that fails says so by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod support;

mod addresses;
mod checking;
mod confinement;
mod context;
mod cpus;
mod deploy;
mod dist;
mod exit_codes;
mod files;
mod fixtures;
mod gates;
mod grants;
mod groups;
mod idle;
mod image;
mod install;
mod languages;
mod limits;
mod loading;
mod names_and_tls;
mod notifier;
mod options;
mod output;
mod peers;
mod pods;
mod policy;
mod predecessor;
mod pushgateway;
mod reaping;
mod scarce_processes;
mod scenarios;
mod sdk;
mod settings;
mod sidecars;
mod signals;
mod soak;
mod starting;
mod stdio;
mod stopping;
mod terminal;
mod termination;
mod throttled;
mod values;
mod walls;
