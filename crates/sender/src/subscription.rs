//! A subscription as the Push API serializes it (`PushSubscription.toJSON`), checked when it is read.

use doorbell_protocol::ece::EceError;
use doorbell_protocol::ece::keys::AuthSecret;
use doorbell_protocol::key::{KeyError, PublicKey};
use doorbell_protocol::time::UnixMs;
use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use thiserror::Error;

use crate::endpoint::{Endpoint, EndpointError};
use crate::origins::{OriginMap, UnmappedChromium};

/// The longest JSON text of a subscription, in bytes.
pub const SUBSCRIPTION_JSON_MAX: usize = 16 * 1024;

/// Where to send, and the keys to encrypt for.
///
/// A web page gets it from `pushManager.subscribe()` and posts its JSON to the application server.
///
/// ```
/// use doorbell_sender::Subscription;
///
/// let json = r#"{"endpoint":"https://push.example.net/p/x","expirationTime":null,"keys":{
///     "auth":"BTBZMqHH6r4Tts7J_aSIgg",
///     "p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"}}"#;
/// let subscription = Subscription::from_json(json)?;
/// assert_eq!(subscription.endpoint.origin(), "https://push.example.net");
/// # Ok::<(), doorbell_sender::SubscriptionError>(())
/// ```
///
/// With the feature `serde` it is `Serialize` and `Deserialize` in the same form, so it works as axum's
/// `Json<Subscription>` and as sqlx's `Json<Subscription>` in a text column. Every member has the same bounds as in
/// [`Subscription::from_json`]; the length of the whole text is bounded by its reader (axum: 2 MB by default).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The push resource.
    pub endpoint: Endpoint,
    /// The user agent's key (`keys.p256dh`), known to be on the curve.
    pub agent_key: PublicKey,
    /// The secret that the user agent shares with the application server (`keys.auth`).
    pub auth: AuthSecret,
    /// When the subscription ends, if the user agent reports it (`expirationTime`).
    pub expires_at: Option<UnixMs>,
    /// The `applicationServerKey` that the subscription was made with, if it is recorded: only its holder may send
    /// (RFC 8292 s4.2). The Push API does not put it into its JSON; this crate writes it as one more member.
    pub application_server_key: Option<PublicKey>,
}

/// Why a text is not a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubscriptionError {
    /// Longer than [`SUBSCRIPTION_JSON_MAX`].
    #[error("the subscription is longer than {SUBSCRIPTION_JSON_MAX} bytes")]
    TooLong,
    /// Not JSON, or a member is missing or of another type.
    #[error("not the JSON of a PushSubscription: {0}")]
    Json(String),
    /// The endpoint is not one.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// `keys.p256dh` is not a point on P-256 (RFC 8291 s7).
    #[error("keys.p256dh: {0}")]
    AgentKey(KeyError),
    /// `keys.auth` does not have 16 bytes.
    #[error("keys.auth: {0}")]
    Auth(EceError),
    /// `applicationServerKey` is not a key.
    #[error("applicationServerKey: {0}")]
    ApplicationServerKey(KeyError),
}

impl Subscription {
    /// Reads `{"endpoint","expirationTime","keys":{"auth","p256dh"}}`, or an object with that as its member
    /// `subscription`, as many pages post it. It ignores members that it does not know.
    ///
    /// # Errors
    /// If the text is too long, not of this form, or an endpoint or a key is not valid.
    pub fn from_json(text: &str) -> Result<Self, SubscriptionError> {
        Self::from_json_mapped(text, &OriginMap::default()).map(|(subscription, _)| subscription)
    }

    /// The same, with the endpoint moved to the origin that `origins` has for it, and a notice if `origins` may lack an
    /// entry.
    ///
    /// # Errors
    /// As [`Subscription::from_json`].
    pub fn from_json_mapped(
        text: &str,
        origins: &OriginMap,
    ) -> Result<(Self, Option<UnmappedChromium>), SubscriptionError> {
        if text.len() > SUBSCRIPTION_JSON_MAX {
            return Err(SubscriptionError::TooLong);
        }
        let wire = Wire::from_json(text).map_err(|e| SubscriptionError::Json(e.to_string()))?;
        wire.read(origins)
    }

    /// Whether it has ended at `now`, if the user agent reported when (`expirationTime`).
    pub fn has_ended(&self, now: UnixMs) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Writes the same, members in the order that the Push API has.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&Wire::of(self)).expect("text and numbers always have a JSON form")
    }
}

/// As [`Subscription::to_json`].
#[cfg(feature = "serde")]
impl Serialize for Subscription {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Wire::of(self).serialize(serializer)
    }
}

/// As [`Subscription::from_json`], but for the bound of the whole text, which a deserializer does not know.
#[cfg(feature = "serde")]
impl<'de> Deserialize<'de> for Subscription {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        wire.read(&OriginMap::default()).map(|(subscription, _)| subscription).map_err(de::Error::custom)
    }
}

/// The JSON form.
#[derive(Serialize, Deserialize)]
struct Wire {
    endpoint: Text,
    #[serde(rename = "expirationTime", default)]
    expiration_time: Option<Number>,
    keys: Keys,
    #[serde(rename = "applicationServerKey", default, skip_serializing_if = "Option::is_none")]
    application_server_key: Option<Text>,
}

#[derive(Serialize, Deserialize)]
struct Keys {
    auth: Text,
    p256dh: Text,
}

/// What holds a subscription where a page posts more than that.
#[derive(Deserialize)]
struct Envelope {
    subscription: Wire,
}

/// The same with anything in it.
#[derive(Deserialize)]
struct AnyEnvelope {
    #[serde(rename = "subscription")]
    _subscription: IgnoredAny,
}

impl Wire {
    fn from_json(text: &str) -> serde_json::Result<Self> {
        match serde_json::from_str(text) {
            // The error is about what is inside.
            Err(_) if serde_json::from_str::<AnyEnvelope>(text).is_ok() => {
                serde_json::from_str(text).map(|Envelope { subscription }| subscription)
            }
            read => read,
        }
    }

    fn of(subscription: &Subscription) -> Self {
        Self {
            endpoint: Text(subscription.endpoint.as_str().to_owned()),
            expiration_time: subscription.expires_at.map(|at| Number::from(at.as_millis())),
            keys: Keys {
                auth: Text(subscription.auth.to_base64url()),
                p256dh: Text(subscription.agent_key.to_base64url()),
            },
            application_server_key: subscription.application_server_key.map(|key| Text(key.to_base64url())),
        }
    }

    fn read(self, origins: &OriginMap) -> Result<(Subscription, Option<UnmappedChromium>), SubscriptionError> {
        let key = self.application_server_key.map(|key| PublicKey::from_base64url(&key.0)).transpose();
        let (endpoint, notice) = origins.apply(Endpoint::parse(&self.endpoint.0)?)?;
        let subscription = Subscription {
            endpoint,
            agent_key: PublicKey::from_base64url(&self.keys.p256dh.0).map_err(SubscriptionError::AgentKey)?,
            auth: AuthSecret::from_base64url(&self.keys.auth.0).map_err(SubscriptionError::Auth)?,
            expires_at: self.expiration_time.as_ref().map(millis),
            application_server_key: key.map_err(SubscriptionError::ApplicationServerKey)?,
        };
        Ok((subscription, notice))
    }
}

/// A text that is copied only if it is not longer than [`SUBSCRIPTION_JSON_MAX`]: a deserializer may read more than that.
#[derive(Serialize)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(BoundedText)
    }
}

struct BoundedText;

impl Visitor<'_> for BoundedText {
    type Value = Text;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
        if text.len() > SUBSCRIPTION_JSON_MAX {
            return Err(E::custom(format_args!("a member is longer than {SUBSCRIPTION_JSON_MAX} bytes")));
        }
        Ok(Text(text.to_owned()))
    }
}

/// JavaScript has one kind of number, so there may be a fraction, which is cut off. A number beyond both means never.
fn millis(number: &Number) -> UnixMs {
    UnixMs::from_millis(number.as_i64().or_else(|| number.as_f64().map(|ms| ms as i64)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

    fn json(endpoint: &str, p256dh: &str, auth: &str) -> String {
        format!(r#"{{"endpoint":"{endpoint}","expirationTime":null,"keys":{{"auth":"{auth}","p256dh":"{p256dh}"}}}}"#)
    }

    fn good() -> String {
        json("https://push.example.net/p/x", KEY, "BTBZMqHH6r4Tts7J_aSIgg")
    }

    #[test]
    fn the_json_of_the_push_api_is_read_and_written() {
        let read = Subscription::from_json(&good()).unwrap();
        assert_eq!(read.to_json(), good());
        let padded = json("https://push.example.net/p/x", &format!("{KEY}="), "BTBZMqHH6r4Tts7J/aSIgg==");
        assert_eq!(Subscription::from_json(&padded), Ok(read));
    }

    #[test]
    fn other_members_are_ignored_or_kept() {
        let text =
            good().replace("null", "1800000000000.5").replacen('{', r#"{"options":{"userVisibleOnly":true},"#, 1);
        let text = text.replacen('{', &format!(r#"{{"applicationServerKey":"{KEY}","#), 1);
        let read = Subscription::from_json(&text).unwrap();
        assert_eq!(read.expires_at, Some(UnixMs::from_secs(1_800_000_000)));
        assert_eq!(read.application_server_key.map(|key| key.to_base64url()).as_deref(), Some(KEY));
        assert_eq!(Subscription::from_json(&read.to_json()), Ok(read));
    }

    #[test]
    fn a_subscription_in_what_a_page_posts_is_found() {
        let posted = |inner: &str| format!(r#"{{"user":7,"subscription":{inner}}}"#);
        assert_eq!(Subscription::from_json(&posted(&good())), Subscription::from_json(&good()));
        for (inner, reason) in
            [(r#"{"endpoint":"https://h/"}"#, "missing field `keys`"), ("null", "invalid type: null")]
        {
            let error = Subscription::from_json(&posted(inner)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let both = good().replacen('{', r#"{"subscription":null,"#, 1);
        assert_eq!(Subscription::from_json(&both), Subscription::from_json(&good()), "another member of that name");
    }

    #[test]
    fn a_subscription_has_ended_from_its_expiration_time_on() {
        let ends = |time: &str| Subscription::from_json(&good().replace("null", time)).unwrap();
        let now = UnixMs::from_secs(1_800_000_000);
        assert!(ends("1800000000000").has_ended(now) && !ends("1800000000001").has_ended(now));
        assert!(!ends("null").has_ended(now));
    }

    #[test]
    fn what_is_not_a_subscription_is_rejected_with_the_reason_as_8291_7_1() {
        let off_curve = format!("{}A", &KEY[..86]);
        for (text, reason) in [
            ("{}", "missing field `endpoint`"),
            ("[]", "not the JSON of a PushSubscription"),
            (r#"{"endpoint":"https://h/"}"#, "missing field `keys`"),
            (&json("http://h/", KEY, "BTBZMqHH6r4Tts7J_aSIgg"), "not an https URL"),
            (&json("https://h/", &off_curve, "BTBZMqHH6r4Tts7J_aSIgg"), "keys.p256dh: the key is not a point"),
            (&json("https://h/", "AAAA", "BTBZMqHH6r4Tts7J_aSIgg"), "keys.p256dh: the key has 3 bytes"),
            (&json("https://h/", KEY, "AAAA"), "keys.auth: the authentication secret has 3 bytes"),
            (&" ".repeat(SUBSCRIPTION_JSON_MAX + 1), "longer than"),
        ] {
            let error = Subscription::from_json(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[cfg(feature = "serde")]
    mod with_serde {
        use super::*;

        /// What axum's `Json` and sqlx's `Json` call: from text, from bytes, and through a value.
        #[test]
        fn a_subscription_passes_through_serde_in_both_directions() {
            let read = Subscription::from_json(&good()).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), good());
            assert_eq!(serde_json::from_str::<Subscription>(&good()).unwrap(), read);
            assert_eq!(serde_json::from_slice::<Subscription>(good().as_bytes()).unwrap(), read);
            assert_eq!(serde_json::from_reader::<_, Subscription>(good().as_bytes()).unwrap(), read);
            let value = serde_json::to_value(&read).unwrap();
            assert_eq!(serde_json::from_value::<Subscription>(value).unwrap(), read);
            let row: Vec<Subscription> = serde_json::from_str(&format!("[{},{}]", good(), good())).unwrap();
            assert_eq!(row, [read.clone(), read]);
        }

        #[test]
        fn serde_has_the_bounds_and_the_reasons_of_the_parser() {
            let long = format!("https://h/{}", "x".repeat(SUBSCRIPTION_JSON_MAX));
            for (text, reason) in [
                ("{}", "missing field `endpoint`"),
                (&json("http://h/", KEY, "BTBZMqHH6r4Tts7J_aSIgg"), "not an https URL"),
                (&json("https://h/", "AAAA", "BTBZMqHH6r4Tts7J_aSIgg"), "keys.p256dh: the key has 3 bytes"),
                (&json("https://h/", KEY, "AAAA"), "keys.auth: the authentication secret has 3 bytes"),
                (&json(&long, KEY, "AAAA"), "longer than"),
                (&json(&format!("{:.5000}", long), KEY, "BTBZMqHH6r4Tts7J_aSIgg"), "longer than"),
                (&good().replacen('{', r#"{"endpoint":"https://h/","#, 1), "duplicate field"),
                (&"[".repeat(100_000), "invalid type"),
            ] {
                let error = serde_json::from_str::<Subscription>(text).unwrap_err().to_string();
                assert!(error.contains(reason), "{error}");
            }
        }

        proptest! {
            #[test]
            fn serde_and_the_parser_agree(endpoint in "https://[a-z]{1,9}/[ -~]{0,20}", auth in "[A-Za-z0-9_=-]{20,26}") {
                let text = json(&endpoint, KEY, &auth);
                prop_assert_eq!(serde_json::from_str::<Subscription>(&text).ok(), Subscription::from_json(&text).ok());
            }
        }
    }

    #[test]
    fn debug_output_has_no_secret() {
        let shown = format!("{:?}", Subscription::from_json(&good()).unwrap());
        assert!(!shown.contains("/p/x") && !shown.contains("BTBZ") && !shown.contains("BCVx"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Subscription::from_json(&text);
        }
    }
}
