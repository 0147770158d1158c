//! The receiver of the OpenTelemetry Collector, tests/collector.

use super::{Run, Running, eventually, repository, skipped};
use serde_json::Value;
use std::process::Command;

/// A collector that listens. It is killed with the value.
pub struct Collector {
    run: Running,
    address: String,
}

impl Collector {
    /// One that accepts everything; none if there is none here.
    pub fn start() -> Option<Self> {
        Self::refusing(0)
    }

    /// One that refuses this many requests first, as it does while it is overloaded.
    pub fn refusing(requests: u32) -> Option<Self> {
        let binary = repository("target/test-tools/collector");
        if !binary.exists() {
            skipped("there is no OpenTelemetry collector; `tests/run tools` builds it with Go");
            return None;
        }
        let mut run = Command::new(binary);
        run.arg(requests.to_string());
        let mut run = run.running();
        run.until_stdout_has("\n");
        let address = run.stdout_so_far().lines().next().unwrap().to_owned();
        Some(Self { run, address })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has accepted, once it is so many requests: each as the collector passes it on, in JSON.
    #[track_caller]
    pub fn accepted(&self, count: usize) -> Vec<Value> {
        let lines = || -> Vec<_> { self.run.stdout_so_far().lines().skip(1).map(String::from).collect() };
        eventually("the collector has accepted them", || lines().len() >= count);
        let accepted = lines();
        assert_eq!(accepted.len(), count, "{accepted:#?}");
        accepted.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
