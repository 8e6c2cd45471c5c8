//! The PROXY protocol: the header in which a proxy that passes TCP through names its client (HAProxy's specification,
//! "The PROXY protocol, versions 1 & 2"). It stands before everything else on a connection, also before TLS.
//!
//! The bytes after a header belong to another protocol, so a reader must not take them: [`parse`] reports where the
//! header ends, and of a part of a header it is known that all its bytes belong to it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// The longest line of version 1, with its end.
const LINE_MAX: usize = 107;
/// The first bytes of version 1.
const LINE_START: &[u8] = b"PROXY ";
/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What is before the addresses in version 2: the signature, version and command, family and transport, the length.
const FIXED: usize = 16;
/// The most bytes that may follow them. Addresses have 216 at most; the rest are extensions (TLVs), which are ignored.
const REST_MAX: usize = 4096;

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A header of `length` bytes.
    Whole {
        /// The client; `None` where the proxy names none: for its own checks (LOCAL), and for what has no IP address.
        client: Option<SocketAddr>,
        /// Where the header ends.
        length: usize,
    },
    /// The beginning of a header, to which all the bytes belong.
    Partial,
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProxyHeaderError {
    /// The connection begins with something else.
    #[error("there is no PROXY protocol header")]
    Missing,
    /// A line that version 1 does not have.
    #[error("the PROXY protocol header of version 1 is malformed")]
    Line,
    /// A version that is not 2, with the signature of version 2.
    #[error("the PROXY protocol header has an unknown version")]
    Version,
    /// A command, address family or transport that version 2 does not have.
    #[error("the PROXY protocol header of version 2 is malformed")]
    Unassigned,
    /// A length below that of the addresses.
    #[error("the PROXY protocol header is too short for its addresses")]
    Short,
    /// A length above the bound.
    #[error("the PROXY protocol header is longer than {REST_MAX} bytes")]
    Long,
}

/// Whether the bytes begin with a header, or with so much of one that they are nothing else.
#[must_use]
pub fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(LINE_START) || bytes.starts_with(SIGNATURE)
}

/// Reads the header at the beginning of a connection, of either version.
///
/// # Errors
/// As soon as the bytes show that no header, or none that can be used, begins here.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    if bytes.starts_with(SIGNATURE) {
        parse_binary(bytes)
    } else if bytes.starts_with(LINE_START) {
        parse_line(bytes)
    } else if SIGNATURE.starts_with(bytes) || LINE_START.starts_with(bytes) {
        Ok(Parsed::Partial)
    } else {
        Err(ProxyHeaderError::Missing)
    }
}

fn parse_line(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let within = bytes.get(..LINE_MAX).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        return if within.len() == LINE_MAX { Err(ProxyHeaderError::Line) } else { Ok(Parsed::Partial) };
    };
    let line = within.get(..end).expect("an end is inside");
    let line = std::str::from_utf8(line).map_err(|_| ProxyHeaderError::Line)?;
    let client = client_of(line).ok_or(ProxyHeaderError::Line)?;
    Ok(Parsed::Whole { client, length: end + 2 })
}

/// The client in a line without its end. `Some(None)` if it names none.
fn client_of(line: &str) -> Option<Option<SocketAddr>> {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        // Whatever follows is to be ignored.
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", family, source, destination, source_port, destination_port] => {
            let address = |text: &str| match family {
                "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
                "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
                _ => None,
            };
            let source = SocketAddr::new(address(source)?, port(source_port)?);
            address(destination).zip(port(destination_port))?;
            Some(Some(source))
        }
        _ => None,
    }
}

fn port(text: &str) -> Option<u16> {
    let has_digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| has_digits_only)
}

fn parse_binary(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let at = |index: usize| bytes.get(index).copied();
    let Some(version) = at(12) else { return Ok(Parsed::Partial) };
    let is_local = match version {
        0x20 => true,
        0x21 => false,
        version if version >> 4 == 2 => return Err(ProxyHeaderError::Unassigned),
        _ => return Err(ProxyHeaderError::Version),
    };
    let Some((family, high, low)) = at(13).and_then(|family| Some((family, at(14)?, at(15)?))) else {
        return Ok(Parsed::Partial);
    };
    let rest_length = usize::from(u16::from_be_bytes([high, low]));
    if rest_length > REST_MAX {
        return Err(ProxyHeaderError::Long);
    }
    // The family of a connection of the proxy's own does not count.
    let addresses_length = match (family >> 4, family & 0xf) {
        _ if is_local => 0,
        (0, 0..=2) => 0,
        (1, 0..=2) => 12,
        (2, 0..=2) => 36,
        (3, 0..=2) => 216,
        _ => return Err(ProxyHeaderError::Unassigned),
    };
    if rest_length < addresses_length {
        return Err(ProxyHeaderError::Short);
    }
    let length = FIXED + rest_length;
    let Some(rest) = bytes.get(FIXED..length) else { return Ok(Parsed::Partial) };
    let client = match addresses_length {
        12 => v4(rest),
        36 => v6(rest),
        _ => None,
    };
    Ok(Parsed::Whole { client, length })
}

/// Source and destination, then their ports.
fn v4(rest: &[u8]) -> Option<SocketAddr> {
    let address: [u8; 4] = rest.get(..4)?.try_into().ok()?;
    let port: [u8; 2] = rest.get(8..10)?.try_into().ok()?;
    Some((address, u16::from_be_bytes(port)).into())
}

fn v6(rest: &[u8]) -> Option<SocketAddr> {
    let address: [u8; 16] = rest.get(..16)?.try_into().ok()?;
    let port: [u8; 2] = rest.get(32..34)?.try_into().ok()?;
    Some((address, u16::from_be_bytes(port)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(client: Option<&str>, length: usize) -> Result<Parsed, ProxyHeaderError> {
        Ok(Parsed::Whole { client: client.map(|client| client.parse().unwrap()), length })
    }

    /// A header of version 2.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x34, 0x01, 0xbb];

    /// Every part of it is a part, and what follows it is not its own.
    fn is_read_in_parts(header: &[u8], client: Option<&str>) {
        for end in 0..header.len() {
            assert_eq!(parse(&header[..end]), Ok(Parsed::Partial), "{end} bytes of {header:02x?}");
        }
        let followed = [header, b"\x16\x03\x01"].concat();
        assert_eq!(parse(&followed), whole(client, header.len()), "{header:02x?}");
    }

    #[test]
    fn version_1_names_the_client_or_none() {
        is_read_in_parts(b"PROXY TCP4 192.0.2.1 198.51.100.1 4660 443\r\n", Some("192.0.2.1:4660"));
        is_read_in_parts(b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", Some("[2001:db8::1]:0"));
        is_read_in_parts(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", Some("[::ffff:192.0.2.1]:1"));
        is_read_in_parts(b"PROXY UNKNOWN\r\n", None);
        is_read_in_parts(b"PROXY UNKNOWN ffff::1 whatever\r\n", None);
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.1 4660\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 4660 443 \r\n",
            "PROXY  TCP4 192.0.2.1 198.51.100.1 4660 443\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.1 4660 443\r\n",
            "PROXY TCP4 2001:db8::1 ::1 4660 443\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 4660 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +466 443\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 4660 443\r\n",
            "PROXY \r\n",
            "PROXY TCP4\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(ProxyHeaderError::Line), "{line}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_at_its_bound() {
        let line = format!("PROXY UNKNOWN {}", "x".repeat(LINE_MAX));
        assert_eq!(parse(&line.as_bytes()[..LINE_MAX - 1]), Ok(Parsed::Partial));
        assert_eq!(parse(&line.as_bytes()[..LINE_MAX]), Err(ProxyHeaderError::Line));
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX - 16));
        assert_eq!(parse(longest.as_bytes()), whole(None, LINE_MAX));
    }

    #[test]
    fn version_2_names_the_client_and_its_extensions_are_passed_over() {
        is_read_in_parts(&binary(0x21, 0x11, &IPV4), Some("192.0.2.1:4660"));
        let with_extension = [&IPV4[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        is_read_in_parts(&binary(0x21, 0x11, &with_extension), Some("192.0.2.1:4660"));
        let mut ipv6 = [0; 36];
        ipv6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        ipv6[33] = 7;
        is_read_in_parts(&binary(0x21, 0x21, &ipv6), Some("[2001:db8::]:7"));
    }

    #[test]
    fn version_2_may_name_no_client() {
        is_read_in_parts(&binary(0x20, 0x00, &[]), None);
        is_read_in_parts(&binary(0x20, 0x11, &IPV4), None);
        is_read_in_parts(&binary(0x20, 0xff, &[1]), None);
        is_read_in_parts(&binary(0x21, 0x00, &[]), None);
        is_read_in_parts(&binary(0x21, 0x31, &[b'/'; 216]), None);
    }

    #[test]
    fn what_version_2_does_not_have_is_refused_before_the_rest_arrives() {
        let refused = |header: &[u8]| parse(header).unwrap_err();
        assert_eq!(refused(&[&SIGNATURE[..], &[0x31]].concat()), ProxyHeaderError::Version);
        assert_eq!(refused(&[&SIGNATURE[..], &[0x22]].concat()), ProxyHeaderError::Unassigned);
        for family in [0x41, 0x13, 0xf0] {
            assert_eq!(refused(&binary(0x21, family, &[0; 216])), ProxyHeaderError::Unassigned, "{family:x}");
        }
        for (family, length) in [(0x11, 11), (0x21, 35), (0x31, 215)] {
            assert_eq!(refused(&binary(0x21, family, &vec![0; length])), ProxyHeaderError::Short, "{family:x}");
        }
        assert_eq!(refused(&[&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat()), ProxyHeaderError::Long);
        is_read_in_parts(&binary(0x21, 0x00, &vec![0; REST_MAX]), None);
    }

    #[test]
    fn another_protocol_has_no_header() {
        for other in [
            &b"\x16\x03\x01"[..],
            b"GET / HTTP/1.1\r\n",
            b"PRI * HTTP/2.0",
            b"\r\n\r\nGET /",
            b"\x29\x02",
            b"proxy TCP4",
        ] {
            assert_eq!(parse(other), Err(ProxyHeaderError::Missing), "{other:02x?}");
            assert!(!begins(other));
        }
        assert!(begins(b"PROXY TCP4 1") && begins(&binary(0x21, 0x11, &IPV4)) && !begins(b"PROX"));
    }
}
