//! Chat messages and what became of them.

use doorbell_protocol::time::UnixMs;
use rusqlite::{OptionalExtension, Row, params};

use super::{PersonId, Store};
use crate::error::DemoError;
use crate::limits::MESSAGES_OF_SENDER_KEPT;

/// A message. Each mark is set once, and stays.
#[derive(Clone, Debug)]
pub(crate) struct ChatMessage {
    pub(crate) id: i64,
    pub(crate) sender: PersonId,
    pub(crate) text: String,
    pub(crate) sent_at: UnixMs,
    /// A push service has it.
    pub(crate) accepted_at: Option<UnixMs>,
    /// A receipt shows that a device has it.
    pub(crate) delivered_at: Option<UnixMs>,
    /// The recipient looked at the conversation.
    pub(crate) seen_at: Option<UnixMs>,
}

/// What becomes of a message after it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Accepted,
    Delivered,
}

const COLUMNS: &str = "id, sender, text, sent_at, accepted_at, delivered_at, seen_at";
const BETWEEN: &str = "((sender = ?1 AND recipient = ?2) OR (sender = ?2 AND recipient = ?1))";

impl Store {
    /// A new message. The oldest of the same sender make room, so that one of the two cannot push out what the other
    /// wrote.
    pub(crate) fn add_message(
        &self,
        sender: PersonId,
        recipient: PersonId,
        text: &str,
        now: UnixMs,
    ) -> Result<ChatMessage, DemoError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let insert = "INSERT INTO messages (sender, recipient, text, sent_at) VALUES (?1, ?2, ?3, ?4)";
        transaction.execute(insert, params![sender.0, recipient.0, text, now.as_millis()])?;
        let id = transaction.last_insert_rowid();
        let surplus = "DELETE FROM messages WHERE sender = ?1 AND recipient = ?2 AND id NOT IN
             (SELECT id FROM messages WHERE sender = ?1 AND recipient = ?2 ORDER BY id DESC LIMIT ?3)";
        transaction.execute(surplus, params![sender.0, recipient.0, MESSAGES_OF_SENDER_KEPT])?;
        transaction.commit()?;
        let text = text.to_owned();
        Ok(ChatMessage { id, sender, text, sent_at: now, accepted_at: None, delivered_at: None, seen_at: None })
    }

    /// The conversation of two, oldest first.
    pub(crate) fn conversation(&self, one: PersonId, other: PersonId) -> Result<Vec<ChatMessage>, DemoError> {
        let connection = self.connection();
        let select = format!("SELECT {COLUMNS} FROM messages WHERE {BETWEEN} ORDER BY id");
        let mut select = connection.prepare_cached(&select)?;
        Ok(select.query_map([one.0, other.0], read)?.collect::<Result<_, _>>()?)
    }

    /// Sets a mark, unless it is set: the message, if it changed.
    pub(crate) fn mark(&self, id: i64, mark: Mark, at: UnixMs) -> Result<Option<ChatMessage>, DemoError> {
        let column = match mark {
            Mark::Accepted => "accepted_at",
            Mark::Delivered => "delivered_at",
        };
        let update =
            format!("UPDATE messages SET {column} = ?2 WHERE id = ?1 AND {column} IS NULL RETURNING {COLUMNS}");
        Ok(self.connection().query_row(&update, params![id, at.as_millis()], read).optional()?)
    }

    /// `reader` has looked at what `sender` wrote: the messages that were not seen before.
    pub(crate) fn see(&self, reader: PersonId, sender: PersonId, at: UnixMs) -> Result<Vec<ChatMessage>, DemoError> {
        let connection = self.connection();
        let update = format!(
            "UPDATE messages SET seen_at = ?3 WHERE recipient = ?1 AND sender = ?2 AND seen_at IS NULL
             RETURNING {COLUMNS}"
        );
        let mut update = connection.prepare_cached(&update)?;
        Ok(update.query_map(params![reader.0, sender.0, at.as_millis()], read)?.collect::<Result<_, _>>()?)
    }

    /// How many messages of each sender a person has not seen.
    pub(crate) fn unseen(&self, reader: PersonId) -> Result<Vec<(PersonId, u32)>, DemoError> {
        let connection = self.connection();
        let select = "SELECT sender, count(*) FROM messages WHERE recipient = ?1 AND seen_at IS NULL GROUP BY sender";
        let mut select = connection.prepare_cached(select)?;
        let count = |row: &Row<'_>| Ok((PersonId(row.get(0)?), row.get(1)?));
        Ok(select.query_map([reader.0], count)?.collect::<Result<_, _>>()?)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<ChatMessage> {
    let moment = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(UnixMs::from_millis));
    Ok(ChatMessage {
        id: row.get(0)?,
        sender: PersonId(row.get(1)?),
        text: row.get(2)?,
        sent_at: UnixMs::from_millis(row.get(3)?),
        accepted_at: moment(4)?,
        delivered_at: moment(5)?,
        seen_at: moment(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::name::Name;
    use crate::store::{Newcomer, ServiceTime};

    #[test]
    fn one_of_two_who_writes_without_end_pushes_out_only_what_they_wrote_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("demo.sqlite"), clock::moment().instant).unwrap();
        let person = |name| {
            let newcomer = Newcomer { name: &Name::parse(name).unwrap(), passphrase: None, source: "home" };
            store.add_person(&newcomer, ServiceTime(0)).unwrap().id
        };
        let (alice, mallory) = (person("Alice"), person("Mallory"));
        store.add_message(alice, mallory, "Stop it", UnixMs::default()).unwrap();
        for number in 0..=MESSAGES_OF_SENDER_KEPT {
            store.add_message(mallory, alice, &number.to_string(), UnixMs::default()).unwrap();
        }
        let texts: Vec<_> =
            store.conversation(alice, mallory).unwrap().into_iter().map(|message| message.text).collect();
        assert_eq!(texts.len(), 1 + MESSAGES_OF_SENDER_KEPT as usize);
        assert_eq!((texts[0].as_str(), texts[1].as_str()), ("Stop it", "1"));
    }
}
