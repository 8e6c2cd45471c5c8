//! What an open page receives on its WebSocket. `web/events.js` reads these types and no others.

use serde::Serialize;
use serde_json::Value;

use crate::calls::End;
use crate::steps::Outcome;

/// An event, as JSON with its `type`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The people, or how to reach them, have changed: the page asks for the overview.
    People,
    /// A conversation of the person has changed: the page asks for it.
    Chat,
    /// A step of a story.
    Step {
        story: String,
        /// Of [`Step::kind`](crate::steps::Step::kind).
        kind: &'static str,
        outcome: Outcome,
        what: String,
        detail: String,
        /// In milliseconds since 1970.
        at: i64,
    },
    /// A call rings, or was answered.
    Call { call: Value },
    /// A call is over.
    Over { call: Value, how: End },
    /// A signal of WebRTC from the other end of a call.
    Signal { call: String, signal: Value },
    /// A push service no longer has the subscription of this device.
    Unsubscribed { device: String },
    /// The page sent something that is not a signal.
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page's own list of what it can read.
    const PAGE: &str = include_str!("../web/events.js");

    #[test]
    fn the_page_reads_every_event_and_its_fields() {
        let (call, id) = (Value::Null, String::new);
        let outcome = Outcome::Failed;
        let events = [
            Event::People,
            Event::Chat,
            Event::Step { story: id(), kind: "sent", outcome, what: id(), detail: id(), at: 0 },
            Event::Call { call: call.clone() },
            Event::Over { call: call.clone(), how: End::HungUp },
            Event::Signal { call: id(), signal: call },
            Event::Unsubscribed { device: id() },
            Event::Malformed,
        ];
        for event in events {
            let json = serde_json::to_value(&event).unwrap();
            let mut fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
            fields.retain(|field| *field != "type");
            let quoted: Vec<String> = fields.iter().map(|field| format!("'{field}'")).collect();
            let line = format!("  {}: [{}],", json["type"].as_str().unwrap(), quoted.join(", "));
            assert!(PAGE.contains(&line), "web/events.js has no line {line}");
        }
        assert_eq!(serde_json::to_value(End::HungUp).unwrap(), End::HungUp.as_str());
    }
}
