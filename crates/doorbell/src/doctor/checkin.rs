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

/// The step.
pub(super) async fn check(connector: &Connector) -> Finding {
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
    Finding::ok("check-in, registration and Chromium's endpoints are answered")
}
