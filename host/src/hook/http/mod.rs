//! A hook's HTTP: what it may reach, how it is reached, and what comes back.

mod connect;
mod policy;
mod send;

pub use policy::{Allow, Rule};
pub use send::Outbound;
