//! `cloudsql-quit`: asks the Cloud SQL or AlloyDB Auth Proxy to quit.
#![cfg_attr(target_family = "wasm", no_std)]

quit::hook!(quit::CLOUD_SQL);
