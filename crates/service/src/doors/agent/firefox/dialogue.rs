//! What a client may say when, and what it asks for with it. No IO.

use doorbell_protocol::firefox::{Acknowledged, Broadcasts, ChannelId, ClientMessage};
use doorbell_protocol::headers::urgency::Urgency;

use super::answer::Closing;

/// Where a connection stands.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    greeted: bool,
}

/// What a message of the client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// To be known, by the uaid that it has or by a new one.
    Hello {
        uaid: Option<String>,
        broadcasts: Broadcasts,
    },
    Register {
        channel: ChannelId,
        key: Option<String>,
    },
    Unregister {
        channel: ChannelId,
    },
    /// That these messages do not come again.
    Settle(Vec<Acknowledged>),
    /// To hear of broadcasts.
    Follow(Broadcasts),
    /// To be spared what is less urgent; `None`: the word is not known.
    Floor(Option<Urgency>),
    Pong,
    Nothing,
}

impl Dialogue {
    /// Whether the hello has come.
    pub(super) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Takes in one text.
    pub(super) fn hear(&mut self, text: &str) -> Result<Ask, Closing> {
        let message = ClientMessage::parse(text).map_err(Closing::Malformed)?;
        let is_hello = matches!(message, ClientMessage::Hello { .. });
        match (self.greeted, is_hello) {
            (false, false) => return Err(Closing::HelloFirst),
            (true, true) => return Err(Closing::HelloTwice),
            _ => self.greeted = true,
        }
        Ok(match message {
            ClientMessage::Hello { uaid, broadcasts } => Ask::Hello { uaid, broadcasts },
            ClientMessage::Register { channel, key } => Ask::Register { channel, key },
            ClientMessage::Unregister { channel } => Ask::Unregister { channel },
            ClientMessage::Ack { updates } => Ask::Settle(updates),
            ClientMessage::BroadcastSubscribe { broadcasts } => Ask::Follow(broadcasts),
            ClientMessage::Urgency { min } => Ask::Floor(min),
            ClientMessage::Ping => Ask::Pong,
            // A nack is about the web app's own code: the message has been acknowledged.
            ClientMessage::Nack | ClientMessage::Unknown => Ask::Nothing,
        })
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
    fn what_needs_no_answer_gets_none_fx_6() {
        for text in [r#"{"messageType":"nack","version":"x","code":302}"#, r#"{"messageType":"later dialect"}"#] {
            assert_eq!(greeted().hear(text), Ok(Ask::Nothing));
        }
        assert_eq!(greeted().hear("{}"), Ok(Ask::Pong));
    }

    #[test]
    fn only_other_versions_of_what_is_followed_are_news_fx_9() {
        let set = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let ours: Broadcasts = set(&[("a", "2"), ("b", "1"), ("c", "1")]);
        assert_eq!(news(&ours, &set(&[("a", "1"), ("b", "1"), ("x", "1")])), set(&[("a", "2")]));
        assert_eq!(news(&Broadcasts::new(), &set(&[("a", "1")])), Broadcasts::new());
    }
}
