//! Signing in: the first who comes has the name; another device gets in with its passphrase or by an invitation.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::MutexGuard;

use aws_lc_rs::pbkdf2;
use doorbell_protocol::base64url;
use doorbell_protocol::time::UnixMs;
use serde::Deserialize;
use serde_json::{Value, json};

use super::House;
use crate::code;
use crate::error::DemoError;
use crate::events::Event;
use crate::guesses::Guesses;
use crate::is_on_this_machine;
use crate::lock::lock;
use crate::name::Name;
use crate::session::Session;
use crate::store::Person;
use crate::token::Token;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Some 50 ms of work: nothing for a person, much for a client that guesses.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(99_999);
const PASSPHRASE_BYTES_MAX: usize = 200;
const LABEL_CHARACTERS_MAX: usize = 40;

/// How a person comes in.
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
    /// Where the request comes from.
    pub(crate) address: IpAddr,
}

/// Whom an invitation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Guest {
    /// Another device of the same person.
    Device,
    /// Another person.
    Person,
}

impl House {
    /// Signs in: the session, and its cookie's value.
    pub(crate) fn sign_in(&self, request: SignIn, now: UnixMs) -> Result<(Person, String), DemoError> {
        let person = match request.entrance {
            Entrance::Name(name, passphrase) => {
                let passphrase = passphrase.as_deref().filter(|words| !words.is_empty());
                self.by_name(&name, passphrase, request.address, now)?
            }
            Entrance::Invitation(invitation) => {
                let id = self
                    .seal
                    .open_invitation(&invitation, now)
                    .ok_or(DemoError::NotFound("invitation, or not any more"))?;
                self.person(id)?
            }
        };
        let label: String = request.label.chars().filter(|c| !c.is_control()).take(LABEL_CHARACTERS_MAX).collect();
        let label = if label.trim().is_empty() { "a browser".to_owned() } else { label };
        let session = Session { person: person.id, device: Token::random()? };
        self.store.add_device(&session.device, person.id, &label, now)?;
        self.pages.broadcast(&Event::People);
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
        self.pages.disconnect(&session.device);
        self.pages.broadcast(&Event::People);
        Ok(())
    }

    /// A link, and its QR code. For another device it carries who opens it; for another person it is the address of the
    /// demo, where they take a name of their own.
    pub(crate) fn invite(&self, session: &Session, guest: Guest, now: UnixMs) -> Value {
        let link = match guest {
            Guest::Device => format!("{}/#in={}", self.site, self.seal.invitation(session.person, now)),
            Guest::Person => format!("{}/", self.site),
        };
        json!({ "link": link, "code": code::picture(&link), "hereOnly": is_on_this_machine(&self.site) })
    }

    fn by_name(&self, name: &Name, passphrase: Option<&str>, from: IpAddr, now: UnixMs) -> Result<Person, DemoError> {
        if passphrase.is_some_and(|words| words.len() > PASSPHRASE_BYTES_MAX) {
            return Err(DemoError::TooLarge("a passphrase has at most 200 bytes"));
        }
        let Some(person) = self.store.person_named(name)? else {
            let kept = passphrase.map(keep).transpose()?;
            return self.store.add_person(name, kept.as_deref());
        };
        match (&person.passphrase, passphrase) {
            (Some(kept), Some(given)) => {
                self.guesses().charge(person.id, from, now)?;
                if !fits(kept, given)? {
                    return Err(DemoError::WrongPassphrase);
                }
                self.guesses().give_back(person.id, from);
                Ok(person)
            }
            // No device is signed in with it any more, and no passphrase reserves it.
            (None, None) if self.store.devices_of(person.id)?.is_empty() => Ok(person),
            _ => Err(DemoError::NameTaken(person.name)),
        }
    }

    fn guesses(&self) -> MutexGuard<'_, Guesses> {
        lock(&self.guesses)
    }
}

fn keep(passphrase: &str) -> Result<String, DemoError> {
    let mut salt = [0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| DemoError::Random)?;
    let mut hash = [0; HASH_BYTES];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, passphrase.as_bytes(), &mut hash);
    Ok(format!("{}.{}", base64url::encode(&salt), base64url::encode(&hash)))
}

/// Whether a passphrase is the one that was kept. What is kept and cannot be read is a damaged store, not a wrong
/// passphrase.
fn fits(kept: &str, given: &str) -> Result<bool, DemoError> {
    let damaged = || DemoError::Store(rusqlite::Error::InvalidQuery);
    let (salt, hash) = kept.split_once('.').ok_or_else(damaged)?;
    let [salt, hash] = [salt, hash].map(base64url::decode);
    let (salt, hash) = (salt.map_err(|_| damaged())?, hash.map_err(|_| damaged())?);
    Ok(pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, &salt, given.as_bytes(), &hash).is_ok())
}
