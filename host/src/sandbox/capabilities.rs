//! What root may do that others may not: a jailed process keeps nothing of it.

use super::Layer;
use crate::text::strerror;
use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
        set_capabilities,
    },
};

/// Takes all capabilities from this process, in every set.
pub fn drop_all() -> Layer {
    // First the limit for programs it might execute, which takes a capability itself. The kernel knows about 41 of 64.
    let numbers = (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number));
    for capability in numbers {
        if remove_capability_from_bounding_set(capability) == Err(Errno::INVAL) {
            break;
        }
    }
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    match set_capabilities(None, none).and_then(|()| capabilities(None)) {
        Ok(left) if left == none => Ok("no capabilities"),
        Ok(_) => Err("dropping of capabilities".into()),
        Err(error) => Err(format!("dropping of capabilities ({})", strerror(error))),
    }
}
