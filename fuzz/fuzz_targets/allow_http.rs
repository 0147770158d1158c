//! A rule and a URL, one a line, of a request or a probe. Whatever they are: an origin that is denied is written as a
//! rule that would allow it, and what the default allows is this pod's loopback.
#![no_main]

#[path = "../../host/src/hook/allow_list.rs"]
#[allow(dead_code)]
mod allow_list;

#[path = "../../host/src/hook/address.rs"]
#[allow(dead_code)]
mod address;

#[path = "../../host/src/hook/target.rs"]
#[allow(dead_code)]
mod target;

use allow_list::{AllowList, Host, Origin, Rule};
use libfuzzer_sys::fuzz_target;
use target::Target;

fuzz_target!(|text: &str| {
    let (rule, url) = text.split_once('\n').unwrap_or((text, ""));
    let rules: Vec<Rule> = rule.parse().into_iter().collect();
    let request = url.parse().ok().and_then(|uri| Origin::of(&uri).ok());
    let Some(origin) = request.or(url.parse::<Target>().ok().map(|target| target.origin)) else { return };

    let written: Rule = origin.to_string().parse().expect("an origin is a rule");
    assert!(AllowList::new(vec![written]).allows(&origin), "{origin}");

    let default = AllowList::new(vec!["http://localhost:*".parse().unwrap()]);
    if default.allows(&origin) {
        assert!(match &origin.host {
            Host::Localhost => true,
            Host::Ip(ip) => ip.is_loopback(),
            Host::Name(_) => false,
        });
    }

    let allow = AllowList::new(rules);
    if let (true, Host::Ip(ip)) = (allow.allows(&origin), &origin.host) {
        assert!(allow.allows_address(&origin, *ip), "{origin}");
    }
});
