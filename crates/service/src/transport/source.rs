//! Where a connection comes from, as far as one client can be distinguished from another by its address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One source of connections: an IPv4 address, or the IPv6 network of 64 bits that one customer of a provider gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl Source {
    /// The source of an address. An IPv4 address inside an IPv6 address is an IPv4 address.
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                Self::V6(u64::try_from(address.to_bits() >> 64).expect("the upper half has 64 bits"))
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(network) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*network) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn an_ipv4_address_is_one_source_and_so_is_an_ipv6_network_of_64_bits() {
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"), "the form of a socket for both versions");
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
        assert_eq!(source("192.0.2.1").to_string(), "192.0.2.1");
    }
}
