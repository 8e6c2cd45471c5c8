//! The HTTP half of Chromium's protocol: whether check-in, registration and the paths of its endpoints reach the service.
//! A proxy that routes by path may know all others and not these. Nothing is stored: the device does not exist.

use http::HeaderMap;

use super::connector::Connector;
use super::http1::ask;
use super::report::Finding;

/// A check-in of device 1 with secret 1 (fields 2 and 13), which does not exist.
const CHECK_IN: &[u8] = &[0x10, 1, 0x69, 1, 0, 0, 0, 0, 0, 0, 0, 0x70, 3];

/// Method, path, body, and what the answer of the service begins with or has in it.
const QUESTIONS: [(&str, &str, &[u8], &str, &str); 5] = [
    ("POST", "/checkin", CHECK_IN, "HTTP/1.1 401", "\"errno\":109"),
    ("POST", "/c2dm/register3", b"app=doorbell-doctor", "HTTP/1.1 401", "Error=AUTHENTICATION_FAILED"),
    ("GET", "/fcm/send/x", b"", "HTTP/1.1 405", "allow: post"),
    ("GET", "/wp/x", b"", "HTTP/1.1 405", "allow: post"),
    ("GET", "/preprod/wp/x", b"", "HTTP/1.1 405", "allow: post"),
];

/// A check-in of a browser that is no device yet (field 14, the version of the questions). Nothing is stored for it.
const FIRST_CHECK_IN: &[u8] = &[0x70, 3];

/// The setting of the answer that names the port of the stream, up to the length of its value (field 2).
const PORT: &str = "gcm_secure_port\x12";

/// The step. The stream is examined at `port`.
pub(super) async fn check(connector: &Connector, port: u16) -> Finding {
    for (method, path, body, status, mark) in QUESTIONS {
        let fix =
            format!("let the proxy pass {path} on to `doorbell serve`, and see that the setting `chromium` is on");
        match ask(connector, method, path, &HeaderMap::new(), body).await {
            Ok(answer) if answer.starts_with(status) && answer.to_lowercase().contains(&mark.to_lowercase()) => {}
            Ok(answer) => {
                let line = answer.split_once('\n').map_or(answer.as_str(), |(line, _)| line);
                let status: String = line.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect();
                return Finding::failed(format!("{method} {path} is not answered by the service ({status})"), fix);
            }
            Err(error) => return Finding::failed(format!("{method} {path} is not answered: {error}"), fix),
        }
    }
    let first = ask(connector, "POST", "/checkin", &HeaderMap::new(), FIRST_CHECK_IN).await;
    match first.ok().as_deref().and_then(named_port) {
        Some(named) if named != port => Finding::warning(
            format!("a check-in names port {named} for the stream of messages, which is examined at port {port}"),
            format!(
                "if Chromium reaches the stream at port {named}, examine it there with --mcs; otherwise start the service \
                 with --chromium-mcs-port {port}"
            ),
        ),
        // Without a port the service has no room for a further browser now, and names it to those that it has.
        _ => Finding::ok("check-in, registration and Chromium's endpoints are answered"),
    }
}

/// The port of the stream in the answer to a check-in.
fn named_port(answer: &str) -> Option<u16> {
    let (_, value) = answer.split_once(PORT)?;
    let length = value.bytes().next()?;
    value.get(1..1 + usize::from(length))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_stream_is_read_from_the_answer_and_nothing_else_is_one() {
        assert_eq!(named_port("HTTP/1.1 200 OK\r\n\r\n\n\x0fgcm_secure_port\x12\x045228*\x06"), Some(5228));
        for none in ["", "\x04522", "\x0599999", "\x03abc"] {
            assert_eq!(named_port(&format!("{PORT}{none}")), None, "{none:?}");
        }
        assert_eq!(named_port("HTTP/1.1 429 \r\n\r\n"), None);
    }
}
