//! Where a webhook may go. A URL comes from a file that many hands edit, its name from a DNS that others run: without
//! this guard it could reach the cloud's metadata service or a neighbour inside the cluster.
//!
//! Literal addresses are checked when the destination is built. Names are checked when they are resolved for a
//! connection, in the very answer that is then connected to, so a name that changes its mind gains nothing. Ranges:
//! IANA's special-purpose address registries (RFC 6890 and what it lists).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What an address is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Public,
    /// One's own machine or network: called where the topology allows it. With its name in words.
    Own(&'static str),
    /// Never called. With its name in words.
    Never(&'static str),
}

impl Kind {
    /// Whether it may be called.
    pub fn allowed(self, allow_private: bool) -> bool {
        match self {
            Kind::Public => true,
            Kind::Own(_) => allow_private,
            Kind::Never(_) => false,
        }
    }

    /// The kind in words.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Public => "a public address",
            Kind::Own(name) | Kind::Never(name) => name,
        }
    }
}

/// What this address is to us; an IPv4 address inside an IPv6 one counts as itself.
pub fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

fn kind_v4(address: Ipv4Addr) -> Kind {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (0, ..) => Kind::Never("an unspecified address"),
        (127, ..) => Kind::Own("a loopback address"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Kind::Own("a private address"),
        (100, 64..=127, _) => Kind::Own("a carrier-grade NAT address"),
        (169, 254, _) => Kind::Never("a link-local address"),
        (224..=239, ..) => Kind::Never("a multicast address"),
        (240..=255, ..) | (192, 0, 0) | (192, 88, 99) => Kind::Never("a reserved address"),
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => Kind::Never("a documentation address"),
        (198, 18..=19, _) => Kind::Never("a benchmarking address"),
        _ => Kind::Public,
    }
}

fn kind_v6(address: Ipv6Addr) -> Kind {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Kind::Never("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Own("a loopback address"),
        // Mapped, compatible (deprecated), NAT64 and 6to4 addresses end at the IPv4 address inside.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => kind_v4(v4(high, low)),
        [0x2002, high, low, ..] => kind_v4(v4(high, low)),
        [0xfc00..=0xfdff, ..] => Kind::Own("a unique local address"),
        [0xfe80..=0xfebf, ..] => Kind::Never("a link-local address"),
        [0xff00..=0xffff, ..] => Kind::Never("a multicast address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Kind::Never("a documentation address"),
        // 2001::/23 is for protocols (Teredo, ORCHID, benchmarking); global unicast is 2000::/3 without it.
        [0x2001, 0..=0x1ff, ..] => Kind::Never("a reserved address"),
        [0x2000..=0x3fff, ..] => Kind::Public,
        _ => Kind::Never("a reserved address"),
    }
}

/// A name led only to addresses that must not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub address: IpAddr,
    pub kind: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its name resolves to {}, {}, which is not called", self.address, self.kind)
    }
}

impl std::error::Error for Refused {}

/// The system's resolver, less the addresses that must not be called.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    pub allow_private: bool,
}

impl Guard {
    /// What may be connected to out of a resolver's answer; nothing left is an error.
    pub fn admit(self, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        let refused = found.first().map(|address| address.ip());
        let admitted: Vec<_> =
            found.into_iter().filter(|address| kind(address.ip()).allowed(self.allow_private)).collect();
        match refused {
            Some(address) if admitted.is_empty() => Err(Refused { address, kind: kind(address).name() }),
            _ => Ok(admitted),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            // Port 0 stands for the port of the URL.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let admitted = guard.admit(found)?;
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Kind {
        kind(text.parse().unwrap())
    }

    #[test]
    fn public_addresses_may_be_called() {
        for address in [
            "1.1.1.1",
            "81.2.69.142",
            "172.32.0.1",
            "100.128.0.1",
            "2a00:1450:4001::1",
            "2606:4700::1111",
            "64:ff9b::101:101",
        ] {
            assert_eq!(of(address), Kind::Public, "{address}");
        }
    }

    #[test]
    fn one_s_own_network_is_called_only_where_allowed() {
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::192.168.0.1",
        ] {
            assert!(matches!(of(address), Kind::Own(_)), "{address} {:?}", of(address));
            assert!(!of(address).allowed(false), "{address}");
            assert!(of(address).allowed(true), "{address}");
        }
    }

    #[test]
    fn metadata_services_multicast_and_reserved_ranges_are_never_called() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.9",
            "198.18.0.1",
            "192.0.0.8",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "4000::1",
            "64:ff9b:1::1",
        ] {
            assert!(matches!(of(address), Kind::Never(_)), "{address} {:?}", of(address));
            assert!(!of(address).allowed(true), "{address}");
        }
    }

    #[test]
    fn of_a_mixed_answer_only_the_public_part_is_connected_to() {
        let guard = Guard { allow_private: false };
        let found = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert_eq!(guard.admit(found(&["10.0.0.1:0", "1.1.1.1:0"])), Ok(found(&["1.1.1.1:0"])));
        let refused = guard.admit(found(&["127.0.0.1:0", "[::1]:0"])).unwrap_err();
        assert_eq!(refused.to_string(), "its name resolves to 127.0.0.1, a loopback address, which is not called");
        assert_eq!(guard.admit(Vec::new()), Ok(Vec::new()));
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused_while_resolving() {
        let name = || "localhost".parse::<Name>().unwrap();
        let error = Guard { allow_private: false }.resolve(name()).await.err().unwrap();
        assert!(error.downcast_ref::<Refused>().is_some(), "{error}");
        let mut found = Guard { allow_private: true }.resolve(name()).await.unwrap();
        assert!(found.any(|address| address.ip().is_loopback()));
    }
}
