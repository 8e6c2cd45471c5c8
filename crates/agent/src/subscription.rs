//! The subscription as browsers send it to application servers (W3C Push API, `PushSubscription.toJSON`).

use serde::{Deserialize, Serialize};

/// `{"endpoint", "expirationTime", "keys": {"auth", "p256dh"}}`: all that an application server needs to send.
/// A program that holds it can send messages: so it has no `Debug`, and must not be logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushSubscription {
    /// The push resource (RFC 8030 s2), to which messages are sent.
    pub endpoint: String,
    /// When the subscription ends, in milliseconds since 1970; `None` if it was given no end.
    #[serde(rename = "expirationTime")]
    pub expiration_time_ms: Option<u64>,
    /// The keys that messages are encrypted with (RFC 8291).
    pub keys: PushKeys,
}

/// The keys, as base64url without padding.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushKeys {
    /// The authentication secret: 16 bytes.
    pub auth: String,
    /// The user agent's public key: 65 bytes, an uncompressed point.
    pub p256dh: String,
}

impl PushSubscription {
    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("text and numbers have a JSON form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_members_and_the_order_of_the_standard_wa_7_wa_8() {
        let keys = PushKeys { auth: "YQ".into(), p256dh: "Yg".into() };
        let mut subscription =
            PushSubscription { endpoint: "https://p.example/1".into(), expiration_time_ms: None, keys };
        let json = r#"{"endpoint":"https://p.example/1","expirationTime":null,"keys":{"auth":"YQ","p256dh":"Yg"}}"#;
        assert_eq!(subscription.to_json(), json);
        subscription.expiration_time_ms = Some(1_800_000_000_000);
        assert!(subscription.to_json().contains(r#""expirationTime":1800000000000,"#));
    }
}
