//! The table of origins: endpoints that name one push service and belong to another.
//!
//! The host of a Chromium's endpoints is compiled in, even if the browser was started for another push service; that
//! service then has the same path at its own origin. The endpoint does not show which browsers those are, so the table is
//! empty until the application server fills it, and only the table moves a message to another origin.

use std::str::FromStr;

use thiserror::Error;

use crate::endpoint::{Endpoint, EndpointError};

/// The origins that Chromium has compiled in, in builds without Google's branding and with it.
const CHROMIUM_ORIGINS: [&str; 2] = ["https://jmt17.google.com", "https://fcm.googleapis.com"];

/// Which origin replaces which other one. Empty by default: an empty table changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginMap {
    entries: Vec<Mapping>,
}

/// One entry of the table, written `https://named.example=https://ours.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    from: Endpoint,
    to: Endpoint,
}

/// Why a text is not an entry, or entries are not a table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OriginMapError {
    /// There is no `=`.
    #[error("not FROM=TO, two origins such as https://fcm.googleapis.com=https://push.example.org")]
    Malformed,
    /// One of the two is not an origin.
    #[error("{0:?} is not an origin: write https://, a host and, if it is not 443, a port, and nothing after them")]
    NotOrigin(String),
    /// One origin has two different targets.
    #[error("{0} is mapped to two origins: give it once")]
    Twice(String),
}

/// A notice: an endpoint has one of the origins that Chromium has compiled in, and the table has no entry for it. It may be
/// a subscription at Google's service. If the browser was started for another service, Google gets a message that it
/// cannot deliver.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the endpoint is at {origin}, which every Chromium names, for any push service")]
pub struct UnmappedChromium {
    /// The origin of the endpoint.
    pub origin: String,
}

impl OriginMap {
    /// A table of `entries`, which may contain the same entry more than once.
    ///
    /// # Errors
    /// If one origin has two targets.
    pub fn new(entries: impl IntoIterator<Item = Mapping>) -> Result<Self, OriginMapError> {
        let mut table = Self::default();
        for entry in entries {
            match table.to(&entry.from) {
                None => table.entries.push(entry),
                Some(other) if *other == entry.to => {}
                Some(_) => return Err(OriginMapError::Twice(entry.from.origin())),
            }
        }
        Ok(table)
    }

    /// A table for an application server whose Chromiums all use the push service at `to`.
    ///
    /// # Errors
    /// If `to` is not an origin.
    pub fn of_chromiums_at(to: &str) -> Result<Self, OriginMapError> {
        let to = origin(to)?;
        let entry = |from: &str| Ok(Mapping { from: origin(from)?, to: to.clone() });
        Self::new(CHROMIUM_ORIGINS.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?)
    }

    /// The endpoint that replaces `endpoint`: the same path and query at the origin in the table. The address policy checks
    /// it like any other endpoint.
    ///
    /// # Errors
    /// If the result is not an endpoint.
    pub fn apply(&self, endpoint: Endpoint) -> Result<(Endpoint, Option<UnmappedChromium>), EndpointError> {
        match self.to(&endpoint) {
            Some(to) => Ok((endpoint.moved_to(to)?, None)),
            None => {
                let origin = endpoint.origin();
                let notice = CHROMIUM_ORIGINS.contains(&origin.as_str()).then_some(UnmappedChromium { origin });
                Ok((endpoint, notice))
            }
        }
    }

    fn to(&self, endpoint: &Endpoint) -> Option<&Endpoint> {
        self.entries.iter().find(|entry| entry.from.has_origin_of(endpoint)).map(|entry| &entry.to)
    }
}

impl FromStr for Mapping {
    type Err = OriginMapError;

    fn from_str(text: &str) -> Result<Self, OriginMapError> {
        let (from, to) = text.split_once('=').ok_or(OriginMapError::Malformed)?;
        Ok(Self { from: origin(from)?, to: origin(to)? })
    }
}

/// An origin, as the endpoint with the shortest path.
fn origin(text: &str) -> Result<Endpoint, OriginMapError> {
    let text = text.trim();
    let wrong = || OriginMapError::NotOrigin(text.to_owned());
    let endpoint = Endpoint::parse(text).map_err(|_| wrong())?;
    // A URL may have `*` in its host; here it would mean many hosts, which the table does not support.
    if endpoint.is_origin() && !text.contains(['?', '#', '@', '*']) { Ok(endpoint) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::AddressPolicy;
    use proptest::prelude::*;

    fn table(lines: &[&str]) -> Result<OriginMap, OriginMapError> {
        OriginMap::new(lines.iter().map(|line| line.parse()).collect::<Result<Vec<_>, _>>()?)
    }

    fn applied(lines: &[&str], endpoint: &str) -> (String, Option<String>) {
        let (endpoint, notice) = table(lines).unwrap().apply(Endpoint::parse(endpoint).unwrap()).unwrap();
        (endpoint.as_str().to_owned(), notice.map(|notice| notice.origin))
    }

    const CHROMIUM: &str = "https://jmt17.google.com/fcm/send/eu-PR:T?x=1";

    #[test]
    fn a_mapped_origin_is_replaced_and_path_and_query_are_kept() {
        let ours = ["https://jmt17.google.com=https://push.example.org:8443"];
        assert_eq!(applied(&ours, CHROMIUM), ("https://push.example.org:8443/fcm/send/eu-PR:T?x=1".to_owned(), None));
        let local = ["https://JMT17.google.com:443/=http://127.0.0.1:9/"];
        assert_eq!(applied(&local, CHROMIUM).0, "http://127.0.0.1:9/fcm/send/eu-PR:T?x=1");
        let v6 = ["https://jmt17.google.com = https://[::1]:8443"];
        assert_eq!(applied(&v6, CHROMIUM).0, "https://[::1]:8443/fcm/send/eu-PR:T?x=1");
    }

    #[test]
    fn nothing_but_the_table_moves_an_endpoint() {
        let ours = ["https://jmt17.google.com=https://push.example.org"];
        for other in ["https://push.example.org/p/x", "https://jmt17.google.com:444/x", "https://a.jmt17.google.com/x"]
        {
            assert_eq!(applied(&ours, other), (other.to_owned(), None));
        }
        // Once: an entry for the target is not followed.
        let chain = ["https://a.example=https://b.example", "https://b.example=https://c.example"];
        assert_eq!(applied(&chain, "https://a.example/p").0, "https://b.example/p");
    }

    #[test]
    fn an_endpoint_of_chromium_without_an_entry_is_noticed_and_left_alone() {
        for endpoint in [CHROMIUM, "https://fcm.googleapis.com/wp/x", "https://fcm.googleapis.com/preprod/wp/x"] {
            for lines in [&[][..], &["https://other.example=https://push.example.org"]] {
                let (unmoved, notice) = applied(lines, endpoint);
                assert_eq!(unmoved, endpoint);
                assert!(endpoint.starts_with(&notice.unwrap()), "{endpoint}");
            }
        }
        assert_eq!(applied(&[], "https://updates.push.services.mozilla.com/wpush/v2/x").1, None);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let refused = |line: &str| line.parse::<Mapping>().unwrap_err();
        assert_eq!(refused("https://a.example"), OriginMapError::Malformed);
        for line in [
            "=",
            "a=b",
            "https://a=",
            "https://a=b",
            "https://a=https://b/path",
            "https://a/fcm/send=https://b",
            "https://a=https://b?x",
            "https://a=https://b/#",
            "https://a=https://b=https://c",
            "https://a=http://b",
            "https://a=https://u@b",
            "https://*.google.com=https://b",
        ] {
            assert!(matches!(refused(line), OriginMapError::NotOrigin(_)), "{line}");
        }
        let (b, c) = ("https://a=https://b", "https://a=https://c");
        assert_eq!(table(&[b, c]), Err(OriginMapError::Twice("https://a".to_owned())));
        assert!(table(&[b, b]).is_ok());
    }

    #[test]
    fn the_origin_that_it_was_mapped_to_is_judged_as_ssrf_1() {
        let inside = table(&["https://jmt17.google.com=https://10.0.0.1"]).unwrap();
        let (endpoint, _) = inside.apply(Endpoint::parse(CHROMIUM).unwrap()).unwrap();
        assert_eq!(endpoint.check(&AddressPolicy::public()), Err(EndpointError::Address));
        assert_eq!(endpoint.check(&AddressPolicy::public().allow_private()), Ok(()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_taken_keeps_its_path(
            line in r"(https://)?[a-z0-9.:/@\[\]*?#]{0,12}=(https://)?[a-z0-9.:/@\[\]*?#]{0,12}",
            path in "[a-z0-9/:_-]{0,20}",
        ) {
            if let Ok(table) = table(&[&line]) {
                let from = line.split('=').next().unwrap().trim_end_matches('/');
                let endpoint = Endpoint::parse(&format!("{from}/p{path}")).unwrap();
                let (moved, _) = table.apply(endpoint).unwrap();
                prop_assert!(moved.as_str().ends_with(&format!("/p{path}")), "{moved:?}");
            }
        }
    }
}
