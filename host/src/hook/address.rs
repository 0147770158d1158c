//! Compiler and runner: special-purpose addresses, which a name does not allow. Whoever controls a name decides what it
//! resolves to, and must not reach this pod's loopback, its link, a cloud's metadata service, or anything else that is
//! not an ordinary destination.
//!
//! Private ranges (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7) and the shared one (100.64.0.0/10) are ordinary
//! here: services and pods of a cluster have such addresses, and only their names are known beforehand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses: its first one, the length of its prefix, and what it is for.
type Block<Address> = (Address, u32, &'static str);

/// IANA's registry of special-purpose IPv4 addresses (RFC 6890 and its updates) without the private and shared ranges,
/// multicast, and what clouds put elsewhere.
const V4: &[Block<Ipv4Addr>] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(100, 100, 100, 200), 32, CLOUD), // Alibaba Cloud
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, CLOUD), // Azure
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "AS112"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "multicast tunnels"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relays"),
    (Ipv4Addr::new(192, 175, 48, 0), 24, "AS112"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// Istio's DNS proxy answers with addresses of this block for services outside the mesh that have none of their own;
/// only the sidecar knows where they go.
const ISTIO: Block<Ipv4Addr> = (Ipv4Addr::new(240, 240, 0, 0), 16, "");

/// IANA's registry of special-purpose IPv6 addresses without the private range, what IANA has not assigned
/// (RFC 4291: of all addresses those of 2000::/3 are), and what clouds put into the private range. The first block
/// with an address names it.
const V6: &[Block<Ipv6Addr>] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 0]), 128, "unspecified"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1]), 128, "loopback"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0]), 96, "IPv4-compatible"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0]), 48, "translation"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0]), 64, "discard"),
    (v6([0x100, 0, 0, 1, 0, 0, 0, 0]), 64, "dummy"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0]), 3, UNASSIGNED),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0]), 32, "Teredo"),
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0]), 48, "benchmarks"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0]), 23, "protocol assignments"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]), 32, "documentation"),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0]), 16, "6to4"),
    (v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0]), 48, "AS112"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0]), 20, "documentation"),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0]), 16, "segment routing"),
    (v6([0x4000, 0, 0, 0, 0, 0, 0, 0]), 2, UNASSIGNED),
    (v6([0x8000, 0, 0, 0, 0, 0, 0, 0]), 2, UNASSIGNED),
    (v6([0xc000, 0, 0, 0, 0, 0, 0, 0]), 3, UNASSIGNED),
    (v6([0xe000, 0, 0, 0, 0, 0, 0, 0]), 4, UNASSIGNED),
    (v6([0xf000, 0, 0, 0, 0, 0, 0, 0]), 5, UNASSIGNED),
    (v6([0xf800, 0, 0, 0, 0, 0, 0, 0]), 6, UNASSIGNED),
    (v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]), 128, CLOUD), // Scaleway
    (v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]), 128, CLOUD), // Oracle
    (v6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200]), 128, CLOUD), // Alibaba Cloud
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0]), 32, CLOUD),    // Amazon: ::254, and the credentials of EKS at ::23
    (v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 0]), 64, CLOUD), // Akamai, OpenStack
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]), 128, CLOUD), // Google
    (v6([0xfe00, 0, 0, 0, 0, 0, 0, 0]), 9, UNASSIGNED),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0]), 10, "link-local"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0]), 10, "site-local"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0]), 8, "multicast"),
];

const CLOUD: &str = "cloud metadata";
const UNASSIGNED: &str = "unassigned";

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8]) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, e, f, g, h)
}

/// Purpose of an address that is no ordinary destination.
pub fn special_purpose(address: IpAddr) -> Option<&'static str> {
    match embedded_ipv4(address) {
        IpAddr::V4(ip) if is_in(ip, ISTIO) => None,
        IpAddr::V4(ip) => V4.iter().find(|block| is_in(ip, **block)).map(|(.., special_purpose)| *special_purpose),
        IpAddr::V6(ip) => V6.iter().find(|block| is_in(ip, **block)).map(|(.., special_purpose)| *special_purpose),
    }
}

fn is_in<Address: Into<IpAddr>>(address: Address, (first, length, _): Block<Address>) -> bool {
    // Of an IPv4 address the upper bits, as of an IPv6 one.
    let bits = |address: Address| match address.into() {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => u128::from(ip),
    };
    (bits(address) ^ bits(first)).leading_zeros() >= length
}

/// An IPv4 address that was written as an IPv6 one is that IPv4 address: mapped (`::ffff:10.0.0.1`), or for
/// translation on the way, with the well-known prefix (`64:ff9b::10.0.0.1`, RFC 6052) or the one that a
/// network has for itself (`64:ff9b:1::10.0.0.1`, RFC 8215). Such a network may also put the address elsewhere behind
/// its prefix; where that cannot be known, [`special_purpose`] refuses.
pub fn embedded_ipv4(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0 | 1, 0, 0, 0, high, low] => {
                let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
                Ipv4Addr::new(a, b, c, d).into()
            }
            _ => ip.to_canonical(),
        },
        IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_special(address: &str) -> bool {
        special_purpose(address.parse().unwrap()).is_some()
    }

    /// First and last address of each range of both registries, of multicast, and of what clouds use; and whether
    /// what lies before and behind is special as well, because another range is there.
    const RANGES: &[(&str, &str, bool, bool)] = &[
        ("0.0.0.0", "0.255.255.255", false, false),
        ("100.100.100.200", "100.100.100.200", false, false),
        ("127.0.0.0", "127.255.255.255", false, false),
        ("168.63.129.16", "168.63.129.16", false, false),
        ("169.254.0.0", "169.254.255.255", false, false),
        ("192.0.0.0", "192.0.0.255", false, false),
        ("192.0.2.0", "192.0.2.255", false, false),
        ("192.31.196.0", "192.31.196.255", false, false),
        ("192.52.193.0", "192.52.193.255", false, false),
        ("192.88.99.0", "192.88.99.255", false, false),
        ("192.175.48.0", "192.175.48.255", false, false),
        ("198.18.0.0", "198.19.255.255", false, false),
        ("198.51.100.0", "198.51.100.255", false, false),
        ("203.0.113.0", "203.0.113.255", false, false),
        ("224.0.0.0", "239.255.255.255", false, true),
        ("240.0.0.0", "240.239.255.255", true, false),
        ("240.241.0.0", "255.255.255.255", false, false),
        ("::", "::", true, true),
        ("::1", "::1", true, true),
        ("::", "::ffff:ffff", true, true),
        ("::ffff:0:0:0", "::ffff:0:ffff:ffff", true, true),
        ("::ffff:7f00:0", "::ffff:7fff:ffff", false, false),
        ("64:ff9b::7f00:0", "64:ff9b::7fff:ffff", false, false),
        ("64:ff9b:1::7f00:0", "64:ff9b:1::7fff:ffff", false, false),
        ("64:ff9b:1::1:0:0", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", true, true),
        ("100::", "100::ffff:ffff:ffff:ffff", true, true),
        ("100:0:0:1::", "100::1:ffff:ffff:ffff:ffff", true, true),
        ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", false, true),
        ("2001:1::1", "2001:1::3", true, true),
        ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", true, true),
        ("2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff", true, true),
        ("2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", false, false),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("fd00:42::42", "fd00:42::42", false, false),
        ("fd00:c1::a9fe:a9fe", "fd00:c1::a9fe:a9fe", false, false),
        ("fd00:100::100:200", "fd00:100::100:200", false, false),
        ("fd00:ec2::", "fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff", false, false),
        ("fd00:a9fe:a9fe::", "fd00:a9fe:a9fe:0:ffff:ffff:ffff:ffff", false, false),
        ("fd20:ce::254", "fd20:ce::254", false, false),
        ("fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, true),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, true),
    ];

    /// The address that many places further on, from the end to the beginning.
    fn beside(address: &str, step: i128) -> String {
        match address.parse().unwrap() {
            IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip).wrapping_add_signed(step as i32)).to_string(),
            IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip).wrapping_add_signed(step)).to_string(),
        }
    }

    #[test]
    fn each_special_range_begins_and_ends_as_documented() {
        for (first, last, before_is_special, behind_is_special) in RANGES {
            assert!(is_special(first) && is_special(last), "{first} to {last}");
            // The first and the last address there is have none beside them.
            if *first != "0.0.0.0" {
                assert_eq!(is_special(&beside(first, -1)), *before_is_special, "before {first}");
            }
            if *last != "255.255.255.255" {
                assert_eq!(is_special(&beside(last, 1)), *behind_is_special, "behind {last}");
            }
        }
    }

    #[test]
    fn each_block_of_the_table_is_in_the_list_above() {
        let listed = |ip: IpAddr| RANGES.iter().any(|(first, ..)| first.parse::<IpAddr>().unwrap() == ip);
        let contained = ["8000::", "c000::", "e000::", "f000::", "f800::"];
        for ip in V4.iter().map(|block| IpAddr::from(block.0)).chain(V6.iter().map(|block| block.0.into())) {
            let found = listed(ip) || contained.contains(&ip.to_string().as_str()) || ip.to_string() == "64:ff9b:1::";
            assert!(found, "{ip}");
        }
    }

    #[test]
    fn private_shared_istios_and_public_addresses_are_ordinary() {
        for (first, last) in [
            ("10.0.0.0", "10.255.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("240.240.0.0", "240.240.255.255"),
            ("1.0.0.0", "9.255.255.255"),
            ("64:ff9b::100:0", "64:ff9b::9ff:ffff"),
            ("64:ff9b:1::a00:0", "64:ff9b:1::aff:ffff"),
            ("fc00::", "fd00:41:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2003::", "2003:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert!(!is_special(first) && !is_special(last), "{first} to {last}");
        }
    }

    #[test]
    fn an_ipv4_address_within_an_ipv6_one_is_treated_as_the_former() {
        for prefix in ["::ffff:", "64:ff9b::", "64:ff9b:1::"] {
            for (ip, special) in [
                ("169.254.169.254", true),
                ("127.0.0.1", true),
                ("168.63.129.16", true),
                ("100.100.100.200", true),
                ("93.184.216.34", false),
                ("10.0.0.1", false),
            ] {
                assert_eq!(is_special(&format!("{prefix}{ip}")), special, "{prefix}{ip}");
            }
        }
        // Compatible, 6to4, Teredo, and SIIT's: obsolete.
        for address in ["::10.0.0.1", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1", "::ffff:0:169.254.169.254"] {
            assert!(is_special(address), "{address}");
        }
    }
}
