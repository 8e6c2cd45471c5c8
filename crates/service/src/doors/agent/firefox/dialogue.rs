//! What a client may say when. No IO.

use doorbell_protocol::firefox::{Broadcasts, ClientMessage};

use super::answer::Closing;

/// Where a connection stands.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    greeted: bool,
}

impl Dialogue {
    /// Whether the hello has come.
    pub(super) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Takes in one text.
    pub(super) fn hear(&mut self, text: &str) -> Result<ClientMessage, Closing> {
        let message = ClientMessage::parse(text).map_err(Closing::Malformed)?;
        let is_hello = matches!(message, ClientMessage::Hello { .. });
        match (self.greeted, is_hello) {
            (false, false) => return Err(Closing::HelloFirst),
            (true, true) => return Err(Closing::HelloTwice),
            _ => self.greeted = true,
        }
        Ok(message)
    }
}

/// Those of the broadcasts that the client follows of which the service has another version.
pub(super) fn news(ours: &Broadcasts, followed: &Broadcasts) -> Broadcasts {
    let is_news = |(id, version): &(&String, &String)| followed.get(*id).is_some_and(|known| known != *version);
    ours.iter().filter(is_news).map(|(id, version)| (id.clone(), version.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = r#"{"messageType":"hello"}"#;

    fn greeted() -> Dialogue {
        let mut dialogue = Dialogue::default();
        dialogue.hear(HELLO).unwrap();
        dialogue
    }

    #[test]
    fn hello_comes_first_and_once_fx_1() {
        for early in ["{}", r#"{"messageType":"ack","updates":[]}"#, r#"{"messageType":"later dialect"}"#] {
            assert_eq!(Dialogue::default().hear(early), Err(Closing::HelloFirst), "{early}");
        }
        assert_eq!(greeted().hear(HELLO), Err(Closing::HelloTwice));
        assert!(matches!(Dialogue::default().hear("hello"), Err(Closing::Malformed(_))));
    }

    #[test]
    fn after_the_hello_anything_else_may_come_in_any_order_fx_6() {
        let mut dialogue = greeted();
        for _ in 0..2 {
            let nack = dialogue.hear(r#"{"messageType":"nack","version":"x","code":302}"#);
            assert_eq!(nack, Ok(ClientMessage::Nack));
            assert_eq!(dialogue.hear(r#"{"messageType":"later dialect"}"#), Ok(ClientMessage::Unknown));
            assert_eq!(dialogue.hear("{}"), Ok(ClientMessage::Ping));
        }
    }

    #[test]
    fn only_other_versions_of_what_is_followed_are_news_fx_9() {
        let set = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let ours: Broadcasts = set(&[("a", "2"), ("b", "1"), ("c", "1")]);
        assert_eq!(news(&ours, &set(&[("a", "1"), ("b", "1"), ("x", "1")])), set(&[("a", "2")]));
        assert_eq!(news(&Broadcasts::new(), &set(&[("a", "1")])), Broadcasts::new());
    }
}
