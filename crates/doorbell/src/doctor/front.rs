//! `GET /`: whether a Doorbell answers, and its clock.

use std::io;
use std::time::UNIX_EPOCH;

use doorbell_sender::clock;
use http::HeaderMap;

use super::connector::Connector;
use super::http1::{self, ask};
use super::rejection::AWAY;
use super::report::Finding;
use super::target::Target;

/// Beyond this, tokens are rejected and messages expire early or late; clocks with NTP differ by less than a second.
const SKEW_MAX_SECS: i64 = 60;

/// The text that identifies a Doorbell.
const GREETING: &str = "Doorbell, a Web Push service";

/// The answer.
pub(super) struct Front {
    text: String,
    /// This machine's time when the answer came, in seconds.
    asked_at_secs: i64,
}

/// Sends the request.
pub(super) async fn get(connector: &Connector) -> io::Result<Front> {
    let text = ask(connector, "GET", "/", &HeaderMap::new(), b"").await?;
    Ok(Front { text, asked_at_secs: clock::now().as_secs() })
}

impl Front {
    /// The step of the clock (RFC 9110 s6.6.1).
    pub(super) fn clock(&self) -> Finding {
        let Some(date) = self.field("date").and_then(|date| httpdate::parse_http_date(date).ok()) else {
            let text = "the answer has no Date, so that the clocks cannot be compared";
            return Finding::warning(text, "let the proxy pass the Date field");
        };
        // A date before 1970 is as wrong as 1970.
        let there = date.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        let ahead = there - self.asked_at_secs;
        if ahead.abs() <= SKEW_MAX_SECS {
            return Finding::ok(format!("the service's clock and this machine's differ by {} s", ahead.abs()));
        }
        let which = if ahead > 0 { "ahead of" } else { "behind" };
        Finding::failed(
            format!("the service's clock is {} s {which} this machine's", ahead.abs()),
            "set the wrong one by NTP (`timedatectl set-ntp true`; `timedatectl` compares): VAPID tokens are rejected \
             and messages expire too early or too late",
        )
    }

    /// The step of the greeting.
    pub(super) fn greeting(&self, target: &Target) -> Finding {
        if !self.text.contains(GREETING) {
            let fix = "let the proxy pass every path of this host to `doorbell serve`: URLs begin at the root";
            let (what, fix) = match http1::status(&self.text) {
                Some(status @ (404 | 410)) => (format!("a {status}"), format!("{fix}. {AWAY}")),
                Some(status @ 400) => (
                    format!("a {status}"),
                    format!(
                        "{fix}. If it sends a PROXY protocol header (HAProxy: send-proxy), name its address to the service \
                         with --proxy-protocol-from, or let it send none"
                    ),
                ),
                Some(status @ 502..=504) => (
                    format!("a {status}"),
                    "start `doorbell serve`, compare its --listen with the proxy's upstream, and read the proxy's log. If \
                     the service's log has a line about connections without a PROXY protocol header, it expects one from \
                     the proxy: let the proxy send it, or remove its address from --proxy-protocol-from"
                        .to_owned(),
                ),
                Some(status) => (format!("a {status}"), fix.to_owned()),
                None => ("something that is not HTTP".to_owned(), fix.to_owned()),
            };
            return Finding::failed(format!("GET / is answered with {what} that is not Doorbell's"), fix);
        }
        let named = self.text.split_once("POST ").and_then(|(_, rest)| rest.split_once("/subscribe"));
        match named.map(|(origin, _)| origin) {
            Some(origin) if !target.serves(origin) => Finding::failed(
                format!("the service is configured for {}", shown(origin)),
                format!("start it with --public-url {}: its URLs and VAPID tokens depend on it", target.origin()),
            ),
            _ => Finding::ok("a Doorbell, which knows its own address"),
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        let head = self.text.split_once("\r\n\r\n").map_or(self.text.as_str(), |(head, _)| head);
        let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// A stranger's text, on one line.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    fn front(text: &str, asked_at_secs: i64) -> Front {
        Front { text: text.to_owned(), asked_at_secs }
    }

    #[test]
    fn clocks_may_differ_by_a_minute_in_either_direction() {
        let date = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        for (skew, verdict) in [(0, Verdict::Ok), (60, Verdict::Ok), (61, Verdict::Failed), (-3600, Verdict::Failed)] {
            assert_eq!(front(date, 784_111_777 + skew).clock().verdict, verdict, "{skew}");
        }
        assert!(front(date, 784_111_777 - 3600).clock().text.contains("3600 s ahead of"));
        assert_eq!(front("HTTP/1.1 200 OK\r\n\r\n", 0).clock().verdict, Verdict::Warning);
    }

    #[test]
    fn a_doorbell_has_its_greeting_and_must_know_its_own_address() {
        let target = Target::parse("https://push.example").unwrap();
        let greeting = |origin: &str| format!("HTTP/1.1 200 OK\r\n\r\n{GREETING}.\nwith POST {origin}/subscribe\n");
        assert_eq!(front(&greeting("https://push.example"), 0).greeting(&target).verdict, Verdict::Ok);
        let lost = front(&greeting("https://127.0.0.1:8443"), 0).greeting(&target);
        assert!(lost.advice.unwrap().contains("--public-url https://push.example:"));
        for status in ["400 Bad Request", "502 Bad Gateway"] {
            let found = front(&format!("HTTP/1.1 {status}\r\n\r\n"), 0).greeting(&target);
            assert!(found.advice.unwrap().contains("--proxy-protocol-from"), "{status}");
        }
        for (other, is_gone) in [("HTTP/1.1 404 Not Found\r\n\r\nnginx", true), ("SSH-2.0", false), ("", false)] {
            let found = front(other, 0).greeting(&target);
            assert_eq!(found.verdict, Verdict::Failed, "{other}");
            assert_eq!(found.advice.unwrap().contains("must answer 502 or 503"), is_gone, "{other}");
        }
    }
}
