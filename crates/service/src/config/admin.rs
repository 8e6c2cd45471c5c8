//! Where the admin listener listens: on loopback or on a Unix socket, because it has no password.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::ConfigError;
use super::settings::Settings;

/// The address of the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A port of a loopback address.
    Tcp(SocketAddr),
    /// A Unix socket, by an absolute path.
    Unix(PathBuf),
}

/// What a path of a Unix socket begins with.
const UNIX: &str = "unix:";

impl AdminAddress {
    pub(super) fn from_settings(s: &Settings) -> Result<Option<Self>, ConfigError> {
        s.admin_listen.as_deref().map(|text| Self::parse(text.trim())).transpose()
    }

    fn parse(text: &str) -> Result<Self, ConfigError> {
        let unfit = |text: String| Err(ConfigError::Unfit(text));
        if let Some(path) = text.strip_prefix(UNIX) {
            let path = PathBuf::from(path);
            if !path.is_absolute() || path.file_name().is_none() {
                return unfit(format!(
                    "admin_listen `{text}` does not name a file by an absolute path: give one such as \
                     unix:/run/doorbell/admin.sock"
                ));
            }
            return Ok(Self::Unix(path));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().to_canonical().is_loopback() => Ok(Self::Tcp(address)),
            Ok(address) => unfit(format!(
                "admin_listen {address} is not a loopback address, and the admin listener has no password: give \
                 127.0.0.1:{port} or unix:/PATH. To read it from another machine, use a tunnel (`ssh -L \
                 {port}:127.0.0.1:{port} HOST`) or a proxy with a password",
                port = address.port()
            )),
            Err(_) => unfit(format!(
                "admin_listen `{text}` is not an address: give a loopback address and a port, such as 127.0.0.1:9191 \
                 or [::1]:9191, or a Unix socket, such as unix:/run/doorbell/admin.sock"
            )),
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        let settings = Settings { admin_listen: Some(text.to_owned()), ..Settings::default() };
        let parsed = AdminAddress::from_settings(&settings).map_err(|error| error.to_string())?;
        Ok(parsed.expect("it is set").to_string())
    }

    #[test]
    fn loopback_addresses_and_unix_sockets_are_accepted() {
        for text in ["127.0.0.1:9191", "127.8.9.1:0", "[::1]:9191", "[::ffff:127.0.0.1]:1", "unix:/run/doorbell.sock"] {
            assert_eq!(parse(text).as_deref(), Ok(text));
        }
        assert!(AdminAddress::from_settings(&Settings::default()).unwrap().is_none());
    }

    #[test]
    fn an_address_that_others_reach_is_refused_with_advice() {
        for text in ["0.0.0.0:9191", "[::]:9191", "192.0.2.1:9191", "[2001:db8::1]:9191", "[::ffff:192.0.2.1]:9191"] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("127.0.0.1:9191") && error.contains("ssh -L"), "{error}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused_with_examples() {
        for text in ["", "9191", ":9191", "localhost:9191", "127.0.0.1", "http://127.0.0.1:9191", "/run/admin.sock"] {
            assert!(parse(text).unwrap_err().contains("127.0.0.1:9191"), "{text}");
        }
        for text in ["unix:", "unix:admin.sock", "unix:/", "unix:/run/.."] {
            assert!(parse(text).unwrap_err().contains("absolute path"), "{text}");
        }
    }
}
