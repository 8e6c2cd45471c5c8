//! Who a request comes from: a cookie that only this server can make, and invitations of the same kind.

use std::net::IpAddr;
use std::path::Path;

use aws_lc_rs::hmac;
use doorbell_private_file as private_file;
use doorbell_protocol::base64url;
use doorbell_protocol::time::UnixMs;

use crate::allowance::source;
use crate::error::DemoError;
use crate::limits::{GUEST_KEPT, INVITATION_KEPT, SESSION_KEPT};
use crate::store::PersonId;
use crate::token::Token;

const KEY_BYTES: usize = 32;

/// A person on one of their devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) person: PersonId,
    pub(crate) device: Token,
}

/// Lets one more device of a person in, or one more person, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invitation {
    /// Who it stands for, or who invites.
    pub(crate) person: PersonId,
    /// Each is another one, so that the store can keep which are used.
    pub(crate) id: Token,
    pub(crate) until: UnixMs,
}

/// What a sealed text is good for, so that an invitation cannot be used as a cookie.
#[derive(Clone, Copy)]
enum Purpose {
    Session,
    Invitation,
    Guest,
}

/// The key that seals them.
pub(crate) struct Seal(hmac::Key);

impl Seal {
    /// The key in `file`, which is made if there is none.
    pub(crate) fn load_or_create(file: &Path) -> Result<Self, DemoError> {
        let wrong = |why: String| DemoError::File { path: file.to_owned(), why };
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut bytes = vec![0; KEY_BYTES];
                aws_lc_rs::rand::fill(&mut bytes).map_err(|_| DemoError::Random)?;
                private_file::create_new(file, &bytes).map_err(|error| wrong(error.to_string()))?;
                bytes
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        if bytes.len() != KEY_BYTES {
            return Err(wrong(format!("it has {} bytes and not {KEY_BYTES}: delete it for a new one", bytes.len())));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The cookie's value.
    pub(crate) fn session(&self, session: &Session, now: UnixMs) -> String {
        let until = now.plus(SESSION_KEPT);
        self.close(Purpose::Session, &format!("{}.{}.{}", session.person.0, session.device.as_str(), until.as_millis()))
    }

    /// Opens a cookie's value.
    pub(crate) fn open_session(&self, cookie: &str, now: UnixMs) -> Option<Session> {
        let claims = self.open(Purpose::Session, cookie)?;
        let mut parts = claims.split('.');
        let person = PersonId(parts.next()?.parse().ok()?);
        let device = Token::parse(parts.next()?).ok()?;
        good_until(parts.next()?, now).map(|_| Session { person, device })
    }

    /// What lets one more device in as the same person.
    pub(crate) fn invitation(&self, person: PersonId, now: UnixMs) -> Result<String, DemoError> {
        self.invite(Purpose::Invitation, person, now.plus(INVITATION_KEPT))
    }

    /// Opens it. Whether it was used before, the store knows.
    pub(crate) fn open_invitation(&self, invitation: &str, now: UnixMs) -> Option<Invitation> {
        self.open_invite(Purpose::Invitation, invitation, now)
    }

    /// What lets one more person take a name.
    pub(crate) fn guest(&self, invited_by: PersonId, now: UnixMs) -> Result<String, DemoError> {
        self.invite(Purpose::Guest, invited_by, now.plus(GUEST_KEPT))
    }

    /// Opens it. Whether it was used before, the store knows.
    pub(crate) fn open_guest(&self, guest: &str, now: UnixMs) -> Option<Invitation> {
        self.open_invite(Purpose::Guest, guest, now)
    }

    fn invite(&self, purpose: Purpose, person: PersonId, until: UnixMs) -> Result<String, DemoError> {
        Ok(self.close(purpose, &format!("{}.{}.{}", person.0, Token::random()?.as_str(), until.as_millis())))
    }

    fn open_invite(&self, purpose: Purpose, sealed: &str, now: UnixMs) -> Option<Invitation> {
        let claims = self.open(purpose, sealed)?;
        let mut parts = claims.split('.');
        let person = PersonId(parts.next()?.parse().ok()?);
        let id = Token::parse(parts.next()?).ok()?;
        let until = good_until(parts.next()?, now)?;
        Some(Invitation { person, id, until })
    }

    /// What is kept of where a request comes from: the same for the same source, and no address.
    pub(crate) fn source(&self, from: IpAddr) -> String {
        let tag = hmac::sign(&self.0, format!("source:{}", source(from)).as_bytes());
        base64url::encode(tag.as_ref())
    }

    fn close(&self, purpose: Purpose, claims: &str) -> String {
        let tag = hmac::sign(&self.0, &bound(purpose, claims));
        format!("{claims}.{}", base64url::encode(tag.as_ref()))
    }

    fn open<'a>(&self, purpose: Purpose, sealed: &'a str) -> Option<&'a str> {
        let (claims, tag) = sealed.rsplit_once('.')?;
        let tag = base64url::decode(tag).ok()?;
        hmac::verify(&self.0, &bound(purpose, claims), &tag).ok().map(|()| claims)
    }
}

fn bound(purpose: Purpose, claims: &str) -> Vec<u8> {
    let word = match purpose {
        Purpose::Session => "session",
        Purpose::Invitation => "invitation",
        Purpose::Guest => "guest",
    };
    format!("{word}:{claims}").into_bytes()
}

/// Until when it is good, if it still is.
fn good_until(until: &str, now: UnixMs) -> Option<UnixMs> {
    until.parse().ok().map(UnixMs::from_millis).filter(|until| now < *until)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);

    fn seal() -> Seal {
        Seal::load_or_create(&tempfile::tempdir().unwrap().path().join("key")).unwrap()
    }

    fn alice() -> Session {
        Session { person: PersonId(7), device: Token::random().unwrap() }
    }

    #[test]
    fn a_session_is_known_again_until_it_is_too_old() {
        let (seal, alice) = (seal(), alice());
        let cookie = seal.session(&alice, NOW);
        assert_eq!(seal.open_session(&cookie, NOW), Some(alice));
        assert_eq!(seal.open_session(&cookie, NOW.plus(SESSION_KEPT)), None);
    }

    #[test]
    fn a_cookie_that_the_server_did_not_make_is_no_session() {
        let (ours, alice) = (seal(), alice());
        let cookie = ours.session(&alice, NOW);
        let as_another_person = cookie.replacen("7.", "8.", 1);
        let longer = cookie.replacen(&format!("{}", NOW.plus(SESSION_KEPT).as_millis()), "99999999999999", 1);
        let of_another_server = seal().session(&alice, NOW);
        let invitation = ours.invitation(alice.person, NOW).unwrap();
        for forged in [as_another_person.as_str(), &longer, &of_another_server, &invitation, "", "7", "...", "7.x.1.aa"]
        {
            assert_eq!(ours.open_session(forged, NOW), None, "{forged}");
        }
    }

    #[test]
    fn an_invitation_is_for_one_person_and_a_quarter_of_an_hour() {
        let (seal, alice) = (seal(), alice());
        let [invitation, another] = [0; 2].map(|_| seal.invitation(alice.person, NOW).unwrap());
        let opened = seal.open_invitation(&invitation, NOW).unwrap();
        assert_eq!((opened.person, opened.until), (alice.person, NOW.plus(INVITATION_KEPT)));
        assert_ne!(seal.open_invitation(&another, NOW).unwrap(), opened, "each can be used on its own");
        assert_eq!(seal.open_invitation(&invitation, NOW.plus(INVITATION_KEPT)), None);
        assert_eq!(seal.open_invitation(&seal.session(&alice, NOW), NOW), None);
        let guest = seal.guest(alice.person, NOW).unwrap();
        assert_eq!(seal.open_invitation(&guest, NOW), None, "a guest does not come in as the one who invites");
        assert!(seal.open_guest(&guest, NOW).is_some() && seal.open_guest(&guest, NOW.plus(GUEST_KEPT)).is_none());
    }
}
