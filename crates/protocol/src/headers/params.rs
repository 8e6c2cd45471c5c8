//! Lists of parameters: `a=1;b="2", c=3`, the shape of Encryption, Crypto-Key, Prefer, Link and auth-params.
//!
//! One tolerant splitter for all of them (RFC 9110 s5.6): separators inside a quoted string do not count, a quote that
//! is never closed is an ordinary character, and empty pieces are skipped.

/// The pieces of `text` between `separator`s outside quoted strings, trimmed, without empty ones.
pub fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut pieces = Pieces { rest: Some(text), separator, quotes: true };
    std::iter::from_fn(move || pieces.next_piece()).filter(|piece| !piece.is_empty())
}

/// The text before the first `separator` outside quoted strings, as it is.
pub fn split_first(text: &str, separator: char) -> &str {
    let at = Pieces { rest: None, separator, quotes: true }.next_separator(text);
    at.and_then(|at| text.get(..at)).unwrap_or(text)
}

/// `name=value` or `name`: the name and the raw value (still quoted), both trimmed.
pub fn pair(piece: &str) -> (&str, Option<&str>) {
    match piece.split_once('=') {
        Some((name, value)) => (trim(name), Some(trim(value))),
        None => (piece, None),
    }
}

/// The text inside a quoted string. Backslashes are left alone: no value that Web Push puts in quotes has one.
pub fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
}

/// The value of the first parameter called `name` (in any case) among the `;`-separated ones of `entry`.
pub fn get<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    split(entry, ';').map(pair).find_map(|(n, value)| value.filter(|_| n.eq_ignore_ascii_case(name))).map(unquote)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

struct Pieces<'a> {
    rest: Option<&'a str>,
    separator: char,
    /// Whether quotes still mean something: after one that is never closed none does, which also keeps the work linear.
    quotes: bool,
}

impl<'a> Pieces<'a> {
    fn next_piece(&mut self) -> Option<&'a str> {
        let current = self.rest?;
        let Some(at) = self.next_separator(current) else {
            self.rest = None;
            return Some(trim(current));
        };
        self.rest = current.get(at + self.separator.len_utf8()..);
        current.get(..at).map(trim)
    }

    fn next_separator(&mut self, text: &str) -> Option<usize> {
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == self.separator {
                return Some(at);
            }
            if c == '"' && self.quotes {
                let mut ahead = chars.clone();
                self.quotes = close_quote(&mut ahead);
                chars = if self.quotes { ahead } else { chars };
            }
        }
        None
    }
}

/// Moves past the closing quote, if there is one.
fn close_quote(chars: &mut std::str::CharIndices<'_>) -> bool {
    while let Some((_, c)) = chars.next() {
        match c {
            '"' => return true,
            '\\' => _ = chars.next(),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str) -> Vec<&str> {
        split(text, ',').collect()
    }

    #[test]
    fn separators_inside_quotes_do_not_count() {
        assert_eq!(pieces(r#"a="1,2" , ,b;c="x\",y",d"#), [r#"a="1,2""#, r#"b;c="x\",y""#, "d"]);
    }

    #[test]
    fn a_quote_that_is_never_closed_hides_nothing() {
        assert_eq!(pieces(r#"a="1,b=2"#), [r#"a="1"#, "b=2"]);
        assert_eq!(pieces(r#"a="1\",b=2"#), [r#"a="1\""#, "b=2"]);
    }

    #[test]
    fn a_parameter_is_found_by_name_in_any_case_quoted_or_not() {
        let entry = r#"keyid=p256dh; DH = "BNoR=="; flag"#;
        assert_eq!(get(entry, "dh"), Some("BNoR=="));
        assert_eq!(get(entry, "keyid"), Some("p256dh"));
        assert_eq!(get(entry, "flag"), None);
        assert_eq!(get(entry, "p256ecdsa"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_pieces_are_parts_of_it(text in r#"([a-z=;, "\\]|\PC){0,80}"#) {
            for piece in split(&text, ';') {
                prop_assert!(text.contains(piece));
                let (name, value) = pair(piece);
                prop_assert!(piece.starts_with(name) && piece.ends_with(value.unwrap_or("")));
            }
            let _ = get(&text, "a");
        }
    }
}
