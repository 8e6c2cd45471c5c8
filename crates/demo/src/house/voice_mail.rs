//! Voice mail: a bounded sound that one person leaves for another, who is notified and alone may play it.

use std::net::IpAddr;

use bytes::Bytes;
use doorbell_protocol::time::UnixMs;
use serde_json::{Value, json};

use super::House;
use crate::clock::Moment;
use crate::error::DemoError;
use crate::events::Event;
use crate::limits::VOICE_BYTES_MAX;
use crate::notice::News;
use crate::session::Session;
use crate::steps::{Step, Story};
use crate::store::{Parcel, VoiceMail};

/// What `MediaRecorder` makes in the browsers that have it. It is served under these names and no other, so that a
/// "voice mail" cannot be a page.
const MEDIA_TYPES: [&str; 3] = ["audio/webm", "audio/ogg", "audio/mp4"];

impl House {
    /// Leaves `sound` for the person called `to`.
    pub(crate) fn leave_voice_mail(
        &self,
        session: &Session,
        to: &str,
        media_type: &str,
        sound: &Bytes,
        (from, at): (IpAddr, Moment),
    ) -> Result<Value, DemoError> {
        let (me, to) = (self.person(session.person)?, self.person_called(to)?);
        let named = media_type.split(';').next().expect("a split has at least one part").trim();
        let media_type = MEDIA_TYPES.iter().find(|known| named.eq_ignore_ascii_case(known));
        let media_type =
            media_type.ok_or(DemoError::Malformed("a voice mail is audio/webm, audio/ogg or audio/mp4"))?;
        if sound.is_empty() {
            return Err(DemoError::Malformed("the voice mail is empty"));
        }
        if sound.len() > VOICE_BYTES_MAX {
            return Err(DemoError::TooLarge("a voice mail has at most one MiB, which is two minutes"));
        }
        let source = self.seal.source(from);
        let parcel = Parcel { sender: me.id, recipient: to.id, source: &source, media_type, sound };
        let mail = self.store.add_voice_mail(&parcel, at.wall, self.store.service_time(at.instant)?)?;
        let story = Story { id: format!("voice-{}", mail.id), viewer: me.id };
        story.step(&self.pages, Step::VoiceMail { to: &to.name, kib: sound.len() / 1024 });
        self.pages.send(to.id, &Event::People);
        self.notify(to.id, None, &me, News::VoiceMail(mail.id), &story)?;
        Ok(json!({ "id": mail.id }))
    }

    /// Its media type and its sound.
    pub(crate) fn voice(&self, session: &Session, id: i64, at: Moment) -> Result<(&'static str, Vec<u8>), DemoError> {
        let now = self.store.service_time(at.instant)?;
        let (media_type, sound) =
            self.store.voice(id, session.person, now)?.ok_or(DemoError::NotFound("voice mail"))?;
        let known = MEDIA_TYPES.into_iter().find(|known| *known == media_type);
        Ok((known.ok_or(DemoError::Store(rusqlite::Error::InvalidQuery))?, sound))
    }

    /// It was played.
    pub(crate) fn play_voice_mail(&self, session: &Session, id: i64, now: UnixMs) -> Result<(), DemoError> {
        if self.store.was_played(id, session.person, now)? {
            self.pages.send(session.person, &Event::People);
        }
        Ok(())
    }

    /// Removes it.
    pub(crate) fn remove_voice_mail(&self, session: &Session, id: i64) -> Result<(), DemoError> {
        let was_there = self.store.remove_voice_mail(id, session.person)?;
        self.pages.send(session.person, &Event::People);
        if was_there { Ok(()) } else { Err(DemoError::NotFound("voice mail")) }
    }

    pub(super) fn voice_mail_for_page(&self, mail: &VoiceMail) -> Result<Value, DemoError> {
        let from = self.person(mail.sender)?.name;
        let played_at = mail.played_at.map(UnixMs::as_millis);
        Ok(json!({ "id": mail.id, "from": from, "leftAt": mail.left_at.as_millis(), "playedAt": played_at }))
    }
}
