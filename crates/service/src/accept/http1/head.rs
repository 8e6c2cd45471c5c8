//! Where the head of an HTTP/1.0 request ends: hyper does not report what follows it.

/// How far the head of a request was read. A line may end without CR (RFC 9112 s2.2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Head {
    /// Before the request line; empty lines may come first.
    #[default]
    Start,
    /// After this byte of the request line.
    RequestLine(u8),
    /// In a line after the request line.
    Field { is_empty: bool },
    /// At its end.
    End,
    /// It is not HTTP/1.0, and not looked at.
    Other,
}

impl Head {
    /// Reads on; whether bytes have followed the head.
    pub(super) fn is_followed(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            *self = match (*self, byte) {
                (Self::Other, _) => return false,
                (Self::End, _) => return true,
                (same, b'\r') | (same @ Self::Start, b'\n') => same,
                // Of the version.
                (Self::RequestLine(b'0'), b'\n') => Self::Field { is_empty: true },
                (Self::RequestLine(_), b'\n') => Self::Other,
                (Self::Start | Self::RequestLine(_), last) => Self::RequestLine(last),
                (Self::Field { is_empty: true }, b'\n') => Self::End,
                (Self::Field { .. }, byte) => Self::Field { is_empty: byte == b'\n' },
            };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_an_http_1_0_head_is_seen_however_it_is_split() {
        for (sent, follows) in [
            ("POST / HTTP/1.0\r\nTTL: 60\r\n\r\nhello\n", 28),
            ("POST / HTTP/1.0\r\n\r\n\n", 19),
            ("\r\n\r\nPOST / HTTP/1.0\nTTL: 60\n\n\r\n\r\n", 29),
            ("POST / HTTP/1.0\r\nTTL: 60\r\n\r\n", usize::MAX),
            ("POST / HTTP/1.1\r\nTTL: 60\r\n\r\nhello\n", usize::MAX),
        ] {
            for split in 0..=sent.len() {
                let (mut head, (first, second)) = (Head::default(), sent.as_bytes().split_at(split));
                let seen = (head.is_followed(first), head.is_followed(second));
                assert_eq!(seen.0, split > follows, "{sent:?} at {split}");
                assert_eq!(seen.1, follows < sent.len() && split < sent.len(), "{sent:?} at {split}");
            }
        }
    }
}
