//! A list of networks, as settings name proxies.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::error::ConfigError;

/// Reads a string, with commas between networks as in a flag, or a list of strings.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a network, such as '10.0.0.0/8', or a list of networks")]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    OneOrMore::deserialize(from).map(|read| {
        Some(match read {
            OneOrMore::One(text) => text.split(',').map(str::to_owned).collect(),
            OneOrMore::More(all) => all,
        })
    })
}

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

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use super::*;

    #[test]
    fn the_file_has_one_network_or_a_list() {
        for name in ["trusted_proxies", "proxy_protocol_from", "forwarded_for_from"] {
            for (value, ends) in [("'10.0.0.1'", 1), ("'10.0.0.1, 10.0.0.2'", 2), ("['10.0.0.1', '10.0.0.2']", 2)] {
                let read: Settings = toml::from_str(&format!("{name} = {value}")).unwrap();
                let lists = [read.trusted_proxies, read.proxy_protocol_from, read.forwarded_for_from];
                let networks = Networks::parse(name, lists.iter().flatten().next()).unwrap();
                for last in 1..=2 {
                    assert_eq!(networks.contains([10, 0, 0, last].into()), last <= ends, "{name} = {value}");
                }
            }
            let error = toml::from_str::<Settings>(&format!("{name} = 7")).unwrap_err().to_string();
            assert!(error.contains("a list of networks"), "{error}");
        }
    }
}
