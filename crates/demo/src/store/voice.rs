//! Voice mails: bounded in number and age here, in size where they come in.

use doorbell_protocol::time::UnixMs;
use rusqlite::{OptionalExtension, Row, params};

use super::{PersonId, Store};
use crate::error::DemoError;
use crate::limits::{VOICE_KEPT, VOICE_MAILS_MAX};

/// A voice mail without its sound.
#[derive(Clone, Debug)]
pub(crate) struct VoiceMail {
    pub(crate) id: i64,
    pub(crate) sender: PersonId,
    pub(crate) left_at: UnixMs,
    pub(crate) played_at: Option<UnixMs>,
}

const COLUMNS: &str = "id, sender, left_at, heard_at";

impl Store {
    /// Keeps one. What is too old goes first; a box that is still full takes no more.
    pub(crate) fn add_voice_mail(
        &self,
        sender: PersonId,
        recipient: PersonId,
        media_type: &str,
        sound: &[u8],
        now: UnixMs,
    ) -> Result<VoiceMail, DemoError> {
        let connection = self.connection();
        connection.execute("DELETE FROM voice_mails WHERE left_at < ?1", [now.minus(VOICE_KEPT).as_millis()])?;
        let count = "SELECT count(*) FROM voice_mails WHERE recipient = ?1";
        let count: u32 = connection.query_row(count, [recipient.0], |row| row.get(0))?;
        if count >= VOICE_MAILS_MAX {
            return Err(DemoError::TooMany("the voice mail box is full"));
        }
        let insert = format!(
            "INSERT INTO voice_mails (sender, recipient, media_type, sound, left_at) VALUES (?1, ?2, ?3, ?4, ?5)
             RETURNING {COLUMNS}"
        );
        let values = params![sender.0, recipient.0, media_type, sound, now.as_millis()];
        Ok(connection.query_row(&insert, values, read)?)
    }

    /// What waits for a person, newest first.
    pub(crate) fn voice_mails(&self, recipient: PersonId, now: UnixMs) -> Result<Vec<VoiceMail>, DemoError> {
        let connection = self.connection();
        let select =
            format!("SELECT {COLUMNS} FROM voice_mails WHERE recipient = ?1 AND left_at >= ?2 ORDER BY id DESC");
        let mut select = connection.prepare_cached(&select)?;
        let oldest = now.minus(VOICE_KEPT).as_millis();
        Ok(select.query_map([recipient.0, oldest], read)?.collect::<Result<_, _>>()?)
    }

    /// Its media type and its sound, for the recipient only.
    pub(crate) fn voice(
        &self,
        id: i64,
        recipient: PersonId,
        now: UnixMs,
    ) -> Result<Option<(String, Vec<u8>)>, DemoError> {
        let select = "SELECT media_type, sound FROM voice_mails WHERE id = ?1 AND recipient = ?2 AND left_at >= ?3";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let oldest = now.minus(VOICE_KEPT).as_millis();
        Ok(self.connection().query_row(select, [id, recipient.0, oldest], read).optional()?)
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
    use crate::name::Name;

    const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);

    #[test]
    fn a_voice_mail_that_is_too_old_is_not_listed_and_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("demo.sqlite")).unwrap();
        let [alice, bob] = ["Alice", "Bob"].map(|name| store.add_person(&Name::parse(name).unwrap(), None).unwrap().id);
        let leaves = |now| store.add_voice_mail(bob, alice, "audio/ogg", b"hello", now);
        (0..VOICE_MAILS_MAX).for_each(|_| assert!(leaves(NOW).is_ok()));
        let count = |now| store.voice_mails(alice, now).unwrap().len();
        let last = NOW.plus(VOICE_KEPT);
        assert_eq!((count(last), count(last.plus(Duration::from_millis(1)))), (VOICE_MAILS_MAX as usize, 0));
        assert!(matches!(leaves(last), Err(DemoError::TooMany(_))));
        let too_late = last.plus(Duration::from_millis(1));
        let newest = leaves(too_late).unwrap();
        assert_eq!(store.voice_mails(alice, last).unwrap().len(), 1, "the old ones are gone for good");
        let plays = |person, now| store.voice(newest.id, person, now).unwrap().is_some();
        assert!(plays(alice, too_late) && !plays(bob, too_late) && !plays(alice, too_late.plus(VOICE_KEPT * 2)));
    }
}
