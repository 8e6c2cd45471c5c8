//! What the demo remembers: one SQLite file in its state directory.
//!
//! Each call takes some microseconds, so it is made where it is needed and not in a thread of its own.

mod chat;
mod devices;
mod people;
mod pushes;
mod voice;

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use rusqlite::Connection;

use crate::error::DemoError;
use crate::lock::lock;

pub(crate) use chat::Mark;
pub(crate) use devices::Device;
pub(crate) use people::Person;
pub(crate) use pushes::Awaited;
pub(crate) use voice::VoiceMail;

/// A person's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PersonId(pub(crate) i64);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS people (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,          -- the name as it is looked up
  name TEXT NOT NULL,                -- the name as it is shown
  passphrase TEXT,                   -- salt and hash, if there is one
  available INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS devices (
  id TEXT PRIMARY KEY,
  person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  label TEXT NOT NULL,
  subscription TEXT,                 -- the JSON of a PushSubscription, if pushes reach it
  delivered_at INTEGER,              -- when a receipt last showed that one did
  signed_in_at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS devices_by_person ON devices (person);
CREATE TABLE IF NOT EXISTS messages (
  id INTEGER PRIMARY KEY,
  sender INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  recipient INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  text TEXT NOT NULL,
  sent_at INTEGER NOT NULL,
  accepted_at INTEGER,
  delivered_at INTEGER,
  seen_at INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS messages_by_sender ON messages (sender, recipient, id);
CREATE TABLE IF NOT EXISTS voice_mails (
  id INTEGER PRIMARY KEY,
  sender INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  recipient INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
  media_type TEXT NOT NULL,
  sound BLOB NOT NULL,
  left_at INTEGER NOT NULL,
  heard_at INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS voice_mails_by_recipient ON voice_mails (recipient, id);
CREATE TABLE IF NOT EXISTS pushes (
  id INTEGER PRIMARY KEY,
  location TEXT NOT NULL UNIQUE,     -- what the receipt will name
  device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
  sender INTEGER NOT NULL,           -- whose page shows it
  story TEXT NOT NULL,
  message INTEGER,                   -- the chat message that it carries
  sent_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS receipt_subscriptions (
  origin TEXT PRIMARY KEY,
  url TEXT NOT NULL
) STRICT;
";

/// The open store.
pub(crate) struct Store(Mutex<Connection>);

impl Store {
    /// Opens it, and makes it if it is missing.
    pub(crate) fn open(file: &Path) -> Result<Self, DemoError> {
        let connection = Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Mutex::new(connection)))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        lock(&self.0)
    }
}
