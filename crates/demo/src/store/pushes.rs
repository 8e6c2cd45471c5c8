//! Pushes whose receipts are awaited, and where push services give receipts: kept, so that a receipt is understood
//! after the demo was started again.

use doorbell_protocol::time::UnixMs;
use rusqlite::{OptionalExtension, Row, params};

use super::{PersonId, Store};
use crate::error::DemoError;
use crate::limits::PUSHES_AWAITED_MAX;
use crate::token::Token;

/// A push that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Awaited {
    /// The message resource at the push service: a secret.
    pub(crate) location: String,
    pub(crate) device: Token,
    /// Whose pages show what becomes of it.
    pub(crate) sender: PersonId,
    /// The story that it is a step of.
    pub(crate) story: String,
    /// The chat message that it carries.
    pub(crate) message: Option<i64>,
    pub(crate) sent_at: UnixMs,
}

impl Store {
    /// Awaits a receipt. The oldest are given up when there are too many.
    pub(crate) fn await_receipt(&self, push: &Awaited) -> Result<(), DemoError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let insert = "INSERT OR REPLACE INTO pushes (location, device, sender, story, message, sent_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let Awaited { location, device, sender, story, message, sent_at } = push;
        transaction
            .execute(insert, params![location, device.as_str(), sender.0, story, message, sent_at.as_millis()])?;
        let newest = transaction.last_insert_rowid();
        transaction.execute("DELETE FROM pushes WHERE id <= ?1", [newest - i64::from(PUSHES_AWAITED_MAX)])?;
        Ok(transaction.commit()?)
    }

    /// The receipt came: what it was for.
    pub(crate) fn take_awaited(&self, location: &str) -> Result<Option<Awaited>, DemoError> {
        let delete = "DELETE FROM pushes WHERE location = ?1
            RETURNING location, device, sender, story, message, sent_at";
        let read = |row: &Row<'_>| {
            let device: String = row.get(1)?;
            Ok(Awaited {
                location: row.get(0)?,
                device: Token::parse(&device).map_err(|_| rusqlite::Error::InvalidQuery)?,
                sender: PersonId(row.get(2)?),
                story: row.get(3)?,
                message: row.get(4)?,
                sent_at: UnixMs::from_millis(row.get(5)?),
            })
        };
        Ok(self.connection().query_row(delete, [location], read).optional()?)
    }

    /// The receipt subscriptions, by the origin of the push service.
    pub(crate) fn receipt_subscriptions(&self) -> Result<Vec<(String, String)>, DemoError> {
        let connection = self.connection();
        let mut select = connection.prepare("SELECT origin, url FROM receipt_subscriptions")?;
        Ok(select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
    }

    /// The push service at `origin` gives its receipts at `url` from now on, or, without one, nowhere.
    pub(crate) fn set_receipt_subscription(&self, origin: &str, url: Option<&str>) -> Result<(), DemoError> {
        let connection = self.connection();
        match url {
            Some(url) => {
                let insert = "INSERT OR REPLACE INTO receipt_subscriptions (origin, url) VALUES (?1, ?2)";
                connection.execute(insert, [origin, url])?
            }
            None => connection.execute("DELETE FROM receipt_subscriptions WHERE origin = ?1", [origin])?,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::name::Name;
    use crate::store::{Newcomer, ServiceTime};

    #[test]
    fn a_receipt_for_a_person_who_is_gone_marks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("demo.sqlite"), clock::moment().instant).unwrap();
        let (now, device) = (UnixMs::default(), Token::random().unwrap());
        let person = |name| {
            let newcomer = Newcomer { name: &Name::parse(name).unwrap(), passphrase: None, source: "home" };
            store.add_person(&newcomer, ServiceTime(0)).unwrap().id
        };
        let (alice, mom) = (person("Alice"), person("Mom"));
        store.add_device(&device, mom, "a browser", now).unwrap();
        let pushes = [alice, mom].map(|sender| Awaited {
            location: format!("https://push.example/m/{}", sender.0),
            device: device.clone(),
            sender,
            story: "message-1".to_owned(),
            message: Some(store.add_message(sender, mom, "Hello", now).unwrap().id),
            sent_at: now,
        });
        pushes.iter().for_each(|push| store.await_receipt(push).unwrap());
        store.connection().execute("DELETE FROM people WHERE id = ?1", [alice.0]).unwrap();
        let [gone, stays] = pushes.map(|push| store.take_awaited(&push.location).unwrap());
        assert!(gone.is_none() && stays.is_some());
    }
}
