//! Paths that escape more than they must: `%2D` is `-` (RFC 3986 s6.2.2.2).

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;

/// The path of a request, with unreserved characters as they are.
pub(super) fn normalize(uri: &mut Uri) {
    let Cow::Owned(mut path) = unescaped(uri.path()) else { return };
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).expect("unreserved characters can stand in a path"));
    *uri = Uri::from_parts(parts).expect("a URI with another path has the same parts");
}

/// `path` with the escapes of unreserved characters decoded. Other escapes stay, and so does what is not an escape:
/// it names nothing of this service.
pub(super) fn unescaped(path: &str) -> Cow<'_, str> {
    let Some(first) = path.find('%') else { return Cow::Borrowed(path) };
    let (start, rest) = path.split_at(first);
    let mut decoded = String::with_capacity(path.len());
    decoded.push_str(start);
    for (n, part) in rest.split('%').enumerate() {
        match escaped(part).filter(|_| n > 0) {
            Some(character) => {
                decoded.push(character);
                decoded.push_str(&part[2..]);
            }
            None => {
                decoded.push_str(if n > 0 { "%" } else { "" });
                decoded.push_str(part);
            }
        }
    }
    Cow::Owned(decoded)
}

/// The unreserved character (RFC 3986 s2.3) whose code `part` begins with.
fn escaped(part: &str) -> Option<char> {
    let [high, low, ..] = *part.as_bytes() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let character = char::from_u32(digit(high)? * 16 + digit(low)?)?;
    (character.is_ascii_alphanumeric() || "-._~".contains(character)).then_some(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn escapes_of_unreserved_characters_are_those_characters() {
        for (escaped, path) in [
            ("/p/a-b_c", "/p/a-b_c"),
            ("/p/a%2Db%5fc%7E%2e", "/p/a-b_c~."),
            ("/%70%2F%41%39", "/p%2FA9"),
            ("%2D%2D", "--"),
            ("", ""),
        ] {
            assert_eq!(unescaped(escaped), path);
        }
        assert!(matches!(unescaped("/p/abc"), Cow::Borrowed(_)), "most paths are not copied");
    }

    #[test]
    fn what_is_no_escape_of_an_unreserved_character_stays() {
        for path in ["/%", "/%2", "/%2x", "/%%2", "/%zz/", "/%2F", "/%25", "/%00", "/%C3%A9", "/%é", "/%+1"] {
            assert_eq!(unescaped(path), path);
        }
        assert_eq!(unescaped("/%%41"), "/%A", "a second look would decode more, so there is none");
    }

    proptest! {
        #[test]
        fn whatever_is_escaped_of_a_path_of_ours_names_the_same(path in "/[a-z]/[A-Za-z0-9_-]{0,120}", which: u128) {
            let escape = |(n, byte): (usize, u8)| match byte {
                b'/' => "/".to_owned(),
                _ if which >> n & 1 == 1 => format!("%{byte:02x}"),
                _ => char::from(byte).to_string(),
            };
            let escaped: String = path.bytes().enumerate().map(escape).collect();
            prop_assert_eq!(unescaped(&escaped), path);
        }

        #[test]
        fn no_path_panics_or_grows(path: String) {
            prop_assert!(unescaped(&path).len() <= path.len());
        }
    }

    #[test]
    fn the_rest_of_a_uri_stays() {
        for (before, after) in [
            ("https://x.example:8443/p/%2D?q=%2D&%zz", "https://x.example:8443/p/-?q=%2D&%zz"),
            ("/p/%41?", "/p/A?"),
            ("/p/%2", "/p/%2"),
            ("*", "*"),
        ] {
            let mut uri: Uri = before.parse().unwrap();
            normalize(&mut uri);
            assert_eq!(uri, after);
        }
    }
}
