//! Builds the request that sends one message (RFC 8030 s5, RFC 8291 s4, RFC 8292 s3), without sending it.
//!
//! With another HTTP client than [`Client`](crate::client::Client) the caller has three duties: do not follow redirections,
//! connect only to addresses that an [`AddressPolicy`](crate::network::AddressPolicy) permits, and read the answer with
//! [`Answer::read`](crate::answer::Answer::read).

use bytes::Bytes;
use doorbell_protocol::ece::aes128gcm::{self, Padding};
use doorbell_protocol::ece::{EceError, PLAINTEXT_MAX};
use doorbell_protocol::headers::coding::AES128GCM;
use doorbell_protocol::headers::link::{Link, REL_PUSH_RECEIPT};
use doorbell_protocol::headers::prefer::{PREFER, Prefer};
use doorbell_protocol::headers::topic::{TOPIC, Topic};
use doorbell_protocol::headers::ttl::{TTL, Ttl};
use doorbell_protocol::headers::urgency::{URGENCY, Urgency};
use doorbell_protocol::time::UnixMs;
use doorbell_protocol::vapid::sign::SigningError;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LINK};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use thiserror::Error;

use crate::receipts::book::ReceiptBook;
use crate::subscription::Subscription;
use crate::token::Signer;

/// The longest payload, in bytes: what fits into the 4096 bytes that every push service accepts (RFC 8291 s4).
pub const PAYLOAD_MAX: usize = PLAINTEXT_MAX;

/// How to deliver a message. There is no default: only the caller knows how long the message is useful, and the defaults of
/// other libraries (zero, or four weeks) have surprised many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long the push service keeps the message (RFC 8030 s5.2). Zero: deliver it now or never.
    pub ttl: Ttl,
    /// Whether the message is worth waking a device for (RFC 8030 s5.3); `None` is normal.
    pub urgency: Option<Urgency>,
    /// A newer message with the same topic replaces this one while it waits (RFC 8030 s5.4).
    pub topic: Option<Topic>,
    /// Whether padding hides its length (RFC 8291 s7).
    pub padding: Padding,
}

impl Options {
    /// Options with this TTL: normal urgency, no topic, no padding.
    pub fn new(ttl: Ttl) -> Self {
        Self { ttl, urgency: None, topic: None, padding: Padding::None }
    }
}

/// Why a request could not be built. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The payload is longer than [`PAYLOAD_MAX`].
    #[error("the message has {0} bytes, and at most {PAYLOAD_MAX} fit")]
    TooLong(usize),
    /// The subscription was made with another key, so its push service rejects ours (RFC 8292 s4.2).
    #[error("the subscription was made with another application server key")]
    OtherKey,
    /// The encryption failed.
    #[error(transparent)]
    Encryption(EceError),
    /// The signature failed.
    #[error("signing: {0}")]
    Signing(SigningError),
}

/// Whether the application server wants a receipt for a message, and on which receipt subscription (RFC 8030 s5.1).
#[derive(Clone, Copy, Debug, Default)]
pub enum ReceiptWish<'a> {
    /// No receipt.
    #[default]
    None,
    /// A receipt on a new receipt subscription.
    New,
    /// A receipt on the receipt subscription with this URL, which the same push service made.
    On(&'a str),
    /// A receipt on the receipt subscription that the book has for this push service, otherwise on a new one, which the
    /// book then remembers.
    Book(&'a ReceiptBook),
}

/// One message, ready to send.
///
/// ```
/// use doorbell_sender::{Message, Options, ReceiptWish, Signer, Subscription, Ttl};
///
/// # fn f(subscription: &Subscription, signer: &Signer) {
/// let options = Options::new(Ttl::from_secs(3600));
/// let message = Message::new(subscription, b"It is raining", &options, signer);
/// let with_receipt = Message { receipt: ReceiptWish::New, ..message };
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The recipient.
    pub subscription: &'a Subscription,
    /// The content, not yet encrypted: at most [`PAYLOAD_MAX`] bytes.
    pub payload: &'a [u8],
    /// How to deliver it.
    pub options: &'a Options,
    /// Whose key signs it.
    pub signer: &'a Signer,
    /// Whether it asks for a receipt.
    pub receipt: ReceiptWish<'a>,
}

impl<'a> Message<'a> {
    /// A message without a receipt.
    pub const fn new(
        subscription: &'a Subscription,
        payload: &'a [u8],
        options: &'a Options,
        signer: &'a Signer,
    ) -> Self {
        Self { subscription, payload, options, signer, receipt: ReceiptWish::None }
    }
}

/// The request that sends `message` at `now`, with a fresh encryption key and salt.
///
/// # Errors
/// If the payload is too long, the subscription belongs to another signing key, or the cryptography fails.
pub fn build(message: &Message<'_>, now: UnixMs) -> Result<Request<Bytes>, RequestError> {
    let Message { subscription, payload, options, signer, receipt } = *message;
    if payload.len() > PAYLOAD_MAX {
        return Err(RequestError::TooLong(payload.len()));
    }
    if subscription.application_server_key.is_some_and(|key| key != *signer.public_key()) {
        return Err(RequestError::OtherKey);
    }
    let padding = if payload.is_empty() { at_least_one(options.padding) } else { options.padding };
    let body = aes128gcm::encrypt(payload, padding, &subscription.agent_key, &subscription.auth)
        .map_err(RequestError::Encryption)?;
    let authorization = signer.authorization(&subscription.endpoint, now).map_err(RequestError::Signing)?;
    debug_assert!(body.len() > payload.len(), "an encrypted body has a header and a tag besides the text");
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = http::Method::POST;
    request.uri_mut().clone_from(subscription.endpoint.uri());
    let headers = request.headers_mut();
    headers.insert(TTL, options.ttl.to_value());
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(AES128GCM));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(AUTHORIZATION, authorization);
    if let Some(urgency) = options.urgency {
        headers.insert(URGENCY, HeaderValue::from_static(urgency.as_str()));
    }
    if let Some(topic) = &options.topic {
        let value = HeaderValue::from_str(topic.as_str()).expect("a topic has only characters of base64url");
        headers.insert(TOPIC, value);
    }
    match receipt {
        ReceiptWish::None => {}
        ReceiptWish::New => ask_for_receipt(headers, None),
        ReceiptWish::On(receipts) => ask_for_receipt(headers, Some(receipts)),
        ReceiptWish::Book(book) => ask_for_receipt(headers, book.get(&subscription.endpoint).as_deref()),
    }
    Ok(request)
}

/// Padding of at least one byte: Chromium takes a record with neither text nor padding for a truncated one. It
/// acknowledges the message and drops it.
fn at_least_one(padding: Padding) -> Padding {
    match padding {
        Padding::None => Padding::To(1),
        Padding::To(bytes) => Padding::To(bytes.max(1)),
    }
}

/// `Prefer: respond-async`, and the receipt subscription if there is one.
fn ask_for_receipt(headers: &mut HeaderMap, receipts: Option<&str>) {
    let prefer = Prefer { respond_async: true, ..Prefer::default() };
    headers.extend(prefer.to_value().map(|value| (HeaderName::from_static(PREFER), value)));
    // A URL that no field can carry came from a caller; the push service then makes a new receipt subscription.
    let link = receipts.and_then(|receipts| Link::new(receipts, REL_PUSH_RECEIPT).to_value());
    headers.extend(link.map(|value| (LINK, value)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;
    use doorbell_protocol::ece::keys::AgentKeys;
    use doorbell_protocol::headers::coding::sender_key;
    use doorbell_protocol::message::ContentHeaders;
    use doorbell_protocol::vapid::header::Credentials;
    use doorbell_protocol::vapid::sign::SigningKey;
    use doorbell_protocol::vapid::verify::verify;

    const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);

    struct Setting {
        agent: AgentKeys,
        signer: Signer,
        subscription: Subscription,
    }

    impl Setting {
        fn new() -> Self {
            let agent = AgentKeys::generate().unwrap();
            let subscription = Subscription {
                endpoint: Endpoint::parse("https://push.example.net/p/x?y").unwrap(),
                agent_key: *agent.public_key(),
                auth: agent.auth_secret().clone(),
                expires_at: None,
                application_server_key: None,
            };
            Self { agent, signer: Signer::new(SigningKey::generate().unwrap(), None), subscription }
        }

        fn build(&self, payload: &[u8], options: &Options) -> Result<Request<Bytes>, RequestError> {
            self.build_with(payload, options, ReceiptWish::None)
        }

        fn build_with(
            &self,
            payload: &[u8],
            options: &Options,
            receipt: ReceiptWish<'_>,
        ) -> Result<Request<Bytes>, RequestError> {
            let (subscription, signer) = (&self.subscription, &self.signer);
            build(&Message { subscription, payload, options, signer, receipt }, NOW)
        }
    }

    fn minute() -> Options {
        Options::new(Ttl::from_secs(60))
    }

    #[test]
    fn a_request_has_a_ttl_one_coding_and_a_token_for_the_origin_as_8030_5_2_1_as_8291_4_3_as_8292_2_1() {
        let setting = Setting::new();
        let request = setting.build(b"ding", &minute()).unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "https://push.example.net/p/x?y");
        let headers = request.headers();
        assert_eq!(headers["ttl"], "60");
        assert_eq!(headers.get_all("content-encoding").iter().collect::<Vec<_>>(), ["aes128gcm"]);
        assert!(!headers.contains_key("urgency") && !headers.contains_key("topic"));
        let credentials = Credentials::parse(headers).unwrap().unwrap();
        verify(&credentials, &["https://push.example.net"], NOW).unwrap();
        assert_eq!(aes128gcm::decrypt(&setting.agent, request.body()).unwrap(), b"ding");
    }

    #[test]
    fn urgency_and_topic_appear_once_as_8030_5_3_1_as_8030_5_4_1() {
        let options = Options { urgency: Some(Urgency::High), topic: Some("score-1".parse().unwrap()), ..minute() };
        let request = Setting::new().build(b"", &options).unwrap();
        assert_eq!(request.headers().get_all("urgency").iter().collect::<Vec<_>>(), ["high"]);
        assert_eq!(request.headers().get_all("topic").iter().collect::<Vec<_>>(), ["score-1"]);
    }

    #[test]
    fn a_receipt_is_asked_for_with_the_receipt_subscription_that_is_known_as_8030_5_1_1() {
        let (setting, book) = (Setting::new(), ReceiptBook::new());
        let asked = |receipt| {
            let request = setting.build_with(b"", &minute(), receipt).unwrap();
            let all = |name: &str| request.headers().get_all(name).iter().cloned().collect::<Vec<_>>();
            (all("prefer"), all("link"))
        };
        let on_1 = "<https://push.example.net/r/1>;rel=\"urn:ietf:params:push:receipt\"";
        let prefer = vec![HeaderValue::from_static("respond-async")];
        let named = (prefer.clone(), vec![HeaderValue::from_static(on_1)]);
        assert_eq!(asked(ReceiptWish::None), (vec![], vec![]));
        assert_eq!(asked(ReceiptWish::New), (prefer.clone(), vec![]));
        assert_eq!(asked(ReceiptWish::Book(&book)), (prefer, vec![]));
        assert_eq!(asked(ReceiptWish::On("https://push.example.net/r/1")), named);
        book.remember(&setting.subscription.endpoint, "https://push.example.net/r/1");
        assert_eq!(asked(ReceiptWish::Book(&book)), named);
    }

    #[test]
    fn the_largest_payload_makes_4096_bytes_and_one_more_is_rejected_as_8291_4_4() {
        let setting = Setting::new();
        let body = setting.build(&[b'x'; PAYLOAD_MAX], &minute()).unwrap().into_body();
        assert_eq!(body.len(), 4096);
        let refused = setting.build(&[b'x'; PAYLOAD_MAX + 1], &minute());
        assert_eq!(refused.map(|_| ()), Err(RequestError::TooLong(PAYLOAD_MAX + 1)));
    }

    #[test]
    fn padding_makes_lengths_equal_as_8291_7_2() {
        let setting = Setting::new();
        let options = Options { padding: Padding::To(512), ..minute() };
        let length = |text: &[u8]| setting.build(text, &options).unwrap().into_body().len();
        assert_eq!(length(b"yes"), length(b"certainly not"));
    }

    #[test]
    fn an_empty_text_has_a_byte_of_padding_without_which_chromium_drops_it() {
        let setting = Setting::new();
        for padding in [Padding::None, Padding::To(0)] {
            let body = setting.build(b"", &Options { padding, ..minute() }).unwrap().into_body();
            assert_eq!(body.len(), setting.build(b"x", &minute()).unwrap().into_body().len());
            assert_eq!(aes128gcm::decrypt(&setting.agent, &body).unwrap(), b"");
        }
    }

    #[test]
    fn the_signing_key_never_encrypts_as_8292_3_2_1() {
        let setting = Setting::new();
        let (head, body) = setting.build(b"ding", &minute()).unwrap().into_parts();
        let content = ContentHeaders::from_headers(&head.headers).unwrap();
        let ecdh = sender_key(&content, &body).unwrap();
        assert_ne!(ecdh, *setting.signer.public_key().as_bytes());
        let again = setting.build(b"ding", &minute()).unwrap().into_body();
        assert_ne!(sender_key(&content, &again).unwrap(), ecdh, "a fresh key per message (AS-8291-4-2)");
    }

    #[test]
    fn a_subscription_made_with_another_key_is_not_sent_to_as_8292_4_2_1() {
        let mut setting = Setting::new();
        setting.subscription.application_server_key = Some(*setting.signer.public_key());
        assert!(setting.build(b"", &minute()).is_ok());
        setting.subscription.application_server_key = Some(*setting.agent.public_key());
        assert_eq!(setting.build(b"", &minute()).map(|_| ()), Err(RequestError::OtherKey));
    }
}
