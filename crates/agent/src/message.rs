//! A message in the clear: found to belong to a subscription, and opened with its keys (RFC 8291, RFC 8188).
//!
//! Every header comes from the push service (RFC 8291 s7): a header may choose which keys are tried, and nothing more.

use bytes::Bytes;
use doorbell_protocol::ece::{self, EceError};
use doorbell_protocol::headers::link::{self, REL_PUSH};
use doorbell_protocol::message::{ContentHeaders, ContentHeadersError};
use http::{HeaderMap, HeaderName, header};
use thiserror::Error;
use url::Url;

use crate::profile::Subscription;

/// A message for the app.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The subscription that it came for, by its push resource.
    pub endpoint: Url,
    /// What the application server wrote; `None` for an empty message ("tickle"), which anyone could have sent who
    /// knows the endpoint.
    pub data: Option<Bytes>,
    /// What the sender says that the data is. The push service could have changed it: a hint, no basis for trust.
    pub content_type: Option<String>,
}

/// A pushed response as it came over the wire, complete.
pub(crate) struct Pushed {
    /// The message resource (RFC 8030 s6).
    pub(crate) uri: Url,
    /// Header fields of the promised request.
    pub(crate) promise: HeaderMap,
    /// Header fields of the response.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why a message never reaches the app. It is acknowledged all the same (WA-13): another attempt would end alike.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Discarded {
    /// It names no subscription that is held here.
    #[error("it is for a subscription that is not held here")]
    Stranger,
    /// Its content headers are repeated or too long.
    #[error("{0}")]
    Headers(#[from] ContentHeadersError),
    /// It is not encrypted, or not in a way that Web Push knows (RFC 8188 s4.1).
    #[error("it is not encrypted with aes128gcm or aesgcm")]
    Unencrypted,
    /// It does not open: cut short, altered, damaged, or meant for other keys.
    #[error("it cannot be decrypted: {0}")]
    Sealed(EceError),
    /// It is longer than the agent reads.
    #[error("it is longer than {0} octets")]
    TooLong(usize),
}

/// Opens `pushed` with the keys of the subscription that it came for, one of `subscriptions`.
pub(crate) fn open(pushed: &Pushed, subscriptions: &[&Subscription]) -> Result<Message, Discarded> {
    let content = ContentHeaders::from_headers(&pushed.headers)?;
    let mut outcome = Err(Discarded::Stranger);
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

/// The subscriptions whose keys are worth trying: the one that is named (PS-8030-6.1-1), or all if none is named.
fn candidates<'a>(pushed: &Pushed, subscriptions: &[&'a Subscription]) -> Vec<&'a Subscription> {
    let named: Vec<Url> = link::links(&pushed.promise)
        .chain(link::links(&pushed.headers))
        .filter(|link| link.is(REL_PUSH))
        .filter_map(|link| pushed.uri.join(&link.target).ok())
        .collect();
    let fits = |s: &&&Subscription| named.is_empty() || named.contains(&s.endpoint);
    subscriptions.iter().filter(fits).copied().collect()
}

fn decrypt(content: &ContentHeaders, body: &[u8], to: &Subscription) -> Result<Option<Bytes>, Discarded> {
    let field = |name: &'static str| content.get(&HeaderName::from_static(name)).unwrap_or_default();
    let coding = content.get(&header::CONTENT_ENCODING).map(|c| c.trim().to_ascii_lowercase());
    let data = match coding.as_deref() {
        Some("aes128gcm") => ece::aes128gcm::decrypt(&to.keys, body),
        Some("aesgcm") => ece::aesgcm::decrypt(&to.keys, field("encryption"), field("crypto-key"), body),
        None if body.is_empty() => return Ok(None),
        _ => return Err(Discarded::Unencrypted),
    };
    data.map(|data| Some(data.into())).map_err(Discarded::Sealed)
}
