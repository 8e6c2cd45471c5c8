//! Calls: a push rings on all devices of the callee, one device answers, and what rings stops when the call is over.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};

use doorbell_protocol::time::UnixMs;
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use super::House;
use crate::calls::{Call, End, Media, Party};
use crate::error::DemoError;
use crate::events::Event;
use crate::limits::PAGE_AWAY_MAX;
use crate::lock::lock;
use crate::notice::News;
use crate::session::Session;
use crate::steps::{Step, Story};
use crate::store::Person;
use crate::token::Token;

impl House {
    /// Rings: the call, for the caller's page.
    pub(crate) fn call(
        self: &Arc<Self>,
        session: &Session,
        page: Token,
        to: &str,
        media: Media,
        now: UnixMs,
    ) -> Result<Value, DemoError> {
        let (me, callee) = (self.person(session.person)?, self.person_called(to)?);
        self.is_own_page(session, &page)?;
        if !callee.available {
            return Err(DemoError::Away(callee.name));
        }
        let caller = Party { person: me.id, device: session.device.clone(), page };
        let id = Token::random()?;
        let call = self.calls().ring(id, caller, (callee.id, &callee.name), media, now, self.rings_for)?;
        self.clone().stops_ringing_in_time(call.clone());
        let story = story(&call);
        story.step(&self.pages, Step::Call { callee: &callee.name });
        let for_page = self.call_for_page(&call)?;
        if self.ring_devices(&call, &me, &story)? == 0 {
            story.step(&self.pages, Step::NoDevice { callee: &callee.name });
        }
        self.pages.send(callee.id, &Event::Call { call: for_page.clone() });
        Ok(for_page)
    }

    /// This page takes the call; the person's other devices stop ringing.
    pub(crate) fn answer(&self, session: &Session, page: Token, id: &Token, now: UnixMs) -> Result<Value, DemoError> {
        self.is_own_page(session, &page)?;
        let by = Party { person: session.person, device: session.device.clone(), page };
        let call = self.calls().answer(id, by, now)?;
        self.rings_no_more(&call);
        let (caller, device) = (self.person(call.caller.person)?, self.store.device(&session.device)?);
        let label = device.map_or_else(|| "a device that has signed out".to_owned(), |device| device.label);
        let story = story(&call);
        let after_secs = now.since(call.began_at).as_secs();
        story.step(&self.pages, Step::Answered { device: &label, after_secs });
        let for_page = self.call_for_page(&call)?;
        let event = Event::Call { call: for_page.clone() };
        self.pages.send(call.caller.person, &event);
        self.pages.send(call.callee, &event);
        self.notify(call.callee, Some(&session.device), &caller, News::AnsweredElsewhere(&call), &story)?;
        Ok(for_page)
    }

    /// Hangs up, withdraws or declines, from any device of one of the two.
    pub(crate) fn end(&self, session: &Session, id: &Token) -> Result<(), DemoError> {
        let (call, end) = self.calls().end(id, session.person)?;
        self.is_over(&call, end, Some(&session.device))
    }

    /// Passes a signal of WebRTC on to the other end of the call.
    pub(crate) fn signal(&self, page: &Token, id: &Token, signal: Value) -> Result<(), DemoError> {
        let other = self.calls().other_end(id, page)?.clone();
        self.pages.send_to_page(&other.page, &Event::Signal { call: id.as_str().to_owned(), signal });
        Ok(())
    }

    /// A page's connection ended. It may be back in a moment; if not, its calls are over.
    pub(crate) fn page_left(self: &Arc<Self>, page: Token) {
        let house = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PAGE_AWAY_MAX).await;
            if house.pages.is_open(&page) {
                return;
            }
            let left = house.calls().leave(&page);
            for (call, end) in left {
                house.log_error(house.is_over(&call, end, None));
            }
        });
    }

    /// A call as both ends see it.
    pub(super) fn call_for_page(&self, call: &Call) -> Result<Value, DemoError> {
        let (from, to) = (self.person(call.caller.person)?, self.person(call.callee)?);
        Ok(json!({
            "id": call.id.as_str(),
            "from": from.name,
            "to": to.name,
            "media": call.media,
            "until": call.rings_until.as_millis(),
            "callerPage": call.caller.page.as_str(),
            "answeredBy": call.answered_by.as_ref().map(|party| party.page.as_str()),
        }))
    }

    fn stops_ringing_in_time(self: Arc<Self>, call: Call) {
        tokio::spawn(async move {
            // Not until `rings_until`: the time of day may be set meanwhile.
            tokio::time::sleep(self.rings_for).await;
            let expired = self.calls().expire(&call.id, call.rings_until);
            if let Some((call, end)) = expired {
                self.log_error(self.is_over(&call, end, None));
            }
        });
    }

    /// Notifies both ends. What rang stops: the push has the ring's topic, so that it replaces a ring that still waits at
    /// the push service, and the ring's tag, so that it replaces it on the screen.
    fn is_over(&self, call: &Call, end: End, ended_on: Option<&Token>) -> Result<(), DemoError> {
        self.rings_no_more(call);
        let event = Event::Over { call: self.call_for_page(call)?, how: end };
        self.pages.send(call.caller.person, &event);
        self.pages.send(call.callee, &event);
        let story = story(call);
        story.step(&self.pages, Step::Over { end });
        if end != End::HungUp {
            let caller = self.person(call.caller.person)?;
            let except = ended_on.filter(|_| end == End::Declined);
            self.notify(call.callee, except, &caller, News::Over(call, end), &story)?;
        }
        Ok(())
    }

    /// The other end of a call knows the name of this page, and must not use it.
    fn is_own_page(&self, session: &Session, page: &Token) -> Result<(), DemoError> {
        match self.pages.device_of(page) {
            None => Err(DemoError::Malformed("the page must be connected before it can call or answer")),
            Some(device) if device != session.device => Err(DemoError::NotYou),
            Some(_) => Ok(()),
        }
    }

    /// Pushes the ring: to how many devices.
    fn ring_devices(&self, call: &Call, caller: &Person, story: &Story) -> Result<usize, DemoError> {
        // With the lock, so that no request ends the call before its rings are known.
        let mut rings = self.rings();
        let sent = self.notify(call.callee, None, caller, News::Ring(call), story)?;
        let count = sent.len();
        rings.insert(call.id.clone(), sent);
        Ok(count)
    }

    /// A ring that a push service has not taken yet, and that is tried again and again, must not come after what ends
    /// it: it would take its place, since they have one topic.
    fn rings_no_more(&self, call: &Call) {
        self.rings().remove(&call.id).into_iter().flatten().for_each(|ring| ring.abort());
    }

    fn rings(&self) -> MutexGuard<'_, HashMap<Token, Vec<AbortHandle>>> {
        lock(&self.rings)
    }

    /// Logs the error of what no request waits for.
    fn log_error(&self, outcome: Result<(), DemoError>) {
        if let Err(error) = outcome {
            tracing::warn!(%error, "a call did not end well");
        }
    }
}

/// The caller sees how the call goes.
fn story(call: &Call) -> Story {
    Story { id: call.id.as_str().to_owned(), viewer: call.caller.person }
}
