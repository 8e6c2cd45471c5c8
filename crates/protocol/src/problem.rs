//! The body of an error answer: JSON in the form of Mozilla's push service, with a hint.

use std::borrow::Cow;

use http::StatusCode;
use serde::{Deserialize, Serialize};

/// The numbers behind `errno`. Below 1000 they are Mozilla's, used where the meaning is the same, because senders
/// already know them; from 1000 up they are ours.
pub mod errno {
    /// 404: the URL is not one of this service's, or names something that is gone.
    pub const UNKNOWN_URL: u16 = 102;
    /// 413: the body is longer than the service accepts.
    pub const TOO_LARGE: u16 = 104;
    /// 404 or 410: the subscription ended.
    pub const GONE: u16 = 106;
    /// 401 or 403: the VAPID credentials are missing or wrong.
    pub const AUTHENTICATION: u16 = 109;
    /// 400: the headers of the encryption are missing, repeated or wrong.
    pub const ENCRYPTION_HEADERS: u16 = 110;
    /// 400: no TTL.
    pub const TTL_MISSING: u16 = 111;
    /// 400: the Topic is not 1 to 32 characters of the base64url alphabet.
    pub const TOPIC: u16 = 113;
    /// 400: the TTL is not a number of seconds.
    pub const TTL_INVALID: u16 = 114;
    /// 503, 429: the service cannot accept it now; back off.
    pub const UNAVAILABLE: u16 = 201;

    /// 400: the request could not be understood for a reason that has no number of its own.
    pub const BAD_REQUEST: u16 = 1000;
    /// 405: resources of this kind do not have the method.
    pub const METHOD: u16 = 1001;
    /// 400: the Urgency is unknown or repeated.
    pub const URGENCY: u16 = 1002;
    /// 400: the options of a new subscription are not what RFC 8292 s4.1 describes.
    pub const SUBSCRIBE_OPTIONS: u16 = 1003;
    /// 400: one key serves both for the signature and for the encryption (RFC 8292 s3.2).
    pub const KEY_REUSE: u16 = 1004;
    /// 429: the mailbox of the agent is full.
    pub const QUOTA: u16 = 1005;
    /// 400, 406, 421 or 426: this transport cannot carry what was asked for.
    pub const TRANSPORT: u16 = 1006;
    /// 408: the request took too long to arrive.
    pub const TIMEOUT: u16 = 1007;
    /// 429: the subscription or the application server key is used too often.
    pub const RATE: u16 = 1009;
    /// 400: the receipt subscription that was named is not known.
    pub const RECEIPTS: u16 = 1010;
    /// 429: the receipt subscription has as many receipts as it may have.
    pub const RECEIPTS_FULL: u16 = 1011;
    /// 401 or 410: the credential of a wake stream is missing, wrong or outdated.
    pub const WAKE_CREDENTIAL: u16 = 1012;
    /// 429: the token does not fit the time, and the service's own clock may be the reason.
    pub const CLOCK: u16 = 1013;
    /// 429: the service has no room on its disk, or holds as much as its operator allows.
    pub const STORE_FULL: u16 = 1014;

    /// All of them, in ascending order.
    pub const ALL: [u16; 23] = [
        UNKNOWN_URL,
        TOO_LARGE,
        GONE,
        AUTHENTICATION,
        ENCRYPTION_HEADERS,
        TTL_MISSING,
        TOPIC,
        TTL_INVALID,
        UNAVAILABLE,
        BAD_REQUEST,
        METHOD,
        URGENCY,
        SUBSCRIBE_OPTIONS,
        KEY_REUSE,
        QUOTA,
        TRANSPORT,
        TIMEOUT,
        RATE,
        RECEIPTS,
        RECEIPTS_FULL,
        WAKE_CREDENTIAL,
        CLOCK,
        STORE_FULL,
    ];
}

/// One error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The status of the answer, repeated as `code`.
    pub status: StatusCode,
    /// What went wrong, as a number of [`errno`].
    pub errno: u16,
    /// What went wrong, in a sentence. Never contains a capability URL, a key or anything of the payload. It may name a
    /// claim of the sender's own token: the answer goes to that sender only.
    pub message: Cow<'static, str>,
    /// What the reader can do about it, in a sentence; empty if there is nothing.
    pub hint: Cow<'static, str>,
    /// When trying again makes sense; also the value of the Retry-After field, in seconds.
    pub retry_after_secs: Option<u32>,
}

/// Where a push service explains its errors; `more_info` of the body links to it.
pub const ERRORS_PATH: &str = "/errors";

/// The media type of [`Problem::to_json`].
pub const CONTENT_TYPE: &str = "application/json";

impl Problem {
    /// A problem without a hint.
    pub fn new(status: StatusCode, errno: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, errno, message: message.into(), hint: Cow::Borrowed(""), retry_after_secs: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// The same with a time to wait before trying again.
    #[must_use]
    pub fn with_retry_after(self, secs: u32) -> Self {
        Self { retry_after_secs: Some(secs), ..self }
    }

    /// The body of the answer. `origin` is that of the service, for the absolute URI of the explanation.
    pub fn to_json(&self, origin: &str) -> Vec<u8> {
        let body = Body {
            code: self.status.as_u16(),
            errno: self.errno,
            error: self.status.canonical_reason().unwrap_or("Error"),
            message: &self.message,
            hint: &self.hint,
            more_info: format!("{origin}{ERRORS_PATH}#{}", self.errno),
        };
        serde_json::to_vec(&body).expect("numbers and text always have a JSON form")
    }
}

/// The number of an error answer with this `body`, if it is in the form of [`Problem`] and for this status. `None`: it is
/// not a push service's own answer. A proxy answers 404 too while the service behind it is away.
pub fn errno_in(status: StatusCode, body: &[u8]) -> Option<u16> {
    #[derive(Deserialize)]
    struct Numbers {
        code: u16,
        errno: u16,
    }
    let numbers = serde_json::from_slice::<Numbers>(body).ok()?;
    (numbers.code == status.as_u16()).then_some(numbers.errno)
}

#[derive(Serialize)]
struct Body<'a> {
    code: u16,
    errno: u16,
    error: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    hint: &'a str,
    more_info: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_names_code_errno_reason_message_and_hint() {
        let problem = Problem::new(StatusCode::BAD_REQUEST, errno::TTL_MISSING, "There is no TTL.")
            .with_hint("Send \"TTL: 60\".")
            .with_retry_after(3);
        let json: serde_json::Value = serde_json::from_slice(&problem.to_json("https://push.example")).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "code": 400, "errno": 111, "error": "Bad Request",
                "message": "There is no TTL.", "hint": "Send \"TTL: 60\".",
                "more_info": "https://push.example/errors#111"
            })
        );
    }

    #[test]
    fn the_number_is_read_from_our_form_only_and_for_the_same_status() {
        let gone = Problem::new(StatusCode::NOT_FOUND, errno::UNKNOWN_URL, "Unknown.").to_json("https://push.example");
        assert_eq!(errno_in(StatusCode::NOT_FOUND, &gone), Some(errno::UNKNOWN_URL));
        assert_eq!(errno_in(StatusCode::GONE, &gone), None);
        let others: [&[u8]; 6] =
            [b"", b"404 page not found\n", b"{}", br#"{"code":404}"#, br#"{"error":"Not Found","code":404}"#, b"\xff"];
        for body in others {
            assert_eq!(errno_in(StatusCode::NOT_FOUND, body), None);
        }
    }

    #[test]
    fn no_hint_leaves_no_member_behind() {
        let problem = Problem::new(StatusCode::NOT_FOUND, errno::UNKNOWN_URL, "Unknown.");
        assert!(!String::from_utf8(problem.to_json("https://push.example")).unwrap().contains("hint"));
    }
}
