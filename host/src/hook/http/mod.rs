//! A hook's HTTP: what it may reach, how it is reached, and what comes back.

mod connect;
mod files;
mod policy;
mod race;
mod resolv_conf;
mod resolve;
mod send;
mod special;
mod tls;

pub use connect::{Files, Means};
pub use policy::{Allow, Rule};
pub use send::Outbound;
