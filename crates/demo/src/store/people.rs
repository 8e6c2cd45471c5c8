//! The people who have signed in.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{PersonId, ServiceTime, Store};
use crate::error::DemoError;
use crate::limits::{PEOPLE_MAX, PEOPLE_OF_SOURCE_MAX, SESSION_KEPT, UNUSED_NAME_KEPT};
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

/// A person who takes a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer<'a> {
    pub(crate) name: &'a Name,
    /// Salt and hash.
    pub(crate) passphrase: Option<&'a str>,
    /// Where they come from, as a keyed hash.
    pub(crate) source: &'a str,
}

/// How exactly it is kept when a person was seen: a write for each request would be many.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

/// Of a person whom no push reaches, who has no passphrase, and who has neither sent nor received anything that is kept.
const UNUSED: &str = "passphrase IS NULL AND id NOT IN (SELECT person FROM devices WHERE subscription IS NOT NULL)
    AND id NOT IN (SELECT sender FROM messages UNION SELECT recipient FROM messages)
    AND id NOT IN (SELECT sender FROM voice_mails UNION SELECT recipient FROM voice_mails)";

/// From how many numbers one is drawn.
const IDS: i64 = (1 << 53) - 1;

const COLUMNS: &str = "id, name, passphrase, available";

impl Store {
    /// Checks that there is room for one more person, in the part of their source and in the house. If there is none,
    /// names that were taken there and not used for a while make room; when there are still too many, so do those that no
    /// device is signed in with and no passphrase reserves, and then those whose sessions have all ended. `is_there`: who
    /// has a page open.
    pub(crate) fn make_room_for_a_person(
        &self,
        source: &str,
        now: ServiceTime,
        is_there: impl Fn(PersonId) -> bool,
    ) -> Result<(), DemoError> {
        let connection = self.connection();
        for part in [Part::Source(source), Part::House] {
            let of = part.source();
            if part.is_full(&connection)? {
                let unused = format!("SELECT id FROM people WHERE {OF_SOURCE} AND seen_at < ?2 AND {UNUSED}");
                let mut unused = connection.prepare_cached(&unused)?;
                let before = now.minus(UNUSED_NAME_KEPT).0;
                let unused = unused.query_map(params![of, before], |row| row.get(0).map(PersonId))?;
                for person in unused.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|person| !is_there(*person)) {
                    connection.execute("DELETE FROM people WHERE id = ?1", [person.0])?;
                }
            }
            if part.is_full(&connection)? {
                let idle = "passphrase IS NULL AND id NOT IN (SELECT person FROM devices)";
                connection.execute(&format!("DELETE FROM people WHERE {OF_SOURCE} AND {idle}"), params![of])?;
            }
            if part.is_full(&connection)? {
                let ended = format!("DELETE FROM people WHERE {OF_SOURCE} AND seen_at < ?2");
                connection.execute(&ended, params![of, now.minus(SESSION_KEPT).0])?;
            }
            if part.is_full(&connection)? {
                return Err(part.full());
            }
        }
        Ok(())
    }

    /// The person was here.
    pub(crate) fn was_seen(&self, id: PersonId, now: ServiceTime) -> Result<(), DemoError> {
        let update = "UPDATE people SET seen_at = ?2 WHERE id = ?1 AND seen_at < ?3";
        self.connection().execute(update, [id.0, now.0, now.minus(SEEN_WITHIN).0])?;
        Ok(())
    }

    /// A new person, who takes no calls until they choose to.
    pub(crate) fn add_person(&self, newcomer: &Newcomer<'_>, now: ServiceTime) -> Result<Person, DemoError> {
        insert_person(&self.connection(), newcomer, now)?
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

/// The answer of the inner result leaves the transaction as it is.
pub(super) fn insert_person(
    connection: &Connection,
    newcomer: &Newcomer<'_>,
    now: ServiceTime,
) -> rusqlite::Result<Result<Person, DemoError>> {
    let Newcomer { name, passphrase, source } = *newcomer;
    // Others may have taken the last place, or the name, while the passphrase was hashed.
    for part in [Part::Source(source), Part::House] {
        if part.is_full(connection)? {
            return Ok(Err(part.full()));
        }
    }
    let Ok(id) = new_id() else { return Ok(Err(DemoError::Random)) };
    // They take calls: a person who has only signed in can be called back while their page is open.
    let insert = "INSERT INTO people (id, key, name, passphrase, available, seen_at, source)
        VALUES (?1, ?2, ?3, ?4, TRUE, ?5, ?6)
        ON CONFLICT (key) DO NOTHING";
    if connection.execute(insert, params![id.0, name.key(), name.as_str(), passphrase, now.0, source])? == 0 {
        return Ok(Err(DemoError::NameTaken(name.as_str().to_owned())));
    }
    let (name, passphrase) = (name.as_str().to_owned(), passphrase.map(str::to_owned));
    Ok(Ok(Person { id, name, passphrase, available: true }))
}

/// A number that no person has had: an invitation, a push and a debt outlive the person whose number they have. It is
/// exact in JSON, and 0 is the operator's.
fn new_id() -> Result<PersonId, DemoError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| DemoError::Random)?;
    Ok(PersonId(i64::from_le_bytes(bytes).rem_euclid(IDS) + 1))
}

/// Where there is room for a number of people.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// For those whose names this source took.
    Source(&'a str),
    /// For all.
    House,
}

/// Of the source that is the first parameter, or of all if it is null.
const OF_SOURCE: &str = "(?1 IS NULL OR source = ?1)";

impl Part<'_> {
    fn source(&self) -> Option<&str> {
        match self {
            Self::Source(source) => Some(source),
            Self::House => None,
        }
    }

    fn is_full(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let max = match self {
            Self::Source(_) => PEOPLE_OF_SOURCE_MAX,
            Self::House => PEOPLE_MAX,
        };
        let count = format!("SELECT count(*) FROM people WHERE {OF_SOURCE}");
        let count: u32 = connection.query_row(&count, params![self.source()], |row| row.get(0))?;
        Ok(count >= max)
    }

    fn full(&self) -> DemoError {
        DemoError::TooMany(match self {
            Self::Source(_) => "too many people have signed in from your network",
            Self::House => "no more people can sign in here",
        })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Person> {
    Ok(Person { id: PersonId(row.get(0)?), name: row.get(1)?, passphrase: row.get(2)?, available: row.get(3)? })
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::time::UnixMs;

    use super::*;
    use crate::clock;
    use crate::store::Parcel;
    use crate::token::Token;

    const NOW: ServiceTime = ServiceTime(1_000_000_000);

    struct House {
        store: Store,
        _folder: tempfile::TempDir,
    }

    impl House {
        fn open() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("demo.sqlite"), clock::moment().instant).unwrap();
            Self { store, _folder: folder }
        }

        /// Signs a person in, as the house does.
        fn takes(&self, name: &str, now: ServiceTime) -> Result<PersonId, DemoError> {
            self.takes_from(&format!("network of {name}"), name, now)
        }

        fn takes_from(&self, source: &str, name: &str, now: ServiceTime) -> Result<PersonId, DemoError> {
            self.store.make_room_for_a_person(source, now, |_| false)?;
            let newcomer = Newcomer { name: &Name::parse(name)?, passphrase: None, source };
            let person = self.store.add_person(&newcomer, now)?.id;
            self.store.add_device(&Token::random()?, person, "a browser", UnixMs::default())?;
            Ok(person)
        }

        fn has(&self, name: &str) -> bool {
            self.store.person_named(&Name::parse(name).unwrap()).unwrap().is_some()
        }
    }

    #[test]
    fn a_flood_of_names_that_are_never_used_is_gone_after_a_while_and_people_are_not() {
        let house = House::open();
        let [alice, mom, bob] = ["Alice", "Mom", "Bob"].map(|name| house.takes(name, NOW).unwrap());
        house.store.add_message(alice, mom, "Hello", UnixMs::default()).unwrap();
        for number in 3..PEOPLE_MAX {
            house.takes(&format!("Stranger {number}"), NOW).unwrap();
        }
        assert!(matches!(house.takes("Late", NOW), Err(DemoError::TooMany(_))));
        let later = NOW.plus(UNUSED_NAME_KEPT).plus(Duration::from_millis(1));
        house.store.was_seen(mom, later).unwrap();
        house.store.make_room_for_a_person("another", later, |person| person == bob).unwrap();
        assert!(house.has("Alice") && house.has("Mom") && house.has("Bob") && !house.has("Stranger 3"));
        house.takes("Late", later).unwrap();
    }

    #[test]
    fn in_a_full_house_a_name_without_a_device_makes_room_and_later_one_whose_sessions_have_ended() {
        let house = House::open();
        let takes = |number| {
            let person = house.takes(&format!("Person {number}"), NOW).unwrap();
            house.store.add_message(person, person, "used", UnixMs::default()).unwrap();
            person
        };
        let people: Vec<_> = (0..PEOPLE_MAX).map(takes).collect();
        assert!(matches!(house.takes("Late", NOW), Err(DemoError::TooMany(_))));
        let devices = house.store.devices_of(people[7]).unwrap();
        house.store.remove_device(&devices[0].id).unwrap();
        let late = house.takes("Late", NOW).unwrap();
        assert!(!house.has("Person 7"));
        house.store.add_message(late, people[0], "used", UnixMs::default()).unwrap();
        let ended = NOW.plus(SESSION_KEPT).plus(Duration::from_millis(1));
        house.store.was_seen(people[8], ended).unwrap();
        house.takes("Later", ended).unwrap();
        assert!(house.has("Person 8") && !house.has("Person 9"));
    }

    #[test]
    fn a_name_is_taken_once() {
        let house = House::open();
        house.takes("Alice", NOW).unwrap();
        let again = house.takes("ALICE", NOW);
        assert!(matches!(again, Err(DemoError::NameTaken(_))));
    }

    #[test]
    fn the_number_of_a_person_who_is_gone_is_not_given_to_the_next_one() {
        let house = House::open();
        let numbers: std::collections::HashSet<_> = (0..50)
            .map(|number| {
                let person = house.takes(&format!("Person {number}"), NOW).unwrap();
                house.store.connection().execute("DELETE FROM people WHERE id = ?1", [person.0]).unwrap();
                assert!((1..1 << 53).contains(&person.0), "{person:?}");
                person
            })
            .collect();
        assert_eq!(numbers.len(), 50);
    }

    #[test]
    fn a_name_goes_only_if_there_is_no_room_and_never_one_with_a_passphrase_or_mail() {
        let house = House::open();
        let [alice, mom, dad, gran] = ["Alice", "Mom", "Dad", "Gran"].map(|name| house.takes(name, NOW).unwrap());
        house.store.add_message(alice, mom, "Are you there?", UnixMs::default()).unwrap();
        let parcel =
            Parcel { sender: alice, recipient: dad, source: "home", media_type: "audio/ogg", sound: b"Call me" };
        house.store.add_voice_mail(&parcel, UnixMs::default(), NOW).unwrap();
        let reserve = "UPDATE people SET passphrase = 'salt.hash' WHERE id = ?1";
        house.store.connection().execute(reserve, [gran.0]).unwrap();
        house.takes("Stranger", NOW).unwrap();
        let later = NOW.plus(UNUSED_NAME_KEPT * 2);
        for number in 5..PEOPLE_MAX {
            house.takes(&format!("Stranger {number}"), later).unwrap();
            assert!(house.has("Stranger"), "there is room");
        }
        house.takes("Late", later).unwrap();
        assert!(!house.has("Stranger") && ["Alice", "Mom", "Dad", "Gran"].iter().all(|name| house.has(name)));
    }

    #[test]
    fn a_source_has_a_part_of_the_house_in_which_its_own_unused_names_make_room() {
        let house = House::open();
        let alice = house.takes("Alice", NOW).unwrap();
        for number in 0..PEOPLE_OF_SOURCE_MAX {
            let person = house.takes_from("flood", &format!("Stranger {number}"), NOW).unwrap();
            if number > 0 {
                house.store.add_message(person, alice, "used", UnixMs::default()).unwrap();
            }
        }
        assert!(matches!(house.takes_from("flood", "Late", NOW), Err(DemoError::TooMany(_))));
        let late = Newcomer { name: &Name::parse("Late").unwrap(), passphrase: None, source: "flood" };
        assert!(matches!(house.store.add_person(&late, NOW), Err(DemoError::TooMany(_))), "also after a hash");
        house.takes("Mom", NOW).unwrap();
        let later = NOW.plus(UNUSED_NAME_KEPT * 2);
        house.takes_from("flood", "Late", later).unwrap();
        assert!(!house.has("Stranger 0") && house.has("Stranger 1") && house.has("Mom"));
        assert!(matches!(house.takes_from("flood", "Later", later), Err(DemoError::TooMany(_))));
    }
}
