//! A list of networks, as settings name proxies.

use std::net::IpAddr;

use ipnet::IpNet;

use super::error::ConfigError;

/// Networks and single addresses.
#[derive(Clone, Debug, Default)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads the value of the setting `name`.
    pub(super) fn parse(name: &str, networks: Option<&Vec<String>>) -> Result<Self, ConfigError> {
        let parse = |text: &String| {
            let text = text.trim();
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| {
                ConfigError::Unfit(format!("{name}: `{text}` is neither an address nor a network such as 10.0.0.0/8"))
            })
        };
        networks.into_iter().flatten().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address is in one of them. An IPv4 address inside an IPv6 address is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}
