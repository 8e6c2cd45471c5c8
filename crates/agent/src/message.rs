//! A decrypted message: matched to a subscription, and opened with its keys (RFC 8291, RFC 8188).
//!
//! Every header comes from the push service (RFC 8291 s7): a header may choose which keys are tried, and nothing more.

use std::sync::Arc;

use bytes::Bytes;
use doorbell_protocol::ece::{self, EceError};
use doorbell_protocol::headers::link::{self, REL_PUSH};
use doorbell_protocol::message::{ContentHeaders, ContentHeadersError};
use doorbell_protocol::receipt::Outcome;
use http::{HeaderMap, HeaderName, header};
use thiserror::Error;
use url::Url;

use crate::profile::Subscription;

/// A message for the app.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The subscription that it came for, by its push resource.
    pub endpoint: Url,
    /// What the application server wrote; `None` for an empty message ("tickle"), which any program that knows the
    /// endpoint could have sent.
    pub data: Option<Bytes>,
    /// The media type that the sender named. The push service could have changed it: a hint, no basis for trust.
    pub content_type: Option<String>,
}

/// A pushed response, as it was received.
pub(crate) struct Pushed {
    /// The message resource (RFC 8030 s6).
    pub(crate) uri: Url,
    /// Header fields of the promised request.
    pub(crate) promise: HeaderMap,
    /// Header fields of the response.
    pub(crate) headers: HeaderMap,
    /// Empty if it is longer than the agent reads.
    pub(crate) body: Bytes,
}

impl Pushed {
    /// The subscriptions that it is for, by their push resources (RFC 8030 s6.1); none if it names none.
    pub(crate) fn endpoints(&self) -> Vec<Url> {
        link::links(&self.promise)
            .chain(link::links(&self.headers))
            .filter(|link| link.is(REL_PUSH))
            .filter_map(|link| self.uri.join(&link.target).ok())
            .collect()
    }
}

/// Why a message never reaches the app. It is acknowledged nevertheless: another attempt would end the same way.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Discarded {
    /// It names no subscription that is held here.
    #[error("it is for a subscription that is not held here")]
    UnknownSubscription,
    /// Its content headers are repeated or too long.
    #[error("{0}")]
    Headers(#[from] ContentHeadersError),
    /// It is not encrypted, or not in a way that Web Push knows (RFC 8188 s4.1).
    #[error("it is not encrypted with aes128gcm or aesgcm")]
    Unencrypted,
    /// It does not open: cut short, altered, damaged, or meant for other keys.
    #[error("it cannot be decrypted: {0}")]
    Undecryptable(EceError),
    /// It is longer than the agent reads.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
}

impl Discarded {
    /// What its sender learns, if it asked for a receipt.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            // Nothing was tried with the keys: there are none, or the body was not read.
            Self::UnknownSubscription | Self::TooLong(_) => Outcome::Refused,
            Self::Headers(_) | Self::Unencrypted | Self::Undecryptable(_) => Outcome::Undecryptable,
        }
    }
}

/// Opens `pushed` with the keys of the subscription that it came for, one of `subscriptions`.
pub(crate) fn open(pushed: &Pushed, subscriptions: &[Arc<Subscription>]) -> Result<Message, Discarded> {
    let content = ContentHeaders::from_headers(&pushed.headers)?;
    let mut outcome = Err(Discarded::UnknownSubscription);
    for subscription in candidates(pushed, subscriptions) {
        outcome = decrypt(&content, &pushed.body, subscription).map(|data| Message {
            endpoint: subscription.endpoint.clone(),
            data,
            content_type: content.get(&header::CONTENT_TYPE).map(str::to_owned),
        });
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The subscriptions whose keys are worth trying: the one that is named (RFC 8030 s6.1), or all if none is named.
fn candidates<'a>(pushed: &Pushed, subscriptions: &'a [Arc<Subscription>]) -> impl Iterator<Item = &'a Subscription> {
    let named = pushed.endpoints();
    let fits = move |s: &&Subscription| named.is_empty() || named.contains(&s.endpoint);
    subscriptions.iter().map(Arc::as_ref).filter(fits)
}

fn decrypt(content: &ContentHeaders, body: &[u8], to: &Subscription) -> Result<Option<Bytes>, Discarded> {
    let field = |name: &'static str| {
        let value = content.get(&HeaderName::from_static(name));
        value.ok_or(Discarded::Undecryptable(EceError::HeaderField))
    };
    let coding = content.get(&header::CONTENT_ENCODING).map(|c| c.trim().to_ascii_lowercase());
    let data = match coding.as_deref() {
        Some("aes128gcm") => ece::aes128gcm::decrypt(&to.keys, body),
        Some("aesgcm") => ece::aesgcm::decrypt(&to.keys, field("encryption")?, field("crypto-key")?, body),
        None if body.is_empty() => return Ok(None),
        _ => return Err(Discarded::Unencrypted),
    };
    data.map(|data| Some(data.into())).map_err(Discarded::Undecryptable)
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::base64url;
    use doorbell_protocol::ece::keys::{AgentKeyParts, AgentKeys};
    use http::HeaderValue;

    use super::*;

    fn subscription(private: &str, auth: &str, n: u32) -> Arc<Subscription> {
        let private = base64url::decode_array(private).unwrap().into();
        let parts = AgentKeyParts { private, auth: base64url::decode_array(auth).unwrap().into() };
        let url = |path| Url::parse(&format!("https://push.example/{path}/{n}")).unwrap();
        Arc::new(Subscription {
            service: url("subscribe"),
            resource: url("s"),
            endpoint: url("p"),
            set: None,
            vapid: None,
            keys: AgentKeys::from_parts(&parts).unwrap(),
        })
    }

    /// The user agent of RFC 8291 s5.
    fn rfc_8291() -> Arc<Subscription> {
        subscription("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94", "BTBZMqHH6r4Tts7J_aSIgg", 1)
    }

    /// The user agent of draft-ietf-webpush-encryption-04 s5.
    fn draft_04() -> Arc<Subscription> {
        subscription("9FWl15_QUQAWDaD3k3l50ZBZQJ4au27F1V4F0uLSD_M", "R29vIGdvbyBnJyBqb29iIQ", 2)
    }

    fn pushed(fields: &[(&'static str, &'static str)], body: &str) -> Pushed {
        let field = |(n, v): &(&'static str, &'static str)| (HeaderName::from_static(n), HeaderValue::from_static(v));
        Pushed {
            uri: Url::parse("https://push.example/m/1").unwrap(),
            promise: HeaderMap::new(),
            headers: fields.iter().map(field).collect(),
            body: base64url::decode(body).unwrap().into(),
        }
    }

    fn watermelon() -> Pushed {
        let body = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8w\
                    EqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        pushed(&[("content-encoding", "aes128gcm")], body)
    }

    #[test]
    fn the_message_of_rfc_8291_opens() {
        let message = open(&watermelon(), &[rfc_8291()]).unwrap();
        assert_eq!(message.data.as_deref(), Some(b"When I grow up, I want to be a watermelon".as_slice()));
    }

    #[test]
    fn the_aesgcm_message_of_the_draft_opens_also_among_other_subscriptions() {
        let dh = "dh=BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7CYkDjXsIEc4aqxYaQ1G8BqkXCJ6DPpDrWtdWj_mugHU";
        let fields =
            [("content-encoding", "aesgcm"), ("encryption", "salt=lngarbyKfMoi9Z75xYXmkg"), ("crypto-key", dh)];
        let pushed = pushed(&fields, "6nqAQUME8hNqw5J3kl8cpVVJylXKYqZOeseZG8UueKpA");
        let message = open(&pushed, &[rfc_8291(), draft_04()]).unwrap();
        assert_eq!(message.data.as_deref(), Some(b"I am the walrus".as_slice()));
        assert_eq!(message.endpoint, draft_04().endpoint);
    }

    #[test]
    fn a_message_that_is_cut_anywhere_is_discarded_ua_8188_4_2_1() {
        let whole = watermelon();
        for length in 0..whole.body.len() {
            let cut = Pushed { body: whole.body.slice(..length), ..watermelon() };
            assert!(matches!(open(&cut, &[rfc_8291()]), Err(Discarded::Undecryptable(_))), "{length} bytes");
        }
    }

    #[test]
    fn a_message_with_any_byte_changed_is_discarded_ua_8291_4_1_ua_8291_7_1() {
        let whole = watermelon();
        for place in 0..whole.body.len() {
            let mut body = whole.body.to_vec();
            body[place] ^= 1;
            // The record size (bytes 16 to 19) may be larger than the record: a change there can be harmless.
            let harmless = (16..20).contains(&place);
            let opened = open(&Pushed { body: body.into(), ..watermelon() }, &[rfc_8291()]);
            assert!(harmless || matches!(opened, Err(Discarded::Undecryptable(_))), "byte {place}");
        }
    }

    #[test]
    fn without_exactly_one_known_coding_nothing_is_opened_ua_8188_4_1_1() {
        let open_with = |fields: &[(&'static str, &'static str)]| {
            let headers = pushed(fields, "").headers;
            open(&Pushed { headers, ..watermelon() }, &[rfc_8291()])
        };
        assert_eq!(open_with(&[]).err(), Some(Discarded::Unencrypted));
        assert_eq!(open_with(&[("content-encoding", "gzip")]).err(), Some(Discarded::Unencrypted));
        assert_eq!(open_with(&[("content-encoding", "aes128gcm, gzip")]).err(), Some(Discarded::Unencrypted));
        assert!(open_with(&[("content-encoding", "AES128GCM")]).is_ok(), "codings compare without case");
        let mut twice = watermelon();
        twice.headers.append("content-encoding", HeaderValue::from_static("aes128gcm"));
        assert!(matches!(open(&twice, &[rfc_8291()]), Err(Discarded::Headers(_))));
    }

    #[test]
    fn headers_choose_which_keys_are_tried_and_nothing_more_ua_8291_7_2() {
        let named = |target: &'static str| {
            let mut pushed = watermelon();
            pushed.promise.insert("link", HeaderValue::from_static(target));
            open(&pushed, &[rfc_8291(), draft_04()])
        };
        assert!(named("</p/1>;rel=\"urn:ietf:params:push\"").is_ok());
        assert!(matches!(named("</p/2>;rel=\"urn:ietf:params:push\"").err(), Some(Discarded::Undecryptable(_))));
        assert_eq!(named("</p/3>;rel=\"urn:ietf:params:push\"").err(), Some(Discarded::UnknownSubscription));
    }
}
