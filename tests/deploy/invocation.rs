//! Options, command and variables with which a container of a manifest runs wrapper.

use crate::harness::{
    manifests::{items, strings},
    wrapper,
};
use serde_json::Value;
use std::{mem, path::Path, process::Command};

#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// wrapper's path in the container.
    pub program: String,
    pub options: Vec<String>,
    pub command: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl Invocation {
    /// Reads a container whose command, or else the image's `ENTRYPOINT`, begins with wrapper.
    pub fn read(container: &Value, entrypoint: Option<Vec<String>>) -> Option<Self> {
        let mut options = strings(&container["command"]);
        if options.is_empty() {
            options = entrypoint.unwrap_or_default();
        }
        let program = options.first().filter(|word| word.ends_with("/wrapper"))?.clone();
        options.remove(0);
        let command = match options.iter().position(|word| word == "--") {
            Some(dashes) => options.split_off(dashes).split_off(1),
            None if options.first().is_some_and(|word| !word.starts_with('-')) => mem::take(&mut options),
            None => Vec::new(),
        };
        let command = [command, strings(&container["args"])].concat();
        let env = items(&container["env"]).iter().map(|variable| {
            let name = variable["name"].as_str().unwrap();
            (name.into(), variable["value"].as_str().unwrap_or("secret").into())
        });
        Some(Self { program, options, command, env: env.collect() })
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The names of its hooks as variables have them: `ISTIO_QUIT`.
    pub fn hooks(&self) -> Vec<String> {
        let listed = self.variable("WRAPPER_PLUGIN_PATH").into_iter().flat_map(|list| list.split(':'));
        let pairs =
            self.options.windows(2).filter(|pair| ["--before", "--after", "--after"].contains(&pair[0].as_str()));
        let hooks = listed.chain(pairs.map(|pair| pair[1].as_str()));
        hooks
            .map(|hook| {
                let name = hook.split_once('=').map_or(hook, |(name, _)| name);
                let name = Path::new(name).file_stem().unwrap().to_str().unwrap();
                name.to_uppercase().replace('-', "_")
            })
            .collect()
    }

    /// The same with this URL on loopback as what its gates wait for.
    pub fn waiting_for(&self, url: &str) -> Self {
        let mut waiting = self.clone();
        for (name, value) in &mut waiting.env {
            if name.ends_with("_FOR") {
                url.clone_into(value);
            } else if name.ends_with("_ALLOW") {
                value.push_str(",http://localhost:*");
            }
        }
        waiting
    }

    /// The same with the built wrapper, and this script in place of the program.
    pub fn with_script(&self, script: &str) -> Command {
        let mut run = wrapper();
        run.args(&self.options).args(["--", "sh", "-c", script]).args(&self.command);
        run.envs(self.env.iter().map(|(name, value)| (name, value)));
        run
    }
}
