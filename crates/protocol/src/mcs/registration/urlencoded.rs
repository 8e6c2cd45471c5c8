//! `application/x-www-form-urlencoded` (the URL standard, s5.1): pairs and their escapes.

/// The name and the value of a pair, still escaped; without a `=` the value is empty.
pub(super) fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|&b| b == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[]),
    }
}

/// '+' is a space and "%41" a byte; a '%' before anything else is itself, as in the URL standard.
pub(super) fn decode(encoded: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = if byte == b'%' { after.split_first_chunk::<2>().and_then(hex) } else { None };
        match (byte, escaped) {
            (_, Some((value, after))) => {
                decoded.push(value);
                rest = after;
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    decoded
}

fn hex<'a>((digits, after): (&[u8; 2], &'a [u8])) -> Option<(u8, &'a [u8])> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let [high, low] = *digits;
    Some((digit(high)? << 4 | digit(low)?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_as_the_url_standard_has_them() {
        for (encoded, decoded) in [
            ("a+b%20c", "a b c"),
            ("%2B%2b%26", "++&"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz%+", "%zz% "),
            ("%C3%A4", "\u{e4}"),
        ] {
            assert_eq!(decode(encoded.as_bytes()), decoded.as_bytes(), "{encoded}");
        }
    }
}
