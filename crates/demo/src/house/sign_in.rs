//! Signing in: the first who comes has the name; another device gets in with its passphrase or by an invitation.

use std::net::IpAddr;
use std::sync::MutexGuard;

use doorbell_protocol::time::UnixMs;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::House;
use crate::clock::Moment;
use crate::code;
use crate::error::DemoError;
use crate::events::Event;
use crate::guesses::Guesses;
use crate::lock::lock;
use crate::name::Name;
use crate::rates::{Action, Rates};
use crate::session::{Invitation, Session};
use crate::store::{Newcomer, Person, PersonId, ServiceTime};
use crate::token::Token;
use crate::{OPERATOR, is_on_this_machine};

const PASSPHRASE_BYTES_MAX: usize = 200;
const LABEL_CHARACTERS_MAX: usize = 40;

/// How a person comes in.
pub(crate) enum Entrance {
    /// By a name.
    Name(Claim),
    /// By an invitation that one of their devices made.
    Invitation(String),
}

/// A name, a passphrase if the person wants one or has one, and another person's invitation if they have one.
pub(crate) struct Claim {
    pub(crate) name: Name,
    pub(crate) passphrase: Option<String>,
    pub(crate) guest: Option<String>,
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
    /// Signs in: the session, and its cookie's value. What is cheap to check comes first, and hashing last.
    pub(crate) async fn sign_in(&self, request: SignIn, at: Moment) -> Result<(Person, String), DemoError> {
        let label: String = request.label.chars().filter(|c| !c.is_control()).take(LABEL_CHARACTERS_MAX).collect();
        let label = if label.trim().is_empty() { "a browser".to_owned() } else { label };
        let device = Token::random()?;
        self.rates().charge(Action::SignIn, request.address, at.instant)?;
        let person = match request.entrance {
            Entrance::Name(claim) => {
                let person = self.by_name(claim, request.address, at).await?;
                self.store.add_device(&device, person.id, &label, at.wall)?;
                person
            }
            Entrance::Invitation(invitation) => {
                let invitation = self.seal.open_invitation(&invitation, at.wall).ok_or_else(void)?;
                let person = self.person(invitation.person)?;
                if !self.store.add_invited_device(&invitation, &device, &label, at.wall)? {
                    return Err(void());
                }
                person
            }
        };
        let session = Session { person: person.id, device };
        self.pages.broadcast(&Event::People);
        Ok((person, self.seal.session(&session, at.wall)))
    }

    /// Who a cookie stands for, as long as its device is signed in.
    pub(crate) fn recognise(&self, cookie: &str, at: Moment) -> Result<Session, DemoError> {
        let session = self.seal.open_session(cookie, at.wall).ok_or(DemoError::NotSignedIn)?;
        let is_in = self.store.device(&session.device)?.is_some_and(|device| device.person == session.person);
        if !is_in {
            return Err(DemoError::NotSignedIn);
        }
        self.store.was_seen(session.person, self.store.service_time(at.instant)?)?;
        Ok(session)
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
    pub(crate) fn invite(&self, session: &Session, guest: Guest, now: UnixMs) -> Result<Value, DemoError> {
        let link = match guest {
            Guest::Device => format!("{}/#in={}", self.site, self.seal.invitation(session.person, now)?),
            Guest::Person => self.guest_link(session.person, now)?,
        };
        Ok(json!({ "link": link, "code": code::picture(&link), "hereOnly": is_on_this_machine(&self.site) }))
    }

    /// Where another person takes a name of their own: with an invitation, if one is needed here.
    pub(crate) fn guest_link(&self, invited_by: PersonId, now: UnixMs) -> Result<String, DemoError> {
        if !self.invited_only {
            return Ok(format!("{}/", self.site));
        }
        Ok(format!("{}/#guest={}", self.site, self.seal.guest(invited_by, now)?))
    }

    /// Where a browser that the operator opens comes in, as a person whose name is filled in. If only this machine can open
    /// the demo, it may be that person although another browser is, unless a passphrase keeps the name.
    pub(crate) fn operator_link(&self, name: &str, at: Moment) -> Result<String, DemoError> {
        let link = self.guest_link(OPERATOR, at.wall)?;
        // A name that cannot be taken is not filled in.
        let Ok(name) = Name::parse(name) else { return Ok(link) };
        let (address, fragment) = link.split_once('#').unwrap_or((&link, ""));
        let mut claims = form_urlencoded::Serializer::new(fragment.to_owned());
        claims.append_pair("name", name.as_str());
        let known = self.store.person_named(&name)?.filter(|person| person.passphrase.is_none());
        if let Some(person) = known.filter(|_| self.serves_this_machine_only) {
            claims.append_pair("in", &self.seal.invitation(person.id, at.wall)?);
        }
        Ok(format!("{address}#{}", claims.finish()))
    }

    async fn by_name(&self, mut claim: Claim, from: IpAddr, at: Moment) -> Result<Person, DemoError> {
        claim.passphrase = claim.passphrase.filter(|words| !words.is_empty());
        if claim.passphrase.as_ref().is_some_and(|words| words.len() > PASSPHRASE_BYTES_MAX) {
            return Err(DemoError::TooLarge("a passphrase has at most 200 bytes"));
        }
        let Some(person) = self.store.person_named(&claim.name)? else {
            return self.take(claim, from, at).await;
        };
        match (person.passphrase.clone(), claim.passphrase) {
            (Some(kept), Some(given)) => {
                self.guesses().charge(person.id, from, at.instant)?;
                let fits = self.hashing.fits(kept, given, from).await;
                // A passphrase that was not compared was no guess.
                if !matches!(fits, Ok(false)) {
                    self.guesses().give_back(person.id, from);
                }
                if fits? { Ok(person) } else { Err(DemoError::WrongPassphrase) }
            }
            // No device is signed in with it any more, and no passphrase reserves it.
            (None, None) if self.store.devices_of(person.id)?.is_empty() => match self.guest(claim.guest, at.wall)? {
                Some(invitation) if !self.store.use_up_guest(&invitation, at.wall)? => Err(void()),
                _ => Ok(person),
            },
            _ => Err(DemoError::NameTaken(person.name)),
        }
    }

    /// Takes a name that no person has.
    async fn take(&self, claim: Claim, from: IpAddr, at: Moment) -> Result<Person, DemoError> {
        let Claim { name, passphrase, guest } = claim;
        let invitation = self.guest(guest, at.wall)?;
        let now = self.store.service_time(at.instant)?;
        self.store.make_room_for_a_person(&self.seal.source(from), now, |person| self.pages.has(person))?;
        self.rates().charge(Action::TakeName, from, at.instant)?;
        let added = self.add(&name, passphrase, invitation, from, (at.wall, now)).await;
        if added.is_err() {
            self.rates().give_back_name(from);
        }
        added
    }

    async fn add(
        &self,
        name: &Name,
        passphrase: Option<String>,
        invitation: Option<Invitation>,
        from: IpAddr,
        (at, now): (UnixMs, ServiceTime),
    ) -> Result<Person, DemoError> {
        let kept = match passphrase {
            Some(passphrase) => Some(self.hashing.keep(passphrase, from).await?),
            None => None,
        };
        let source = self.seal.source(from);
        let newcomer = Newcomer { name, passphrase: kept.as_deref(), source: &source };
        match invitation {
            None => self.store.add_person(&newcomer, now),
            Some(invitation) => self.store.add_guest(&invitation, &newcomer, (at, now))?.ok_or_else(void),
        }
    }

    /// The invitation by which a stranger comes in, if one is needed here. Whether it was used before, the store knows.
    fn guest(&self, guest: Option<String>, now: UnixMs) -> Result<Option<Invitation>, DemoError> {
        if !self.invited_only {
            return Ok(None);
        }
        let guest = guest.ok_or(DemoError::InvitationNeeded)?;
        self.seal.open_guest(&guest, now).ok_or_else(void).map(Some)
    }

    fn guesses(&self) -> MutexGuard<'_, Guesses> {
        lock(&self.guesses)
    }

    pub(crate) fn rates(&self) -> MutexGuard<'_, Rates> {
        lock(&self.rates)
    }
}

fn void() -> DemoError {
    DemoError::NotFound("invitation, or not any more")
}
