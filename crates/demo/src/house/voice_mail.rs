//! Voice mail: sound that somebody leaves, bounded, notified, played by nobody but the one it is for.

use bytes::Bytes;
use doorbell_protocol::time::UnixMs;
use serde_json::{Value, json};

use super::House;
use crate::error::DemoError;
use crate::limits::VOICE_OCTETS_MAX;
use crate::notice::News;
use crate::session::Session;
use crate::steps::Story;
use crate::store::VoiceMail;

/// What `MediaRecorder` makes in the browsers that have it. It is served under these names and no other, so that a
/// "voice mail" cannot be a page.
const MEDIA_TYPES: [&str; 3] = ["audio/webm", "audio/ogg", "audio/mp4"];

impl House {
    /// Leaves `sound` for somebody.
    pub(crate) fn leave_voice_mail(
        &self,
        session: &Session,
        to: &str,
        media_type: &str,
        sound: &Bytes,
        now: UnixMs,
    ) -> Result<Value, DemoError> {
        let (me, to) = (self.person(session.person)?, self.somebody(to)?);
        let named = media_type.split(';').next().unwrap_or_default().trim();
        let media_type = MEDIA_TYPES.iter().find(|known| named.eq_ignore_ascii_case(known));
        let media_type =
            media_type.ok_or(DemoError::Malformed("a voice mail is audio/webm, audio/ogg or audio/mp4"))?;
        if sound.is_empty() {
            return Err(DemoError::Malformed("the voice mail is empty"));
        }
        if sound.len() > VOICE_OCTETS_MAX {
            return Err(DemoError::TooLarge("a voice mail has at most one MiB, which is two minutes"));
        }
        let mail = self.store.add_voice_mail(me.id, to.id, media_type, sound, now)?;
        let story = Story { id: format!("voice-{}", mail.id), teller: me.id };
        story.step(&self.pages, &format!("you leave {} a voice mail", to.name), &format!("{} KiB", sound.len() / 1024));
        self.pages.tell(to.id, &json!({ "type": "people" }));
        self.notify(to.id, None, &me, News::VoiceMail(mail.id), &story)?;
        Ok(json!({ "id": mail.id }))
    }

    /// Its media type and its sound.
    pub(crate) fn voice(&self, session: &Session, id: i64, now: UnixMs) -> Result<(String, Vec<u8>), DemoError> {
        self.store.voice(id, session.person, now)?.ok_or(DemoError::Nothing("voice mail"))
    }

    /// It was played.
    pub(crate) fn hear(&self, session: &Session, id: i64, now: UnixMs) -> Result<(), DemoError> {
        if self.store.hear(id, session.person, now)? {
            self.pages.tell(session.person, &json!({ "type": "people" }));
        }
        Ok(())
    }

    /// It is thrown away.
    pub(crate) fn remove_voice_mail(&self, session: &Session, id: i64) -> Result<(), DemoError> {
        let was_there = self.store.remove_voice_mail(id, session.person)?;
        self.pages.tell(session.person, &json!({ "type": "people" }));
        if was_there { Ok(()) } else { Err(DemoError::Nothing("voice mail")) }
    }

    pub(super) fn voice_mail_for_page(&self, mail: &VoiceMail) -> Result<Value, DemoError> {
        let from = self.person(mail.sender)?.name;
        let heard_at = mail.heard_at.map(UnixMs::as_millis);
        Ok(json!({ "id": mail.id, "from": from, "leftAt": mail.left_at.as_millis(), "heardAt": heard_at }))
    }
}
