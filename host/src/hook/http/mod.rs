//! A hook's HTTP: what it may reach, how it is reached, and what comes back.

mod connect;
mod policy;
mod race;
mod resolve;
mod send;
mod special;
mod tls;

pub use connect::Means;
pub use policy::{Allow, Rule};
pub use send::Outbound;
