//! Where this machine's state is kept, for the verbs that read keys, profiles and the self-signed CA there.

use std::net::IpAddr;
use std::path::PathBuf;

use doorbell_service::config::default_state_dir;

/// The directory that `doorbell serve` uses by default.
pub(crate) fn state_dir() -> Option<PathBuf> {
    std::env::var_os("DOORBELL_STATE_DIR").map(PathBuf::from).or_else(default_state_dir)
}

/// The self-signed CA that `doorbell serve` created, if `url` is a service on this machine and the CA is there.
pub(crate) fn local_ca(url: &str) -> Option<PathBuf> {
    state_dir().map(|dir| dir.join("ca.pem")).filter(|file| is_loopback(url) && file.exists())
}

/// Whether `url` names this machine.
pub(crate) fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let Some(host) = uri.host().map(|host| host.trim_matches(['[', ']'])) else { return false };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for url in ["https://127.0.0.1:8443", "https://127.9.9.9", "https://[::1]:1/s", "https://localhost"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["https://10.0.0.1", "https://localhost.example", "https://127.0.0.1.example", "x y"] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
