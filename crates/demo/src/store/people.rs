//! The people who have signed in.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{PersonId, Store};
use crate::error::DemoError;
use crate::limits::PEOPLE_MAX;
use crate::name::Name;

/// A person.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) id: PersonId,
    pub(crate) name: String,
    /// Salt and hash.
    pub(crate) passphrase: Option<String>,
    /// Whether they take calls.
    pub(crate) available: bool,
}

const COLUMNS: &str = "id, name, passphrase, available";

impl Store {
    /// Checks that there is room for one more person. When there are too many, names that no device is signed in with
    /// and no passphrase reserves make room.
    pub(crate) fn make_room_for_a_person(&self) -> Result<(), DemoError> {
        let connection = self.connection();
        if count(&connection)? >= PEOPLE_MAX {
            let idle = "DELETE FROM people WHERE passphrase IS NULL AND id NOT IN (SELECT person FROM devices)";
            connection.execute(idle, [])?;
        }
        if count(&connection)? < PEOPLE_MAX { Ok(()) } else { Err(full()) }
    }

    /// A new person, who takes no calls until they choose to.
    pub(crate) fn add_person(&self, name: &Name, passphrase: Option<&str>) -> Result<Person, DemoError> {
        let connection = self.connection();
        // Others may have taken the last place, or the name, while the passphrase was hashed.
        if count(&connection)? >= PEOPLE_MAX {
            return Err(full());
        }
        let insert = "INSERT OR IGNORE INTO people (key, name, passphrase) VALUES (?1, ?2, ?3)";
        if connection.execute(insert, params![name.key(), name.as_str(), passphrase])? == 0 {
            return Err(DemoError::NameTaken(name.as_str().to_owned()));
        }
        let id = PersonId(connection.last_insert_rowid());
        let (name, passphrase) = (name.as_str().to_owned(), passphrase.map(str::to_owned));
        Ok(Person { id, name, passphrase, available: false })
    }

    /// Who has this name.
    pub(crate) fn person_named(&self, name: &Name) -> Result<Option<Person>, DemoError> {
        let select = format!("SELECT {COLUMNS} FROM people WHERE key = ?1");
        Ok(self.connection().query_row(&select, [name.key()], read).optional()?)
    }

    /// Who has this number.
    pub(crate) fn person(&self, id: PersonId) -> Result<Option<Person>, DemoError> {
        let select = format!("SELECT {COLUMNS} FROM people WHERE id = ?1");
        Ok(self.connection().query_row(&select, [id.0], read).optional()?)
    }

    /// Everybody, by name.
    pub(crate) fn people(&self) -> Result<Vec<Person>, DemoError> {
        let connection = self.connection();
        let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM people ORDER BY key"))?;
        Ok(select.query_map([], read)?.collect::<Result<_, _>>()?)
    }

    /// Whether they take calls from now on.
    pub(crate) fn set_available(&self, id: PersonId, available: bool) -> Result<(), DemoError> {
        self.connection().execute("UPDATE people SET available = ?2 WHERE id = ?1", params![id.0, available])?;
        Ok(())
    }
}

fn count(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("SELECT count(*) FROM people", [], |row| row.get(0))
}

fn full() -> DemoError {
    DemoError::TooMany("no more people can sign in here")
}

fn read(row: &Row<'_>) -> rusqlite::Result<Person> {
    Ok(Person { id: PersonId(row.get(0)?), name: row.get(1)?, passphrase: row.get(2)?, available: row.get(3)? })
}
