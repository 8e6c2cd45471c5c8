//! What the demo remembers: one SQLite file in its state directory.
//!
//! Each call takes some microseconds, so it is made where it is needed and not in a thread of its own.

mod chat;
mod devices;
mod invitations;
mod people;
mod pushes;
mod service_time;
mod voice;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use doorbell_private_file as private_file;
use rusqlite::{Connection, Transaction};

use crate::error::DemoError;
use crate::limits::VOICE_KEPT;
use crate::lock::lock;

use service_time::Meter;

pub(crate) use chat::Mark;
pub(crate) use devices::Device;
pub(crate) use people::{Newcomer, Person};
pub(crate) use pushes::Awaited;
pub(crate) use service_time::ServiceTime;
pub(crate) use voice::{Parcel, VoiceMail};

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
-- Their messages go as well, and the number of the newest one is used again: no receipt may mark another message.
CREATE TRIGGER IF NOT EXISTS pushes_of_a_person_who_is_gone AFTER DELETE ON people
  BEGIN DELETE FROM pushes WHERE sender = OLD.id; END;
CREATE TABLE IF NOT EXISTS service_time (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS used_invitations (
  id TEXT PRIMARY KEY,
  until INTEGER NOT NULL             -- after that it is void, used or not
) STRICT;
CREATE TABLE IF NOT EXISTS receipt_subscriptions (
  origin TEXT PRIMARY KEY,
  url TEXT NOT NULL
) STRICT;
";

/// Columns that a store of an earlier version does not have.
const LATER_COLUMNS: [(&str, &str, &str); 4] = [
    // In service time.
    ("people", "seen_at", "INTEGER NOT NULL DEFAULT 0"),
    // Where the name was taken from, as a keyed hash; empty for those that earlier versions kept.
    ("people", "source", "TEXT NOT NULL DEFAULT ''"),
    ("voice_mails", "kept_until", "INTEGER NOT NULL DEFAULT 0"),
    // Where it came from, as a keyed hash; empty for those that earlier versions kept.
    ("voice_mails", "source", "TEXT NOT NULL DEFAULT ''"),
];

/// The open store.
pub(crate) struct Store {
    connection: Mutex<Connection>,
    meter: Mutex<Meter>,
}

impl Store {
    /// Opens it, and makes it if it is missing.
    pub(crate) fn open(file: &Path, now: Instant) -> Result<Self, DemoError> {
        make_private(file)?;
        let connection = Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch(SCHEMA)?;
        let meter = Meter::resume(&connection, now)?;
        let store = Self { connection: Mutex::new(connection), meter: Mutex::new(meter) };
        store.add_later_columns(store.service_time(now)?)?;
        Ok(store)
    }

    /// Runs `change` in a transaction that a power cut does not undo, unlike the others.
    fn durably<T>(&self, change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, DemoError> {
        let mut connection = self.connection();
        connection.pragma_update(None, "synchronous", "FULL")?;
        let done = within(&mut connection, change);
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(done?)
    }

    /// The age of what earlier versions kept is counted from now on.
    fn add_later_columns(&self, now: ServiceTime) -> Result<(), DemoError> {
        let connection = self.connection();
        for (table, column, kind) in LATER_COLUMNS {
            if !connection.column_exists(None, table, column)? {
                connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {kind}"))?;
            }
        }
        connection.execute("UPDATE people SET seen_at = ?1 WHERE seen_at = 0", [now.0])?;
        let until = now.plus(VOICE_KEPT).0;
        connection.execute("UPDATE voice_mails SET kept_until = ?1 WHERE kept_until = 0", [until])?;
        Ok(())
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        lock(&self.connection)
    }
}

fn within<T>(
    connection: &mut Connection,
    change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction()?;
    let done = change(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

/// Names, conversations, voice mails and endpoints are in the file, and in the two that SQLite keeps next to it with its
/// mode. An earlier version created all three for everyone to read.
fn make_private(file: &Path) -> Result<(), DemoError> {
    let beside = |end: &str| {
        let mut path = file.as_os_str().to_owned();
        path.push(end);
        PathBuf::from(path)
    };
    let existing = [beside("-wal"), beside("-shm")].into_iter().filter(|path| path.exists());
    for path in std::iter::once(file.to_owned()).chain(existing) {
        private_file::ensure_private(&path).map_err(|error| DemoError::File { path, why: error.to_string() })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::clock;

    #[test]
    fn a_store_that_everyone_could_read_is_private_once_it_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("demo.sqlite");
        // As a crash leaves it: with the other two files.
        let other = Connection::open(&file).unwrap();
        other.pragma_update(None, "journal_mode", "WAL").unwrap();
        other.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
        let names = ["demo.sqlite", "demo.sqlite-wal", "demo.sqlite-shm"].map(|name| folder.path().join(name));
        names.iter().for_each(|path| fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap());
        let _store = Store::open(&file, clock::moment().instant).unwrap();
        for path in &names {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
    }

    #[test]
    fn people_of_an_earlier_version_stay_and_count_for_no_source() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("demo.sqlite");
        let earlier = Connection::open(&file).unwrap();
        earlier.execute_batch(SCHEMA).unwrap();
        earlier.execute_batch("INSERT INTO people (id, key, name) VALUES (1, 'alice', 'Alice')").unwrap();
        drop(earlier);
        for _ in 0..2 {
            let store = Store::open(&file, clock::moment().instant).unwrap();
            assert_eq!(store.people().unwrap()[0].name, "Alice");
            let read = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
            assert_eq!(store.connection().query_row("SELECT source FROM people", [], read).unwrap(), "");
        }
    }
}
