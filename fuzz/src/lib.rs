//! What the fuzz targets share: how a run of bytes becomes header fields.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Each line of `data` is the value of one field called `name`. Lines that HTTP would not let through are left out.
pub fn fields(name: &'static str, data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in data.split(|&b| b == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

/// Each line of `data` is a field, `name: value`.
pub fn head(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|&b| b == b'\n') {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// A head (as [`head`] reads it), an empty line, and a body.
pub fn request(data: &[u8]) -> (HeaderMap, &[u8]) {
    match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (head(&data[..at]), &data[at + 2..]),
        None => (head(data), &[]),
    }
}
