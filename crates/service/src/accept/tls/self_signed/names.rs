//! What the certificates of our own are for, and what the CA may sign (name constraints, RFC 5280 s4.2.1.10).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rcgen::string::Ia5String;
use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints, SanType};
use x509_parser::extensions::GeneralName;
use x509_parser::extensions::GeneralSubtree as Subtree;

/// The loopback network of IPv4.
const LOOPBACK: (Ipv4Addr, u8) = (Ipv4Addr::new(127, 0, 0, 0), 8);
const LOCALHOST: &str = "localhost";

/// A name or address that a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Dns(String),
    Ip(IpAddr),
}

impl Name {
    /// Reads the host of a URL, an IPv6 address in brackets.
    pub(crate) fn of_host(host: &str) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse().map_or_else(|_| Self::Dns(host.to_ascii_lowercase()), Self::Ip)
    }

    /// It as a subject alternative name.
    pub(super) fn for_certificate(&self) -> Result<SanType, rcgen::Error> {
        Ok(match self {
            Self::Dns(name) => SanType::DnsName(Ia5String::try_from(name.as_str())?),
            Self::Ip(address) => SanType::IpAddress(*address),
        })
    }
}

/// The names of this machine that each certificate of our own is for, and those of the configuration.
pub(super) fn with_own(configured: &[Name]) -> Vec<Name> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].map(Name::Ip);
    let mut names = vec![Name::Dns(LOCALHOST.to_owned())];
    names.extend(loopback);
    for name in configured {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// What a new CA may sign: this machine's own names, those below localhost, and the configured ones. A list without
/// names of a kind would permit all of that kind, so both kinds of addresses are in it.
pub(super) fn constraints(configured: &[Name]) -> NameConstraints {
    let (network, bits) = LOOPBACK;
    let mut permitted_subtrees = vec![
        GeneralSubtree::DnsName(LOCALHOST.to_owned()),
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(network.into(), bits)),
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(Ipv6Addr::LOCALHOST.into(), 128)),
    ];
    for name in configured {
        match name {
            Name::Dns(name) if name == LOCALHOST => {}
            Name::Ip(address) if address.is_loopback() => {}
            Name::Dns(name) => permitted_subtrees.push(GeneralSubtree::DnsName(name.clone())),
            Name::Ip(address) => {
                let bits = if address.is_ipv4() { 32 } else { 128 };
                permitted_subtrees.push(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, bits)));
            }
        }
    }
    NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() }
}

/// What a CA that exists may sign.
#[derive(Debug, Default)]
pub(super) struct Permitted {
    permitted: Vec<Base>,
    excluded: Vec<Base>,
}

/// The root of a subtree.
#[derive(Debug)]
enum Base {
    Dns(String),
    Ip(Vec<u8>),
    /// Of a kind that our certificates do not have.
    Other,
}

impl Permitted {
    /// Reads the constraints of a CA.
    pub(super) fn read(constraints: &x509_parser::extensions::NameConstraints<'_>) -> Self {
        let read = |subtrees: &Option<Vec<Subtree<'_>>>| subtrees.iter().flatten().map(Base::read).collect();
        Self { permitted: read(&constraints.permitted_subtrees), excluded: read(&constraints.excluded_subtrees) }
    }

    /// Whether it may sign a certificate for any site, as far as names of web servers go.
    pub(super) fn is_everything(&self) -> bool {
        let has = |is: fn(&Base) -> bool| self.permitted.iter().any(is);
        !(has(|base| matches!(base, Base::Dns(_))) && has(|base| matches!(base, Base::Ip(_))))
    }

    /// Whether it may sign a certificate for `name`.
    pub(super) fn has(&self, name: &Name) -> bool {
        let mut of_its_kind = self.permitted.iter().filter(|base| base.is_kind_of(name)).peekable();
        let permitted = of_its_kind.peek().is_none() || of_its_kind.any(|base| base.has(name));
        permitted && !self.excluded.iter().any(|base| base.has(name))
    }
}

impl Base {
    fn read(subtree: &Subtree<'_>) -> Self {
        match subtree.base {
            GeneralName::DNSName(name) => Self::Dns(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => Self::Ip(bytes.to_vec()),
            _ => Self::Other,
        }
    }

    fn is_kind_of(&self, name: &Name) -> bool {
        matches!((self, name), (Self::Dns(_), Name::Dns(_)) | (Self::Ip(_), Name::Ip(_)))
    }

    /// A DNS subtree has the name and every name below it; an address subtree is an address and a mask.
    fn has(&self, name: &Name) -> bool {
        match (self, name) {
            (Self::Dns(base), Name::Dns(name)) => {
                let base = base.trim_start_matches('.');
                name.strip_suffix(base).is_some_and(|left| base.is_empty() || left.is_empty() || left.ends_with('.'))
            }
            (Self::Ip(base), Name::Ip(IpAddr::V4(address))) => is_in(&address.to_bits().to_be_bytes(), base),
            (Self::Ip(base), Name::Ip(IpAddr::V6(address))) => is_in(&address.to_bits().to_be_bytes(), base),
            _ => false,
        }
    }
}

fn is_in(address: &[u8], base: &[u8]) -> bool {
    base.len() == 2 * address.len() && {
        let (network, mask) = base.split_at(address.len());
        address.iter().zip(network).zip(mask).all(|((byte, network), mask)| byte & mask == network & mask)
    }
}
