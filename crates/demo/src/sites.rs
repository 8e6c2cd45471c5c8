//! The origins that the demo answers as. A page of another site whose name an attacker lets point at this address (DNS
//! rebinding) is same-origin to its browser, and only the Host header field shows that it is not ours.

use std::net::SocketAddr;

use http::Request;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use url::Url;

use crate::error::DemoError;

/// Browsers report here how a request's site relates to the page that sends it.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Our own origins.
#[derive(Debug)]
pub(crate) struct Sites {
    named: Vec<Url>,
    /// Scheme and port of those under any address, if it listens on all of the machine's.
    at_any_address: Option<(&'static str, u16)>,
}

impl Sites {
    /// The site that people open; and where it listens, under the names that no other machine can have: an address, and
    /// localhost for a loopback address.
    pub(crate) fn new(site: &Url, scheme: &'static str, listens: SocketAddr) -> Self {
        let (port, ip) = (listens.port(), listens.ip());
        let mut named = vec![format!("{scheme}://{listens}")];
        if ip.is_unspecified() || ip.is_loopback() {
            named.extend(["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{scheme}://{host}:{port}")));
        }
        let named = named.iter().map(|own| Url::parse(own).expect("a scheme, a host and a port are a URL"));
        // The machine may have more addresses than it knows, behind a router for instance.
        let at_any_address = ip.is_unspecified().then_some((scheme, port));
        Self { named: named.chain([site.clone()]).collect(), at_any_address }
    }

    /// Whether a request is for one of them.
    ///
    /// # Errors
    /// [`DemoError::WrongHost`], or [`DemoError::Malformed`] without exactly one Host header field (RFC 9112 s3.2).
    pub(crate) fn check_host<B>(&self, request: &Request<B>) -> Result<(), DemoError> {
        let mut fields = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (fields.next(), fields.next()) else {
            return Err(DemoError::Malformed("a request has one Host header field"));
        };
        let host = Authority::try_from(host.as_bytes()).map_err(|_| DemoError::WrongHost)?;
        // A target in absolute form stands in front of the field (RFC 9112 s3.2.2). Both must be ours.
        let is_ours = [Some(&host), request.uri().authority()].into_iter().flatten().all(|named| self.has(named));
        if is_ours { Ok(()) } else { Err(DemoError::WrongHost) }
    }

    /// Whether a request may come from one of our own pages, as its browser reports it: by the page's origin, or else, with
    /// requests that have none, by how its site relates to ours. What is not a browser reports nothing, and has no cookie
    /// that it does not know.
    ///
    /// # Errors
    /// [`DemoError::OtherSite`].
    pub(crate) fn check_page<B>(&self, request: &Request<B>) -> Result<(), DemoError> {
        let headers = request.headers();
        let asked = headers.get(HOST).and_then(|host| self.at_an_address(&Authority::try_from(host.as_bytes()).ok()?));
        let is_ours = if headers.contains_key(ORIGIN) {
            headers.get_all(ORIGIN).iter().all(|origin| {
                let page = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
                page.is_some_and(|page| self.named.iter().chain(&asked).any(|site| site.origin() == page.origin()))
            })
        } else {
            headers.get_all(SEC_FETCH_SITE).iter().all(|site| site == "same-origin" || site == "none")
        };
        if is_ours { Ok(()) } else { Err(DemoError::OtherSite) }
    }

    fn has(&self, asked: &Authority) -> bool {
        !asked.as_str().contains('@')
            && self.named.iter().chain(&self.at_an_address(asked)).any(|site| {
                let host = site.host_str().is_some_and(|host| host.eq_ignore_ascii_case(asked.host()));
                // Without a port it is the scheme's own.
                host && site.port() == asked.port_u16().filter(|port| Some(*port) != default_port(site))
            })
    }

    /// Our site under the address that a request names, if it names one and all are ours. No attacker lets an address
    /// point elsewhere.
    fn at_an_address(&self, asked: &Authority) -> Option<Url> {
        let (scheme, port) = self.at_any_address?;
        let site = Url::parse(&format!("{scheme}://{}:{port}", asked.host())).ok()?;
        (!matches!(site.host()?, url::Host::Domain(_))).then_some(site)
    }
}

fn default_port(site: &Url) -> Option<u16> {
    match site.scheme() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, fields: &[(&str, &str)]) -> Request<()> {
        let builder = Request::get(uri);
        fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap()
    }

    fn sites(site: &str, scheme: &'static str, listens: &str) -> Sites {
        Sites::new(&Url::parse(site).unwrap(), scheme, listens.parse().unwrap())
    }

    fn at_home() -> Sites {
        sites("http://localhost:8444", "http", "127.0.0.1:8444")
    }

    fn public() -> Sites {
        sites("https://Star.Example.org", "https", "192.0.2.7:443")
    }

    #[test]
    fn a_request_is_for_our_own_names_and_for_no_other() {
        let takes = |sites: &Sites, host: &str| sites.check_host(&request("/", &[("host", host)])).is_ok();
        for host in ["localhost:8444", "LOCALHOST:8444", "127.0.0.1:8444", "[::1]:8444"] {
            assert!(takes(&at_home(), host), "{host}");
        }
        for host in ["star.example.org", "star.example.org:443", "192.0.2.7"] {
            assert!(takes(&public(), host), "{host}");
        }
        for host in ["evil.example:8444", "localhost", "localhost:1", "localhost.evil.example:8444", "localhost.:8444"]
        {
            assert!(!takes(&at_home(), host), "{host}");
        }
        for host in ["a@localhost:8444", "", "localhost:8444, localhost:8444", "localhost:8444/", "star.example.org"] {
            assert!(!takes(&at_home(), host), "{host}");
        }
        assert!(!takes(&public(), "localhost") && !takes(&public(), "star.example.org:80"));
    }

    #[test]
    fn a_target_in_absolute_form_and_the_host_field_must_both_be_ours() {
        let check = |uri: &str, fields: &[(&str, &str)]| at_home().check_host(&request(uri, fields));
        let ours = ("host", "localhost:8444");
        assert!(check("http://localhost:8444/", &[ours]).is_ok());
        assert!(matches!(check("http://evil.example/", &[ours]), Err(DemoError::WrongHost)));
        assert!(matches!(check("http://localhost:8444/", &[("host", "evil.example")]), Err(DemoError::WrongHost)));
        assert!(matches!(check("/", &[]), Err(DemoError::Malformed(_))));
        assert!(matches!(check("/", &[ours, ours]), Err(DemoError::Malformed(_))));
    }

    #[test]
    fn only_our_own_pages_and_what_is_not_a_browser_may_ask() {
        let check = |fields: &[(&str, &str)]| at_home().check_page(&request("/api/live", fields)).is_ok();
        assert!(check(&[]) && check(&[("origin", "http://localhost:8444"), ("sec-fetch-site", "same-origin")]));
        assert!(check(&[("origin", "http://127.0.0.1:8444")]) && check(&[("sec-fetch-site", "none")]));
        for origin in ["http://evil.example:8444", "https://localhost:8444", "http://localhost", "null", "", "x"] {
            assert!(!check(&[("origin", origin)]), "{origin}");
        }
        assert!(!check(&[("sec-fetch-site", "cross-site")]) && !check(&[("sec-fetch-site", "same-site")]));
        assert!(!check(&[("origin", "http://localhost:8444"), ("origin", "http://evil.example")]));
    }

    #[test]
    fn who_listens_on_all_addresses_takes_any_address_but_no_name_and_no_page_of_another_address() {
        for listens in ["0.0.0.0:8444", "[::]:8444"] {
            let all = sites("https://localhost:8444", "https", listens);
            let takes = |host: &str| all.check_host(&request("/", &[("host", host)])).is_ok();
            for host in ["192.168.1.5:8444", "[2001:db8::5]:8444", "localhost:8444", "127.0.0.1:8444"] {
                assert!(takes(host), "{host}");
            }
            for host in
                ["192.168.1.5", "192.168.1.5:80", "evil.example:8444", "a@192.168.1.5:8444", "192.168.1.5.x:8444"]
            {
                assert!(!takes(host), "{host}");
            }
            let check = |origin: &str| {
                let fields = [("host", "192.168.1.5:8444"), ("origin", origin)];
                all.check_page(&request("/api/live", &fields)).is_ok()
            };
            assert!(check("https://192.168.1.5:8444") && check("https://localhost:8444"));
            for origin in ["https://192.168.1.6:8444", "http://192.168.1.5:8444", "https://192.168.1.5", "null"] {
                assert!(!check(origin), "{origin}");
            }
        }
        let at_its_own = sites("https://192.0.2.7", "https", "192.0.2.7:443");
        assert!(at_its_own.check_host(&request("/", &[("host", "192.0.2.8")])).is_err());
        let by_default = sites("https://localhost", "https", "0.0.0.0:443");
        assert!(by_default.check_host(&request("/", &[("host", "192.0.2.8")])).is_ok());
    }

    #[test]
    fn a_page_whose_origin_is_ours_may_ask_whatever_else_its_browser_reports() {
        let check = |fields: &[(&str, &str)]| at_home().check_page(&request("/api/live", fields)).is_ok();
        assert!(check(&[("origin", "http://localhost:8444"), ("sec-fetch-site", "cross-site")]));
        assert!(!check(&[("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")]));
    }
}
