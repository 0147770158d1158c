//! `envoy-quit`: asks an Envoy to quit, through its admin interface.
#![cfg_attr(target_family = "wasm", no_std)]

quit::hook!(quit::ENVOY);
