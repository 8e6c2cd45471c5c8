//! Which messages a client may send in which order. No IO.

use doorbell_protocol::firefox::{Broadcasts, ClientMessage};

use super::answer::CloseReason;

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

/// The broadcasts that the client follows and whose version differs from the service's.
pub(super) fn changed(ours: &Broadcasts, followed: &Broadcasts) -> Broadcasts {
    let is_changed = |(id, version): &(&String, &String)| followed.get(*id).is_some_and(|known| known != *version);
    ours.iter().filter(is_changed).map(|(id, version)| (id.clone(), version.clone())).collect()
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
        let ours: Broadcasts = set(&[("a", "2"), ("b", "1"), ("c", "1")]);
        assert_eq!(changed(&ours, &set(&[("a", "1"), ("b", "1"), ("x", "1")])), set(&[("a", "2")]));
        assert_eq!(changed(&Broadcasts::new(), &set(&[("a", "1")])), Broadcasts::new());
    }
}
