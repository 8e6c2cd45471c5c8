//! Voice mails: bounded in number and age here, in size where they come in.

use doorbell_protocol::time::UnixMs;
use rusqlite::{OptionalExtension, Row, params};

use super::{PersonId, ServiceTime, Store};
use crate::error::DemoError;
use crate::limits::{VOICE_KEPT, VOICE_MAILS_FROM_SOURCE_MAX, VOICE_MAILS_MAX, VOICE_MAILS_OF_SENDER_MAX};

/// A voice mail without its sound.
#[derive(Clone, Debug)]
pub(crate) struct VoiceMail {
    pub(crate) id: i64,
    pub(crate) sender: PersonId,
    pub(crate) left_at: UnixMs,
    pub(crate) played_at: Option<UnixMs>,
}

/// A voice mail that is to be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parcel<'a> {
    pub(crate) sender: PersonId,
    pub(crate) recipient: PersonId,
    /// Where it comes from, as a keyed hash.
    pub(crate) source: &'a str,
    pub(crate) media_type: &'a str,
    pub(crate) sound: &'a [u8],
}

const COLUMNS: &str = "id, sender, left_at, heard_at";

impl Store {
    /// Keeps one. What is too old goes first; a box that is still full takes no more, and one sender, and one source,
    /// have a part of it only.
    pub(crate) fn add_voice_mail(
        &self,
        parcel: &Parcel<'_>,
        at: UnixMs,
        now: ServiceTime,
    ) -> Result<VoiceMail, DemoError> {
        let Parcel { sender, recipient, source, media_type, sound } = *parcel;
        let connection = self.connection();
        connection.execute("DELETE FROM voice_mails WHERE kept_until < ?1", [now.0])?;
        let count = "SELECT count(*), coalesce(sum(sender = ?2), 0), coalesce(sum(source = ?3), 0) FROM voice_mails
            WHERE recipient = ?1";
        let read_counts = |row: &Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?, row.get::<_, u32>(2)?));
        let (all, of_sender, of_source) =
            connection.query_row(count, params![recipient.0, sender.0, source], read_counts)?;
        if of_sender >= VOICE_MAILS_OF_SENDER_MAX {
            return Err(DemoError::TooMany(
                "they have as many voice mails of yours as fit: they remove them once played",
            ));
        }
        if all >= VOICE_MAILS_MAX || of_source >= VOICE_MAILS_FROM_SOURCE_MAX {
            return Err(DemoError::TooMany("the voice mail box is full"));
        }
        let insert = format!(
            "INSERT INTO voice_mails (sender, recipient, media_type, sound, left_at, kept_until, source)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING {COLUMNS}"
        );
        let until = now.plus(VOICE_KEPT).0;
        let values = params![sender.0, recipient.0, media_type, sound, at.as_millis(), until, source];
        Ok(connection.query_row(&insert, values, read)?)
    }

    /// What waits for a person, newest first.
    pub(crate) fn voice_mails(&self, recipient: PersonId, now: ServiceTime) -> Result<Vec<VoiceMail>, DemoError> {
        let connection = self.connection();
        let select =
            format!("SELECT {COLUMNS} FROM voice_mails WHERE recipient = ?1 AND kept_until >= ?2 ORDER BY id DESC");
        let mut select = connection.prepare_cached(&select)?;
        Ok(select.query_map([recipient.0, now.0], read)?.collect::<Result<_, _>>()?)
    }

    /// Its media type and its sound, for the recipient only.
    pub(crate) fn voice(
        &self,
        id: i64,
        recipient: PersonId,
        now: ServiceTime,
    ) -> Result<Option<(String, Vec<u8>)>, DemoError> {
        let select = "SELECT media_type, sound FROM voice_mails WHERE id = ?1 AND recipient = ?2 AND kept_until >= ?3";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(self.connection().query_row(select, [id, recipient.0, now.0], read).optional()?)
    }

    /// It was played: whether for the first time.
    pub(crate) fn was_played(&self, id: i64, recipient: PersonId, at: UnixMs) -> Result<bool, DemoError> {
        let update = "UPDATE voice_mails SET heard_at = ?3 WHERE id = ?1 AND recipient = ?2 AND heard_at IS NULL";
        Ok(self.connection().execute(update, params![id, recipient.0, at.as_millis()])? > 0)
    }

    /// The recipient removes it: whether it was there.
    pub(crate) fn remove_voice_mail(&self, id: i64, recipient: PersonId) -> Result<bool, DemoError> {
        let delete = "DELETE FROM voice_mails WHERE id = ?1 AND recipient = ?2";
        Ok(self.connection().execute(delete, [id, recipient.0])? > 0)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<VoiceMail> {
    Ok(VoiceMail {
        id: row.get(0)?,
        sender: PersonId(row.get(1)?),
        left_at: UnixMs::from_millis(row.get(2)?),
        played_at: row.get::<_, Option<i64>>(3)?.map(UnixMs::from_millis),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::name::Name;
    use crate::store::Newcomer;

    const NOW: ServiceTime = ServiceTime(1_000_000_000);

    struct Boxes {
        store: Store,
        people: Vec<PersonId>,
        _folder: tempfile::TempDir,
    }

    impl Boxes {
        fn open() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("demo.sqlite"), clock::moment().instant).unwrap();
            let name = |number| Name::parse(&format!("Person {number}")).unwrap();
            let person = |number| {
                let newcomer = Newcomer { name: &name(number), passphrase: None, source: "home" };
                store.add_person(&newcomer, NOW).unwrap().id
            };
            let people = (0..10).map(person).collect();
            Self { store, people, _folder: folder }
        }

        /// A person leaves one for the first one.
        fn leaves(&self, sender: usize, source: &str, now: ServiceTime) -> Result<VoiceMail, DemoError> {
            let (sender, recipient) = (self.people[sender], self.people[0]);
            let parcel = Parcel { sender, recipient, source, media_type: "audio/ogg", sound: b"hello" };
            self.store.add_voice_mail(&parcel, UnixMs::default(), now)
        }

        fn count(&self, now: ServiceTime) -> usize {
            self.store.voice_mails(self.people[0], now).unwrap().len()
        }
    }

    #[test]
    fn a_voice_mail_that_is_too_old_is_not_listed_and_makes_room() {
        let boxes = Boxes::open();
        (0..VOICE_MAILS_OF_SENDER_MAX).for_each(|_| assert!(boxes.leaves(1, "home", NOW).is_ok()));
        let last = NOW.plus(VOICE_KEPT);
        let too_late = last.plus(Duration::from_millis(1));
        assert_eq!((boxes.count(last), boxes.count(too_late)), (VOICE_MAILS_OF_SENDER_MAX as usize, 0));
        assert!(matches!(boxes.leaves(1, "home", last), Err(DemoError::TooMany(_))));
        let newest = boxes.leaves(1, "home", too_late).unwrap();
        assert_eq!(boxes.count(last), 1, "the old ones are gone for good");
        let plays = |person: usize, now| boxes.store.voice(newest.id, boxes.people[person], now).unwrap().is_some();
        assert!(plays(0, too_late) && !plays(1, too_late) && !plays(0, too_late.plus(VOICE_KEPT * 2)));
    }

    #[test]
    fn one_sender_and_one_source_have_a_part_of_a_box_and_others_still_get_in() {
        let boxes = Boxes::open();
        let count = |sender| (0..).take_while(|_| boxes.leaves(sender, "flood", NOW).is_ok()).count();
        let taken: Vec<usize> = (1..10).map(count).collect();
        assert_eq!(taken.iter().max(), Some(&(VOICE_MAILS_OF_SENDER_MAX as usize)));
        assert_eq!(taken.iter().sum::<usize>(), VOICE_MAILS_FROM_SOURCE_MAX as usize);
        boxes.leaves(9, "another", NOW).unwrap();
        for sender in 1..10 {
            while boxes.leaves(sender, &format!("network {sender}"), NOW).is_ok() {}
        }
        assert_eq!(boxes.count(NOW), VOICE_MAILS_MAX as usize);
    }
}
