//! Which names the listener may be asked by. A page of a site can give its own name the address 127.0.0.1 (DNS
//! rebinding) and would then read from here as from its own origin. It cannot do that with an address, nor with
//! `localhost`.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::HOST;
use http::uri::Authority;

use crate::transport::Request;

/// Whether a request names this machine, in its Host field and, if it has one, in its absolute URI. The port may be
/// another one, that of a tunnel. No browser sends a request without a Host field.
pub(super) fn is_local(request: &Request) -> bool {
    let by_uri = request.uri().host().is_none_or(is_local_host);
    let by_field = request.headers().get_all(HOST).iter().all(|host| {
        let authority = Authority::try_from(host.as_bytes());
        authority.is_ok_and(|authority| !authority.as_str().contains('@') && is_local_host(authority.host()))
    });
    by_uri && by_field
}

fn is_local_host(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|ip| ip.to_canonical().is_loopback()),
        None => host.eq_ignore_ascii_case("localhost") || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_and_localhost_are_this_machine() {
        for host in ["127.0.0.1", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]", "localhost", "LOCALHOST"] {
            assert!(is_local_host(host), "{host}");
        }
    }

    #[test]
    fn every_other_name_may_be_a_rebound_one() {
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "a.localhost",
            "localhost.",
            "127.0.0.1.example.org",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0.0.0.0",
            "192.168.0.1",
            "[::]",
            "[fe80::1]",
            "::1",
            "[localhost]",
        ] {
            assert!(!is_local_host(host), "{host}");
        }
    }
}
