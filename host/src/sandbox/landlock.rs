//! Compiler and runner: Landlock: no file can be opened, no port be listened on, and TCP goes to the allowed ports
//! only.

use super::Layer;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};

/// The latest of Landlock's versions that is asked for; older kernels give what they have.
const LATEST: ABI = ABI::V6;

/// With no ports given, TCP goes to any.
pub fn landlock(ports: Option<&[u16]>) -> Layer {
    let restrict = || -> Result<RulesetStatus, RulesetError> {
        let net = match ports {
            Some(_) => AccessNet::BindTcp | AccessNet::ConnectTcp,
            None => AccessNet::BindTcp.into(),
        };
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LATEST))?
            .handle_access(net)?
            .scope(Scope::AbstractUnixSocket | Scope::Signal)?
            .create()?;
        let rules = ports.unwrap_or_default().iter().map(|port| NetPort::new(*port, AccessNet::ConnectTcp));
        let rules = rules.map(Ok::<_, RulesetError>);
        Ok(ruleset.add_rules(rules)?.restrict_self()?.ruleset)
    };
    match restrict() {
        Ok(RulesetStatus::FullyEnforced) => Ok("landlock"),
        Ok(RulesetStatus::PartiallyEnforced) => Ok("landlock (partial on this kernel)"),
        Ok(RulesetStatus::NotEnforced) => Err("landlock (not in this kernel)".into()),
        Err(error) => Err(format!("landlock ({error})")),
    }
}
