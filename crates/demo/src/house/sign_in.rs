//! Signing in: the first who comes has the name; another device gets in with its passphrase or by an invitation.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use doorbell_protocol::base64url;
use doorbell_protocol::time::UnixMs;
use serde_json::{Value, json};

use super::House;
use crate::error::DemoError;
use crate::name::Name;
use crate::session::Session;
use crate::store::Person;
use crate::token::Token;

const SALT_OCTETS: usize = 16;
const HASH_OCTETS: usize = 32;
/// Some 50 ms of work: nothing for a person, much for somebody who guesses.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(99_999);
const PASSPHRASE_OCTETS_MAX: usize = 200;
const LABEL_CHARACTERS_MAX: usize = 40;

/// How somebody comes in.
pub(crate) enum Entrance {
    /// By a name, and a passphrase if they want one or have one.
    Name(Name, Option<String>),
    /// By an invitation that one of their devices made.
    Invitation(String),
}

/// A request to come in, on a device that calls itself so.
pub(crate) struct SignIn {
    pub(crate) entrance: Entrance,
    pub(crate) label: String,
}

impl House {
    /// Signs in: the session, and its cookie's value.
    pub(crate) fn sign_in(&self, request: SignIn, now: UnixMs) -> Result<(Person, String), DemoError> {
        let person = match request.entrance {
            Entrance::Name(name, passphrase) => self.by_name(&name, passphrase.as_deref().filter(|p| !p.is_empty()))?,
            Entrance::Invitation(invitation) => {
                let id = self
                    .seal
                    .open_invitation(&invitation, now)
                    .ok_or(DemoError::Nothing("invitation, or not any more"))?;
                self.person(id)?
            }
        };
        let label: String = request.label.chars().filter(|c| !c.is_control()).take(LABEL_CHARACTERS_MAX).collect();
        let label = if label.trim().is_empty() { "a browser".to_owned() } else { label };
        let session = Session { person: person.id, device: Token::random()? };
        self.store.add_device(&session.device, person.id, &label, now)?;
        self.pages.tell_all(&json!({ "type": "people" }));
        Ok((person, self.seal.session(&session, now)))
    }

    /// Who a cookie stands for, as long as its device is signed in.
    pub(crate) fn recognise(&self, cookie: &str, now: UnixMs) -> Result<Session, DemoError> {
        let session = self.seal.open_session(cookie, now).ok_or(DemoError::NotSignedIn)?;
        let is_in = self.store.device(&session.device)?.is_some_and(|device| device.person == session.person);
        if is_in { Ok(session) } else { Err(DemoError::NotSignedIn) }
    }

    /// Signs this device out.
    pub(crate) fn sign_out(&self, session: &Session) -> Result<(), DemoError> {
        self.store.remove_device(&session.device)?;
        self.pages.dismiss(&session.device);
        self.pages.tell_all(&json!({ "type": "people" }));
        Ok(())
    }

    /// A link that lets another device in as the same person.
    pub(crate) fn invite(&self, session: &Session, now: UnixMs) -> Value {
        let link = format!("{}/#in={}", self.site, self.seal.invitation(session.person, now));
        json!({ "link": link })
    }

    fn by_name(&self, name: &Name, passphrase: Option<&str>) -> Result<Person, DemoError> {
        if passphrase.is_some_and(|words| words.len() > PASSPHRASE_OCTETS_MAX) {
            return Err(DemoError::TooLarge("a passphrase has at most 200 octets"));
        }
        let Some(person) = self.store.person_named(name)? else {
            let kept = passphrase.map(keep).transpose()?;
            return self.store.add_person(name, kept.as_deref());
        };
        match (&person.passphrase, passphrase) {
            (Some(kept), Some(given)) if fits(kept, given) => Ok(person),
            (Some(_), Some(_)) => Err(DemoError::WrongPassphrase),
            // Nobody is signed in with it any more, and nobody has reserved it by a passphrase.
            (None, None) if self.store.devices_of(person.id)?.is_empty() => Ok(person),
            _ => Err(DemoError::NameTaken(person.name)),
        }
    }
}

fn keep(passphrase: &str) -> Result<String, DemoError> {
    let mut salt = [0; SALT_OCTETS];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| DemoError::Random)?;
    let mut hash = [0; HASH_OCTETS];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, passphrase.as_bytes(), &mut hash);
    Ok(format!("{}.{}", base64url::encode(&salt), base64url::encode(&hash)))
}

fn fits(kept: &str, given: &str) -> bool {
    let Some((salt, hash)) = kept.split_once('.') else { return false };
    let (Ok(salt), Ok(hash)) = (base64url::decode(salt), base64url::decode(hash)) else { return false };
    pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, given.as_bytes(), &hash).is_ok()
}
