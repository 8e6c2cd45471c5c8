//! Devices: a browser profile in which a person has signed in, and how pushes reach it.

use doorbell_protocol::time::UnixMs;
use doorbell_sender::subscription::Subscription;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{PersonId, Store};
use crate::error::DemoError;
use crate::limits::DEVICES_MAX;
use crate::token::Token;

/// A device.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) id: Token,
    pub(crate) person: PersonId,
    /// What its browser calls itself: "Firefox on Linux".
    pub(crate) label: String,
    /// Where pushes go; none if it takes none.
    pub(crate) subscription: Option<Subscription>,
    /// When a push last arrived there for certain.
    pub(crate) delivered_at: Option<UnixMs>,
}

const COLUMNS: &str = "id, person, label, subscription, delivered_at";

impl Store {
    /// Another device of a person. When they have too many, the one that signed in first is signed out.
    pub(crate) fn add_device(&self, id: &Token, person: PersonId, label: &str, now: UnixMs) -> Result<(), DemoError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        insert_device(&transaction, id, person, label, now)?;
        Ok(transaction.commit()?)
    }

    /// The device, if it is still signed in.
    pub(crate) fn device(&self, id: &Token) -> Result<Option<Device>, DemoError> {
        let select = format!("SELECT {COLUMNS} FROM devices WHERE id = ?1");
        Ok(self.connection().query_row(&select, [id.as_str()], read).optional()?)
    }

    /// A person's devices.
    pub(crate) fn devices_of(&self, person: PersonId) -> Result<Vec<Device>, DemoError> {
        let connection = self.connection();
        let select = format!("SELECT {COLUMNS} FROM devices WHERE person = ?1 ORDER BY signed_in_at");
        let mut select = connection.prepare_cached(&select)?;
        Ok(select.query_map([person.0], read)?.collect::<Result<_, _>>()?)
    }

    /// Pushes for the device go there from now on, or nowhere.
    pub(crate) fn set_subscription(&self, id: &Token, subscription: Option<&Subscription>) -> Result<(), DemoError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let json = subscription.map(Subscription::to_json);
        if let Some(json) = &json {
            // A person who signs in with another name in the same browser takes its subscription along.
            transaction.execute("UPDATE devices SET subscription = NULL WHERE subscription = ?1", [json])?;
        }
        transaction.execute("UPDATE devices SET subscription = ?2 WHERE id = ?1", params![id.as_str(), json])?;
        Ok(transaction.commit()?)
    }

    /// A push arrived there at `at`.
    pub(crate) fn was_delivered_to(&self, id: &Token, at: UnixMs) -> Result<(), DemoError> {
        let update = "UPDATE devices SET delivered_at = max(coalesce(delivered_at, 0), ?2) WHERE id = ?1";
        self.connection().execute(update, params![id.as_str(), at.as_millis()])?;
        Ok(())
    }

    /// Signs it out.
    pub(crate) fn remove_device(&self, id: &Token) -> Result<(), DemoError> {
        self.connection().execute("DELETE FROM devices WHERE id = ?1", [id.as_str()])?;
        Ok(())
    }
}

pub(super) fn insert_device(
    transaction: &Transaction<'_>,
    id: &Token,
    person: PersonId,
    label: &str,
    now: UnixMs,
) -> rusqlite::Result<()> {
    let insert = "INSERT INTO devices (id, person, label, signed_in_at) VALUES (?1, ?2, ?3, ?4)";
    transaction.execute(insert, params![id.as_str(), person.0, label, now.as_millis()])?;
    let surplus = "DELETE FROM devices WHERE person = ?1 AND id NOT IN
        (SELECT id FROM devices WHERE person = ?1 ORDER BY signed_in_at DESC, rowid DESC LIMIT ?2)";
    transaction.execute(surplus, params![person.0, DEVICES_MAX])?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Device> {
    let id: String = row.get(0)?;
    let subscription: Option<String> = row.get(3)?;
    let delivered_at: Option<i64> = row.get(4)?;
    Ok(Device {
        id: Token::parse(&id).map_err(|_| rusqlite::Error::InvalidQuery)?,
        person: PersonId(row.get(1)?),
        label: row.get(2)?,
        // What was taken once and cannot be read any more is a device without pushes, and its page subscribes anew.
        subscription: subscription.and_then(|json| Subscription::from_json(&json).ok()),
        delivered_at: delivered_at.map(UnixMs::from_millis),
    })
}
