//! `Link` (RFC 8288): how RFC 8030 transfers the URLs of push resources, subscription sets and receipt subscriptions.

use http::{HeaderMap, HeaderValue, header};

use super::params;

/// The push resource of a subscription (RFC 8030 s4).
pub const REL_PUSH: &str = "urn:ietf:params:push";
/// A subscription set (RFC 8030 s4.1).
pub const REL_PUSH_SET: &str = "urn:ietf:params:push:set";
/// A receipt subscription (RFC 8030 s5.1).
pub const REL_PUSH_RECEIPT: &str = "urn:ietf:params:push:receipt";

/// How many links of one message are read; what follows is ignored. Web Push needs three.
pub const LINKS_MAX: usize = 32;

/// One target with one relation. A link with several relations reads as several of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The target as it was written: a URL, or a reference relative to the URL of the request.
    pub target: String,
    /// The relation, such as [`REL_PUSH`].
    pub rel: String,
}

impl Link {
    /// A link to `target`.
    pub fn new(target: impl Into<String>, rel: impl Into<String>) -> Self {
        Self { target: target.into(), rel: rel.into() }
    }

    /// Whether its relation is `rel`; relations compare without case (RFC 8288 s2.1).
    pub fn is(&self, rel: &str) -> bool {
        self.rel.eq_ignore_ascii_case(rel)
    }

    /// The field's value; `None` if target or relation contain what no URL may.
    pub fn to_value(&self) -> Option<HeaderValue> {
        let clean = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b'\\'));
        if !clean(&self.target) || !clean(&self.rel) {
            return None;
        }
        HeaderValue::try_from(format!("<{}>;rel=\"{}\"", self.target, self.rel)).ok()
    }
}

/// The links of a message, from every Link field, at most [`LINKS_MAX`]. What does not parse is skipped.
///
/// A link with an `anchor` is about another resource and therefore skipped too (RFC 8288 s3.2).
pub fn links(headers: &HeaderMap) -> impl Iterator<Item = Link> + '_ {
    let values = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(elements).flat_map(|(target, parameters)| relations(target, parameters)).take(LINKS_MAX)
}

/// The target of the first link with the relation `rel`.
pub fn target(headers: &HeaderMap, rel: &str) -> Option<String> {
    links(headers).find(|link| link.is(rel)).map(|link| link.target)
}

/// The `<target>` and the text of the parameters of each element of a value.
fn elements(value: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = value;
    std::iter::from_fn(move || {
        // The target may contain a comma, so it is read first and the list is split after it.
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let parameters = params::split_first(after, ',');
        rest = &after[parameters.len()..];
        Some((target, parameters))
    })
}

fn relations<'a>(target: &'a str, parameters: &'a str) -> impl Iterator<Item = Link> + 'a {
    let rel = params::get(parameters, "rel").filter(|_| params::get(parameters, "anchor").is_none());
    rel.into_iter().flat_map(str::split_ascii_whitespace).map(move |rel| Link::new(target.trim(), rel))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(values: &[&str]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::LINK, HeaderValue::from_str(value).unwrap());
        }
        links(&headers).map(|l| (l.target, l.rel)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(t, r)| ((*t).to_owned(), (*r).to_owned())).collect()
    }

    #[test]
    fn joined_and_repeated_fields_mean_the_same_ps_8030_4_3() {
        let expected = pairs(&[("/p/1", REL_PUSH), ("https://h/s", REL_PUSH_SET)]);
        for values in [
            &["</p/1>;rel=\"urn:ietf:params:push\"", "<https://h/s>; rel=\"urn:ietf:params:push:set\""][..],
            &["</p/1> ; rel=urn:ietf:params:push ,<https://h/s>;rel=\"urn:ietf:params:push:set\""],
            &[
                "</p/1>;title=\"a, <b>; rel=x\";REL=\"urn:ietf:params:push\", , <https://h/s>;rel=urn:ietf:params:push:set",
            ],
        ] {
            assert_eq!(parse(values), expected, "{values:?}");
        }
    }

    #[test]
    fn the_first_rel_counts_and_may_name_several_relations() {
        assert_eq!(parse(&["</a,b;c>;rel=\"one  two\";rel=three"]), pairs(&[("/a,b;c", "one"), ("/a,b;c", "two")]));
    }

    #[test]
    fn a_link_without_rel_about_something_else_or_broken_is_skipped() {
        assert_eq!(parse(&["</a>", "</a>;rel=x;anchor=\"#b\"", "/a;rel=x", "<", "</a;rel=x", ""]), pairs(&[]));
        assert_eq!(parse(&["nonsense, </a>;rel=x"]), pairs(&[("/a", "x")]));
    }

    #[test]
    fn the_number_of_links_is_bounded() {
        assert_eq!(parse(&[&"<a>;rel=x,".repeat(1000)]).len(), LINKS_MAX);
    }

    #[test]
    fn nothing_that_could_break_out_of_the_field_is_written() {
        let written = Link::new("https://h/p/x", REL_PUSH).to_value().unwrap();
        assert_eq!(written, "<https://h/p/x>;rel=\"urn:ietf:params:push\"");
        for bad in ["a>b", "a\r\nb", "a b", "ä"] {
            assert_eq!(Link::new(bad, REL_PUSH).to_value(), None, "{bad:?}");
        }
        assert_eq!(Link::new("a", "x\";y").to_value(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(path in "[!#-;=?-\\[\\]-~]{1,40}") {
            let link = Link::new(path, REL_PUSH);
            let mut headers = HeaderMap::new();
            headers.append(header::LINK, link.to_value().unwrap());
            prop_assert_eq!(links(&headers).collect::<Vec<_>>(), vec![link]);
        }

        #[test]
        fn no_value_makes_it_panic(text in r#"[<>;,="\\ a-z]{0,99}"#) {
            let _ = parse(&[&text]);
        }
    }
}
