//! A rule and a URL, one a line. Whatever they are: a target that is denied is written as a rule that would allow it,
//! and what the default admits is this pod's loopback.
#![no_main]

#[path = "../../host/src/hook/allow_list.rs"]
#[allow(dead_code)]
mod allow_list;

#[path = "../../host/src/hook/address.rs"]
#[allow(dead_code)]
mod address;

use allow_list::{Allow, Host, Rule, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (rule, url) = text.split_once('\n').unwrap_or((text, ""));
    let rules: Vec<Rule> = rule.parse().into_iter().collect();
    let Some(target) = url.parse().ok().and_then(|uri| Target::of(&uri).ok()) else { return };

    let written: Rule = target.to_string().parse().expect("a target is a rule");
    assert!(Allow::new(vec![written]).admits(&target), "{target}");

    let default = Allow::new(vec!["http://localhost:*".parse().unwrap()]);
    if default.admits(&target) {
        assert!(match &target.host {
            Host::Localhost => true,
            Host::Ip(ip) => ip.is_loopback(),
            Host::Name(_) => false,
        });
    }

    let allow = Allow::new(rules);
    if let (true, Host::Ip(ip)) = (allow.admits(&target), &target.host) {
        assert!(allow.admits_address(&target, *ip), "{target}");
    }
});
