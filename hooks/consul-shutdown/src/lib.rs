//! `consul-shutdown`: asks Consul's dataplane to shut down.
#![cfg_attr(target_family = "wasm", no_std)]

quit::hook!(quit::CONSUL);
