//! The addresses that the service listens on, and what it serves there.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// What an address serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Everything, with TLS.
    Tls,
    /// Everything without TLS: loopback, or a proxy in front.
    Plain,
    /// Chromium's stream (MCS) only, with TLS, next to a proxy that cannot carry it.
    Mcs,
}

/// An address as the settings name it: `127.0.0.1:8443`, or `plain:127.0.0.1:8080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// What is served there; `None` leaves it to the setting `plain`.
    pub served: Option<Served>,
    /// The address.
    pub address: SocketAddr,
}

/// An address, and what is served there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What is served.
    pub served: Served,
    /// The address.
    pub address: SocketAddr,
}

impl Served {
    const ALL: [Self; 3] = [Self::Tls, Self::Plain, Self::Mcs];

    /// Its name in settings, and of a socket that a service manager gives.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Plain => "plain",
            Self::Mcs => "mcs",
        }
    }

    /// What has this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|served| served.as_str() == name)
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self { served: None, address }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.served {
            Some(served) => write!(f, "{served}:{}", self.address),
            None => self.address.fmt(f),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let named = text.split_once(':').and_then(|(name, rest)| Some((Served::of_name(name)?, rest)));
        let (served, address) = named.map_or((None, text), |(served, rest)| (Some(served), rest));
        let address = address.parse().map_err(|_| {
            format!(
                "`{text}` is not an address to listen on: give an IP address and a port, such as 127.0.0.1:8443, \
                 0.0.0.0:443 or [::]:443, with tls:, plain: or mcs: before it if it serves something of its own"
            )
        })?;
        Ok(Self { served, address })
    }
}

/// Reads an address to listen on without a name before it, for flags.
///
/// # Errors
/// If the text is not an IP address with a port: what to write instead.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let hint = "give an IP address and a port, such as 127.0.0.1:8443, 0.0.0.0:443 or [::]:443";
    text.parse().map_err(|_| hint.to_owned())
}

/// Reads a string or a list of strings.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<ListenAddress>>, D::Error> {
    struct OneOrMore;

    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<ListenAddress>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address or a list of addresses")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            text.parse().map(|address| vec![address]).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut addresses = Vec::new();
            while let Some(address) = list.next_element()? {
                addresses.push(address);
            }
            Ok(addresses)
        }
    }

    from.deserialize_any(OneOrMore).map(Some)
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use super::*;

    #[test]
    fn an_address_may_say_what_is_served_there() {
        let parsed = |text: &str| text.parse::<ListenAddress>().map(|listen| (listen.served, listen.address.port()));
        assert_eq!(parsed("127.0.0.1:8443"), Ok((None, 8443)));
        assert_eq!(parsed("[::]:443"), Ok((None, 443)));
        assert_eq!(parsed("tls:[::]:443"), Ok((Some(Served::Tls), 443)));
        assert_eq!(parsed(" plain:127.0.0.1:80"), Ok((Some(Served::Plain), 80)));
        assert_eq!(parsed("mcs:0.0.0.0:5228"), Ok((Some(Served::Mcs), 5228)));
        for wrong in ["", "mcs:", "5228", "mcs:5228", "http:127.0.0.1:80", "localhost:80", "tls:tls:[::]:443"] {
            assert!(parsed(wrong).unwrap_err().contains("plain:"), "{wrong}");
        }
        let shown = |text: &str| text.parse::<ListenAddress>().unwrap().to_string();
        assert_eq!((shown("mcs:[::1]:1"), shown("[::1]:1")), ("mcs:[::1]:1".to_owned(), "[::1]:1".to_owned()));
    }

    #[test]
    fn the_file_has_one_address_or_a_list() {
        let read = |text: &str| toml::from_str::<Settings>(text).map(|settings| settings.listen);
        let one = "127.0.0.1:8443".parse().unwrap();
        assert_eq!(read("listen = '127.0.0.1:8443'"), Ok(Some(vec![one])));
        let list = read("listen = ['127.0.0.1:8443', 'mcs:[::]:5228']").unwrap().unwrap();
        assert_eq!((list[0], list[1].served), (one, Some(Served::Mcs)));
        assert_eq!(read("plain = true"), Ok(None));
        assert!(read("listen = 'mcs:5228'").unwrap_err().to_string().contains("`mcs:5228` is not an address"));
        assert!(read("listen = 443").unwrap_err().to_string().contains("an address or a list"));
    }
}
