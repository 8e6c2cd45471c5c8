//! A subscription as the Push API serialises it (`PushSubscription.toJSON`), checked when it is read.

use doorbell_protocol::ece::EceError;
use doorbell_protocol::ece::keys::AuthSecret;
use doorbell_protocol::key::{KeyError, PublicKey};
use doorbell_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use thiserror::Error;

use crate::endpoint::{Endpoint, EndpointError};
use crate::origins::{OriginMap, UnmappedChromium};

/// The longest JSON text of a subscription, in octets.
pub const SUBSCRIPTION_JSON_MAX: usize = 16 * 1024;

/// Where to send, and what to encrypt to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The push resource.
    pub endpoint: Endpoint,
    /// The user agent's key (`keys.p256dh`), known to be on the curve.
    pub agent_key: PublicKey,
    /// The secret shared with the user agent (`keys.auth`).
    pub auth: AuthSecret,
    /// When the subscription ends, if the user agent knows (`expirationTime`).
    pub expires_at: Option<UnixMs>,
    /// The `applicationServerKey` that the subscription was made with, if that is on record: only its holder may send
    /// (RFC 8292 s4.2). The Push API leaves it out of its JSON; we write it as one more member.
    pub application_server_key: Option<PublicKey>,
}

/// Why a text is no subscription.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubscriptionError {
    /// Longer than [`SUBSCRIPTION_JSON_MAX`].
    #[error("the subscription is longer than {SUBSCRIPTION_JSON_MAX} octets")]
    TooLong,
    /// Not JSON, or a member is missing or of another type.
    #[error("not the JSON of a PushSubscription: {0}")]
    Json(String),
    /// The endpoint is none.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// `keys.p256dh` is not a point on P-256 (RFC 8291 s7).
    #[error("keys.p256dh: {0}")]
    AgentKey(KeyError),
    /// `keys.auth` is not 16 octets.
    #[error("keys.auth: {0}")]
    Auth(EceError),
    /// `applicationServerKey` is no key.
    #[error("applicationServerKey: {0}")]
    ApplicationServerKey(KeyError),
}

#[derive(Serialize, Deserialize)]
struct Wire {
    endpoint: String,
    #[serde(rename = "expirationTime", default)]
    expiration_time: Option<Number>,
    keys: Keys,
    #[serde(rename = "applicationServerKey", default, skip_serializing_if = "Option::is_none")]
    application_server_key: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Keys {
    auth: String,
    p256dh: String,
}

impl Subscription {
    /// Reads `{"endpoint","expirationTime","keys":{"auth","p256dh"}}`. Members that are not known are ignored.
    pub fn from_json(text: &str) -> Result<Self, SubscriptionError> {
        Self::from_json_mapped(text, &OriginMap::default()).map(|(subscription, _)| subscription)
    }

    /// The same, with the endpoint at the origin that `origins` has for it; and a notice if it may lack an entry.
    pub fn from_json_mapped(
        text: &str,
        origins: &OriginMap,
    ) -> Result<(Self, Option<UnmappedChromium>), SubscriptionError> {
        if text.len() > SUBSCRIPTION_JSON_MAX {
            return Err(SubscriptionError::TooLong);
        }
        let wire: Wire = serde_json::from_str(text).map_err(|e| SubscriptionError::Json(e.to_string()))?;
        let key = wire.application_server_key.as_deref().map(PublicKey::from_base64url).transpose();
        let (endpoint, notice) = origins.apply(Endpoint::parse(&wire.endpoint)?)?;
        let subscription = Self {
            endpoint,
            agent_key: PublicKey::from_base64url(&wire.keys.p256dh).map_err(SubscriptionError::AgentKey)?,
            auth: AuthSecret::from_base64url(&wire.keys.auth).map_err(SubscriptionError::Auth)?,
            expires_at: wire.expiration_time.as_ref().map(millis),
            application_server_key: key.map_err(SubscriptionError::ApplicationServerKey)?,
        };
        Ok((subscription, notice))
    }

    /// Writes the same, members in the order that the Push API has.
    pub fn to_json(&self) -> String {
        let wire = Wire {
            endpoint: self.endpoint.as_str().to_owned(),
            expiration_time: self.expires_at.map(|at| Number::from(at.as_millis())),
            keys: Keys { auth: self.auth.to_base64url(), p256dh: self.agent_key.to_base64url() },
            application_server_key: self.application_server_key.map(|key| key.to_base64url()),
        };
        // Text and numbers always have a JSON form.
        serde_json::to_string(&wire).unwrap_or_default()
    }
}

/// JavaScript has one kind of number, so that a fraction is possible; it is cut off.
#[allow(clippy::cast_possible_truncation)]
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
    fn members_beside_them_are_ignored_or_kept() {
        let text =
            good().replace("null", "1800000000000.5").replacen('{', r#"{"options":{"userVisibleOnly":true},"#, 1);
        let text = text.replacen('{', &format!(r#"{{"applicationServerKey":"{KEY}","#), 1);
        let read = Subscription::from_json(&text).unwrap();
        assert_eq!(read.expires_at, Some(UnixMs::from_secs(1_800_000_000)));
        assert_eq!(read.application_server_key.map(|key| key.to_base64url()).as_deref(), Some(KEY));
        assert_eq!(Subscription::from_json(&read.to_json()), Ok(read));
    }

    #[test]
    fn what_is_not_a_subscription_is_refused_with_the_reason_as_8291_7_1() {
        let off_curve = format!("{}A", &KEY[..86]);
        for (text, said) in [
            ("{}", "missing field `endpoint`"),
            ("[]", "not the JSON of a PushSubscription"),
            (r#"{"endpoint":"https://h/"}"#, "missing field `keys`"),
            (&json("http://h/", KEY, "BTBZMqHH6r4Tts7J_aSIgg"), "not an https URL"),
            (&json("https://h/", &off_curve, "BTBZMqHH6r4Tts7J_aSIgg"), "keys.p256dh: the key is not a point"),
            (&json("https://h/", "AAAA", "BTBZMqHH6r4Tts7J_aSIgg"), "keys.p256dh: the key has 3 octets"),
            (&json("https://h/", KEY, "AAAA"), "keys.auth: the authentication secret has 3 octets"),
            (&" ".repeat(SUBSCRIPTION_JSON_MAX + 1), "longer than"),
        ] {
            let error = Subscription::from_json(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
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
