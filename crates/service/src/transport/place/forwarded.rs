//! The clients that a proxy for HTTP names.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::transport::source::Source;

/// The last address of X-Forwarded-For, which the proxy itself has written; what is before it the client may have sent.
/// `None` if it is not an address. Proxies write an IPv6 address plainly, in brackets, or with its zone.
pub(super) fn forwarded_for(headers: &HeaderMap) -> Option<Source> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
    if let Ok(address) = last.parse::<SocketAddr>() {
        return Some(Source::of(address.ip()));
    }
    last.trim_matches(['[', ']']).split('%').next()?.parse::<IpAddr>().ok().map(Source::of)
}
