//! Chat: each message has marks that show how far it got, and the second one comes from a receipt.

use doorbell_protocol::time::UnixMs;
use serde_json::{Value, json};

use super::House;
use crate::error::DemoError;
use crate::events::Event;
use crate::limits::TEXT_BYTES_MAX;
use crate::notice::News;
use crate::session::Session;
use crate::steps::{Step, Story};

impl House {
    /// Writes to the person called `to`.
    pub(crate) fn write(&self, session: &Session, to: &str, text: &str, now: UnixMs) -> Result<Value, DemoError> {
        let (me, to) = (self.person(session.person)?, self.person_called(to)?);
        let text = text.trim();
        if text.is_empty() || me.id == to.id {
            return Err(DemoError::Malformed("a message has a text, and goes to another person"));
        }
        // As JSON, since that is how it travels: a quotation mark takes two bytes there, a control character six.
        if Value::from(text).to_string().len() > TEXT_BYTES_MAX + 2 {
            return Err(DemoError::TooLarge("the message is too long for a push message"));
        }
        let message = self.store.add_message(me.id, to.id, text, now)?;
        let story = Story { id: format!("message-{}", message.id), viewer: me.id };
        story.step(&self.pages, Step::Message { to: &to.name });
        self.pages.send(to.id, &Event::Chat);
        self.notify(to.id, None, &me, News::Message(message.id, text), &story)?;
        Ok(json!({ "id": message.id }))
    }

    /// The conversation with the person called `with`.
    pub(crate) fn conversation(&self, session: &Session, with: &str) -> Result<Value, DemoError> {
        let other = self.person_called(with)?;
        let messages = self.store.conversation(session.person, other.id)?;
        let shown: Vec<_> = messages
            .iter()
            .map(|message| {
                let moment = |at: Option<UnixMs>| at.map(UnixMs::as_millis);
                json!({
                    "id": message.id,
                    "mine": message.sender == session.person,
                    "text": message.text,
                    "sentAt": message.sent_at.as_millis(),
                    "acceptedAt": moment(message.accepted_at),
                    "deliveredAt": moment(message.delivered_at),
                    "seenAt": moment(message.seen_at),
                })
            })
            .collect();
        Ok(json!({ "with": other.name, "messages": shown }))
    }

    /// The person looks at what the other one wrote.
    pub(crate) fn see(&self, session: &Session, with: &str, now: UnixMs) -> Result<(), DemoError> {
        let other = self.person_called(with)?;
        if !self.store.see(session.person, other.id, now)?.is_empty() {
            self.pages.send(other.id, &Event::Chat);
            self.pages.send(session.person, &Event::People);
        }
        Ok(())
    }
}
