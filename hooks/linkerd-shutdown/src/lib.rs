//! `linkerd-shutdown`: asks Linkerd's proxy to shut down.
#![cfg_attr(target_family = "wasm", no_std)]

quit::hook!(quit::LINKERD);
