//! The application: what people can do, whichever way they ask for it. One file per thing that they do.

mod calling;
mod presence;
mod sign_in;
mod voice_mail;
mod writing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use doorbell_sender::origins::OriginMap;
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use crate::calls::Calls;
use crate::courier::Courier;
use crate::error::DemoError;
use crate::guesses::Guesses;
use crate::lock::lock;
use crate::name::Name;
use crate::notice::{Letter, News};
use crate::pages::Pages;
use crate::passphrase::Hashing;
use crate::rates::Rates;
use crate::session::{Seal, Session};
use crate::sites::Sites;
use crate::steps::{Report, Step, Story};
use crate::store::{Device, Person, PersonId, Store};
use crate::token::Token;

pub(crate) use sign_in::{Claim, Entrance, Guest, SignIn};

/// The longest name of a story: `trial-` and a token, or `message-` and a number.
const STORY_BYTES_MAX: usize = 32;

/// The application and all that it needs.
pub(crate) struct House {
    pub(crate) store: Arc<Store>,
    pub(crate) pages: Arc<Pages>,
    pub(crate) courier: Arc<Courier>,
    pub(crate) seal: Seal,
    pub(crate) calls: Mutex<Calls>,
    /// The rings that may still be on their way to a push service, by call.
    pub(crate) rings: Mutex<HashMap<Token, Vec<AbortHandle>>>,
    /// Wrong passphrases.
    pub(crate) guesses: Mutex<Guesses>,
    /// What each source has done lately.
    pub(crate) rates: Mutex<Rates>,
    /// Where passphrases are hashed.
    pub(crate) hashing: Hashing,
    /// The origins that it answers as.
    pub(crate) sites: Sites,
    /// The origin at which browsers find it.
    pub(crate) site: String,
    /// Whether it listens on this machine only, and browsers find it there.
    pub(crate) serves_this_machine_only: bool,
    /// Whether a new name needs an invitation.
    pub(crate) invited_only: bool,
    /// The only push service on this machine that subscriptions may name.
    pub(crate) push_origin: Option<String>,
    /// Which endpoints stand for which.
    pub(crate) origins: OriginMap,
    /// How long a call rings.
    pub(crate) rings_for: Duration,
    /// `stun:` and `turn:` servers, as browsers take them.
    pub(crate) ice_servers: Value,
}

impl House {
    /// What a page has to know before a person signs in.
    pub(crate) fn settings(&self) -> Value {
        json!({
            "applicationServerKey": self.courier.public_key(),
            "pushService": self.push_origin,
            "iceServers": self.ice_servers,
            "ringsForMs": u64::try_from(self.rings_for.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// A person with a name that came from outside.
    fn person_called(&self, name: &str) -> Result<Person, DemoError> {
        self.store.person_named(&Name::parse(name)?)?.ok_or(DemoError::NotFound("person"))
    }

    /// The person of a session, or of a call. They exist as long as their session does.
    fn person(&self, id: PersonId) -> Result<Person, DemoError> {
        self.store.person(id)?.ok_or(DemoError::NotSignedIn)
    }

    /// Pushes `news` about `from` to a person's devices, except one: how each attempt can be given up.
    fn notify(
        &self,
        to: PersonId,
        except: Option<&Token>,
        from: &Person,
        news: News<'_>,
        story: &Story,
    ) -> Result<Vec<AbortHandle>, DemoError> {
        let is_meant = |device: &Device| Some(&device.id) != except;
        let devices: Vec<_> = self.store.devices_of(to)?.into_iter().filter(is_meant).collect();
        let message = match news {
            News::Message(id, _) => Some(id),
            _ => None,
        };
        Ok(self.courier.send(devices, Letter::new(news, &from.name, &self.site, &story.id), story, message))
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        lock(&self.calls)
    }

    /// A push to the person's own device, to see that it works.
    pub(crate) fn try_out(&self, session: &Session) -> Result<Value, DemoError> {
        let me = self.person(session.person)?;
        let device = self.store.device(&session.device)?.ok_or(DemoError::NotSignedIn)?;
        let story = Story { id: format!("trial-{}", Token::random()?.as_str()), viewer: me.id };
        story.step(&self.pages, Step::Trial);
        let letter = Letter::new(News::Trial, &me.name, &self.site, &story.id);
        if self.courier.send(vec![device], letter, &story, None).is_empty() {
            return Err(DemoError::NotFound("subscription of this device"));
        }
        Ok(json!({ "story": story.id }))
    }

    /// A service worker reports what it did with a push: a step for the person who sent it.
    pub(crate) fn report(
        &self,
        session: &Session,
        from: &str,
        story: &str,
        report: Report,
        after_ms: u32,
    ) -> Result<(), DemoError> {
        if story.len() > STORY_BYTES_MAX {
            return Err(DemoError::Malformed("this is not a story of this server"));
        }
        let device = self.store.device(&session.device)?.ok_or(DemoError::NotSignedIn)?;
        let story = Story { id: story.to_owned(), viewer: self.person_called(from)?.id };
        story.step(&self.pages, Step::Device { device: &device.label, report, after_ms });
        Ok(())
    }
}
