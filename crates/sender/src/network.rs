//! Which addresses the client may connect to. Endpoints come from strangers, and a stranger must not be able to direct
//! requests to the private network of the application server (RFC 8030 s8.4; server-side request forgery).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses, such as `10.1.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// The text is not a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address or a range of addresses such as 10.1.0.0/16 or fd00::/8")]
pub struct NetworkError;

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix_bits: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix_bits }
    }

    const fn v6(first: u16, second: u16, prefix_bits: u8) -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), prefix_bits }
    }

    /// Whether `address` lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        debug_assert!(self.prefix_bits <= if self.address.is_ipv4() { 32 } else { 128 }, "a prefix fits its address");
        match (self.address, address) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => {
                let differing = u32::from(mine) ^ u32::from(other);
                differing.leading_zeros() >= u32::from(self.prefix_bits)
            }
            (IpAddr::V6(mine), IpAddr::V6(other)) => {
                let differing = u128::from(mine) ^ u128::from(other);
                differing.leading_zeros() >= u32::from(self.prefix_bits)
            }
            _ => false,
        }
    }
}

impl std::str::FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.trim().parse().map_err(|_| NetworkError)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.map_or(Ok(bits_max), |p| p.trim().parse()).map_err(|_| NetworkError)?;
        if prefix_bits > bits_max { Err(NetworkError) } else { Ok(Self { address, prefix_bits }) }
    }
}

/// What is not on the public Internet (the special-purpose registries of RFC 6890, and multicast).
const NOT_PUBLIC: [Network; 21] = [
    Network::v4(0, 0, 0, 0, 8),
    Network::v4(10, 0, 0, 0, 8),
    Network::v4(100, 64, 0, 0, 10),
    Network::v4(127, 0, 0, 0, 8),
    Network::v4(169, 254, 0, 0, 16),
    Network::v4(172, 16, 0, 0, 12),
    Network::v4(192, 0, 0, 0, 24),
    Network::v4(192, 0, 2, 0, 24),
    Network::v4(192, 88, 99, 0, 24),
    Network::v4(192, 168, 0, 0, 16),
    Network::v4(198, 18, 0, 0, 15),
    Network::v4(198, 51, 100, 0, 24),
    Network::v4(203, 0, 113, 0, 24),
    Network::v4(224, 0, 0, 0, 3),
    // Everything outside 2000::/3: loopback, private, link-local, multicast, and unassigned addresses.
    Network::v6(0, 0, 3),
    Network::v6(0x4000, 0, 2),
    Network::v6(0x8000, 0, 1),
    // Teredo, benchmarking, ORCHID, 6to4: addresses that contain another address, or none.
    Network::v6(0x2001, 0, 23),
    Network::v6(0x2001, 0xdb8, 32),
    Network::v6(0x2002, 0, 16),
    Network::v6(0x3fff, 0, 20),
];

/// Public addresses, and the ranges that the caller allows.
///
/// ```
/// use doorbell_sender::AddressPolicy;
///
/// let policy = AddressPolicy::public().allow("10.1.0.0/16".parse()?);
/// assert!(policy.permits([10, 1, 2, 3].into()));
/// assert!(!policy.permits([10, 2, 0, 1].into()));
/// # Ok::<(), doorbell_sender::network::NetworkError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    allowed: Vec<Network>,
}

impl AddressPolicy {
    /// Public addresses only: for every service whose subscriptions come from strangers.
    pub fn public() -> Self {
        Self::default()
    }

    /// Also the addresses in `network`: for a push service in your own network.
    #[must_use]
    pub fn allow(mut self, network: Network) -> Self {
        self.allowed.push(network);
        self
    }

    /// Also the machine itself: for development, and for a command line whose user gives the endpoint.
    #[must_use]
    pub fn allow_loopback(self) -> Self {
        let v6 = Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix_bits: 128 };
        self.allow(Network::v4(127, 0, 0, 0, 8)).allow(v6)
    }

    /// Also every private range (RFC 1918, RFC 4193) and link-local addresses.
    #[must_use]
    pub fn allow_private(self) -> Self {
        let ranges = [
            Network::v4(10, 0, 0, 0, 8),
            Network::v4(172, 16, 0, 0, 12),
            Network::v4(192, 168, 0, 0, 16),
            Network::v4(169, 254, 0, 0, 16),
            Network::v6(0xfc00, 0, 7),
            Network::v6(0xfe80, 0, 10),
        ];
        ranges.into_iter().fold(self, Self::allow)
    }

    /// Whether a message may go to `address`.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = reached(address);
        self.allowed.iter().any(|network| network.contains(address))
            || !NOT_PUBLIC.iter().any(|network| network.contains(address))
    }
}

/// The address that a packet to `address` reaches: ::ffff:127.0.0.1 is 127.0.0.1, and so is 64:ff9b::7f00:1 in a network
/// that translates to IPv4 (RFC 6052), where this is the way to every service without IPv6.
fn reached(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., high, low] = v6.segments();
            IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn permits(policy: &AddressPolicy, address: &str) -> bool {
        policy.permits(address.parse().unwrap())
    }

    #[test]
    fn only_public_addresses_are_permitted_as_ssrf_1() {
        let policy = AddressPolicy::public();
        for inside in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!permits(&policy, inside), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "223.255.255.1",
            "2606:4700::1",
            "2001:4860::8888",
            "2a00::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(permits(&policy, outside), "{outside}");
        }
    }

    #[test]
    fn what_the_caller_allows_is_permitted_and_nothing_else() {
        let loopback = AddressPolicy::public().allow_loopback();
        assert!(permits(&loopback, "127.0.0.1") && permits(&loopback, "::1") && permits(&loopback, "::ffff:127.0.0.1"));
        assert!(!permits(&loopback, "10.0.0.1"));
        let own = AddressPolicy::public().allow("10.1.0.0/16".parse().unwrap());
        assert!(permits(&own, "10.1.2.3") && !permits(&own, "10.2.0.1") && !permits(&own, "127.0.0.1"));
        let private = AddressPolicy::public().allow_private();
        assert!(permits(&private, "192.168.0.9") && permits(&private, "fe80::1") && !permits(&private, "127.0.0.1"));
    }

    #[test]
    fn ranges_are_read_and_wrong_ones_rejected() {
        assert_eq!("::1".parse(), Ok(Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix_bits: 128 }));
        assert_eq!("0.0.0.0/0".parse::<Network>().map(|n| n.contains([9, 9, 9, 9].into())), Ok(true));
        for wrong in ["", "/8", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "localhost", "10.0.0.0/8/8"] {
            assert_eq!(wrong.parse::<Network>(), Err(NetworkError), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String, address: IpAddr) {
            if let Ok(network) = text.parse::<Network>() {
                let _ = network.contains(address);
            }
            let _ = AddressPolicy::public().permits(address);
        }
    }
}
