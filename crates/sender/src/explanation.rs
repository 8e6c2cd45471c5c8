//! The reason that a push service gives for an error, in a form that is safe to show: it comes from a stranger.

use http::StatusCode;
use serde::Deserialize;

use crate::endpoint::Endpoint;
use crate::vendor::Vendor;

/// How much of an answer's body is read, in bytes.
pub const EXPLANATION_MAX: usize = 8 * 1024;

/// How much of it is shown, in characters.
const SHOWN_MAX: usize = 300;

/// What sent an error answer, by its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Any server: the body is empty.
    #[default]
    Unknown,
    /// A push service: its error body has an `errno` and the status as `code` (Mozilla, Doorbell), or a `reason` (Apple).
    PushService,
    /// Any server, a proxy for example: the body is text or JSON, and not of a form that only push services have.
    Other,
    /// A web server: the body is a web page.
    WebPage,
}

/// The number and the text of an error body, if it has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What sent it, as far as its form shows.
    pub source: Source,
    /// `errno` of the error bodies of Mozilla and Doorbell.
    pub errno: Option<u32>,
    /// What is wrong, on one line, without control characters. Empty if the body has no reason.
    pub message: String,
    /// What to do about it; empty if the body has no hint.
    pub hint: String,
}

/// The members that push services use: Mozilla and Doorbell `code`, `errno`, `message`, `hint`; Apple `reason`.
#[derive(Deserialize)]
struct Wire {
    code: Option<serde_json::Value>,
    errno: Option<u32>,
    message: Option<String>,
    hint: Option<String>,
    reason: Option<String>,
}

impl Explanation {
    /// Reads the body of an error answer of `endpoint`: JSON of a known shape, or plain text. An HTML page, as proxies send
    /// it, reads as empty.
    pub fn read(endpoint: &Endpoint, status: StatusCode, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(EXPLANATION_MAX)]);
        match serde_json::from_str::<Wire>(&text) {
            Ok(wire) => Self {
                source: match &wire {
                    // Other servers use `reason` too, and `errno` with other numbers.
                    Wire { reason: Some(_), .. } if endpoint.vendor() == Some(Vendor::Apple) => Source::PushService,
                    Wire { errno: Some(_), code: Some(code), .. } if *code == status.as_u16() => Source::PushService,
                    _ => Source::Other,
                },
                errno: wire.errno,
                message: wire.message.or(wire.reason).map_or_else(String::new, |message| shown(&message)),
                hint: wire.hint.map_or_else(String::new, |hint| shown(&hint)),
            },
            Err(_) if text.trim_start().starts_with('<') => Self { source: Source::WebPage, ..Self::default() },
            Err(_) if text.trim().is_empty() => Self::default(),
            Err(_) => Self { source: Source::Other, message: shown(&text), ..Self::default() },
        }
    }

    /// Whether a 404 or 410 with this body shows that what `endpoint` names has ended. A proxy answers 404 too while the
    /// push service behind it is away.
    pub fn proves_gone(&self, endpoint: &Endpoint, status: StatusCode) -> bool {
        match self.source {
            // No one but the vendor stands in front of a vendor's service, and Google's 404 is a page.
            _ if endpoint.vendor().is_some() => true,
            Source::PushService => true,
            // Other servers seldom answer 410.
            Source::Unknown | Source::Other => status == StatusCode::GONE,
            Source::WebPage => false,
        }
    }
}

/// One line, without control characters (a terminal would execute them), not too long.
fn shown(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let words: String = text.chars().map(clean).take(SHOWN_MAX * 4).collect();
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN: &str = "https://push.example/p/x";

    fn read_at(endpoint: &str, body: &[u8]) -> Explanation {
        Explanation::read(&Endpoint::parse(endpoint).unwrap(), StatusCode::NOT_FOUND, body)
    }

    fn read(body: &[u8]) -> Explanation {
        read_at(OWN, body)
    }

    #[test]
    fn a_404_ends_something_only_where_a_push_service_sent_it() {
        let (own, vendor) = (OWN, "https://updates.push.services.mozilla.com/wpush/v2/x");
        for (endpoint, status, body, proves) in [
            (own, StatusCode::NOT_FOUND, r#"{"code":404,"errno":102}"#, true),
            (own, StatusCode::NOT_FOUND, "", false),
            (own, StatusCode::NOT_FOUND, "404 page not found", false),
            (own, StatusCode::GONE, "", true),
            (own, StatusCode::GONE, "<html>", false),
            (vendor, StatusCode::NOT_FOUND, "", true),
            (vendor, StatusCode::NOT_FOUND, "<html>", true),
            ("https://fcm.googleapis.com/fcm/send/x", StatusCode::NOT_FOUND, "<html>", true),
            (own, StatusCode::NOT_FOUND, r#"{"kind":"Status","reason":"NotFound","code":404}"#, false),
            (own, StatusCode::NOT_FOUND, r#"{"errno":102}"#, false),
            (own, StatusCode::NOT_FOUND, r#"{"errno":102,"code":410}"#, false),
        ] {
            let endpoint = Endpoint::parse(endpoint).unwrap();
            let explanation = Explanation::read(&endpoint, status, body.as_bytes());
            assert_eq!(explanation.proves_gone(&endpoint, status), proves, "{status} {body}");
        }
    }

    #[test]
    fn the_error_bodies_of_push_services_are_understood() {
        let ours = br#"{"code":400,"errno":111,"error":"Bad Request","message":"There is no TTL.","hint":"Add one."}"#;
        let ours = read(ours);
        assert_eq!(
            (ours.errno, ours.message.as_str(), ours.hint.as_str()),
            (Some(111), "There is no TTL.", "Add one.")
        );
        assert_eq!(read(br#"{"reason":"BadJwtToken"}"#).message, "BadJwtToken");
        assert_eq!(read(b"push subscription has unsubscribed\n").message, "push subscription has unsubscribed");
        let page = read(b" <html><body>502</body></html>");
        assert_eq!(page, Explanation { source: Source::WebPage, ..Explanation::default() });
        assert_eq!(read(b""), Explanation::default());
    }

    #[test]
    fn only_a_body_that_push_services_have_is_one_of_a_push_service() {
        for (body, source) in [
            (&br#"{"code":404,"errno":102,"message":"Gone."}"#[..], Source::PushService),
            (br#"{"reason":"Unregistered"}"#, Source::Other),
            (br#"{"message":"no Route matched with those values"}"#, Source::Other),
            (b"404 page not found\n", Source::Other),
            (b"[]", Source::Other),
            (b"", Source::Unknown),
            (b"\n<!DOCTYPE html>", Source::WebPage),
        ] {
            assert_eq!(read(body).source, source, "{}", String::from_utf8_lossy(body));
        }
        let apple = read_at("https://web.push.apple.com/x", br#"{"reason":"Unregistered"}"#);
        assert_eq!(apple.source, Source::PushService);
    }

    #[test]
    fn nothing_shown_can_drive_a_terminal_or_fill_it() {
        let hostile = [&b"\x1b[2J\x07 first\nsecond "[..], &[b'x'; 9000]].concat();
        let shown = read(&hostile).message;
        assert!(shown.starts_with("[2J first second xxx") && shown.chars().count() == SHOWN_MAX);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>) {
            prop_assert!(!read(&body).message.contains(char::is_control));
        }
    }
}
