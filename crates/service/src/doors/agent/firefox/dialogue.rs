//! Which messages a client may send in which order. No IO.

use doorbell_protocol::firefox::{BroadcastNews, Broadcasts, ClientMessage};

use super::answer::CloseReason;
use crate::config::FirefoxSettings;

/// The state of a connection.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    hello_received: bool,
}

impl Dialogue {
    /// Whether the hello has arrived.
    pub(super) fn is_hello_received(&self) -> bool {
        self.hello_received
    }

    /// Receives one text.
    pub(super) fn receive(&mut self, text: &str) -> Result<ClientMessage, CloseReason> {
        let message = ClientMessage::parse(text).map_err(CloseReason::Malformed)?;
        let is_hello = matches!(message, ClientMessage::Hello { .. });
        match (self.hello_received, is_hello) {
            (false, false) => return Err(CloseReason::HelloFirst),
            (true, true) => return Err(CloseReason::HelloTwice),
            _ => self.hello_received = true,
        }
        Ok(message)
    }
}

/// What Mozilla's service answers to the id of a broadcast that it does not have.
const NOT_FOUND: &str = "Broadcast not found";

/// The most ids that are reported as unknown: they come from the client, and each is sent back.
const UNKNOWN_MAX: usize = 100;

/// The broadcasts that the client follows and whose version differs from the service's; and, where the service reports
/// them, those that it does not have.
pub(super) fn news(settings: &FirefoxSettings, followed: &Broadcasts) -> BroadcastNews {
    let ours = &settings.broadcasts;
    let is_changed = |(id, version): &(&String, &String)| followed.get(*id).is_some_and(|known| known != *version);
    let changed = ours.iter().filter(is_changed).map(|(id, version)| (id.clone(), version.clone())).collect();
    let unknown = followed.keys().filter(|id| settings.reports_unknown_broadcasts && !ours.contains_key(*id));
    let errors = unknown.take(UNKNOWN_MAX).map(|id| (id.clone(), NOT_FOUND)).collect();
    BroadcastNews { changed, errors }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = r#"{"messageType":"hello"}"#;

    fn after_hello() -> Dialogue {
        let mut dialogue = Dialogue::default();
        dialogue.receive(HELLO).unwrap();
        dialogue
    }

    #[test]
    fn hello_comes_first_and_once_fx_1() {
        for early in ["{}", r#"{"messageType":"ack","updates":[]}"#, r#"{"messageType":"later dialect"}"#] {
            assert_eq!(Dialogue::default().receive(early), Err(CloseReason::HelloFirst), "{early}");
        }
        assert_eq!(after_hello().receive(HELLO), Err(CloseReason::HelloTwice));
        assert!(matches!(Dialogue::default().receive("hello"), Err(CloseReason::Malformed(_))));
    }

    #[test]
    fn after_the_hello_anything_else_may_come_in_any_order_fx_6() {
        let mut dialogue = after_hello();
        for _ in 0..2 {
            let nack = dialogue.receive(r#"{"messageType":"nack","version":"x","code":302}"#);
            assert_eq!(nack, Ok(ClientMessage::Nack));
            assert_eq!(dialogue.receive(r#"{"messageType":"later dialect"}"#), Ok(ClientMessage::Unknown));
            assert_eq!(dialogue.receive("{}"), Ok(ClientMessage::Ping));
        }
    }

    #[test]
    fn only_other_versions_of_what_is_followed_are_news_fx_9() {
        let set = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let with = |broadcasts: Broadcasts, reports_unknown_broadcasts| FirefoxSettings {
            enabled: true,
            path: None,
            ping_interval: None,
            broadcasts,
            reports_unknown_broadcasts,
        };
        let ours = with(set(&[("a", "2"), ("b", "1"), ("c", "1")]), false);
        let followed = set(&[("a", "1"), ("b", "1"), ("x", "1")]);
        assert_eq!(news(&ours, &followed), BroadcastNews { changed: set(&[("a", "2")]), ..BroadcastNews::default() });
        assert!(news(&with(Broadcasts::new(), false), &set(&[("a", "1")])).is_empty());
        let reporting = with(ours.broadcasts, true);
        let errors = [("x".to_owned(), NOT_FOUND)].into();
        assert_eq!(news(&reporting, &followed), BroadcastNews { changed: set(&[("a", "2")]), errors });
        let many = (0..1000).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(news(&reporting, &many).errors.len(), UNKNOWN_MAX);
    }
}
