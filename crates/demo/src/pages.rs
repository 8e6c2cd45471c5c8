//! The pages that are open: who is told of changes as they happen. Nothing depends on a page being open.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::calls::Party;
use crate::error::DemoError;
use crate::limits::{EVENTS_WAITING_MAX, PAGES_MAX};
use crate::store::PersonId;
use crate::token::Token;

/// All open pages.
#[derive(Default)]
pub(crate) struct Pages(Mutex<HashMap<Token, Page>>);

struct Page {
    party: Party,
    events: Sender<String>,
}

impl Pages {
    /// A page listens from now on. If it listened before, over a connection that is not known to be dead yet, that one
    /// hears no more.
    pub(crate) fn open(&self, party: Party) -> Result<Receiver<String>, DemoError> {
        let mut pages = self.lock();
        let taken = pages.get(&party.page).is_some_and(|open| open.party.device != party.device);
        if taken {
            return Err(DemoError::NotYou);
        }
        if pages.len() >= PAGES_MAX {
            return Err(DemoError::TooMany("too many pages are open"));
        }
        let (events, receiver) = channel(EVENTS_WAITING_MAX);
        pages.insert(party.page.clone(), Page { party, events });
        Ok(receiver)
    }

    /// The page's connection, whose events `receiver` was for, is gone.
    pub(crate) fn close(&self, page: &Token, receiver: Receiver<String>) {
        drop(receiver);
        // A newer connection of the same page has a receiver that lives.
        let mut pages = self.lock();
        if pages.get(page).is_some_and(|open| open.events.is_closed()) {
            pages.remove(page);
        }
    }

    /// Whether it listens.
    pub(crate) fn is_open(&self, page: &Token) -> bool {
        self.lock().contains_key(page)
    }

    /// The device on which it is open.
    pub(crate) fn device_of(&self, page: &Token) -> Option<Token> {
        self.lock().get(page).map(|open| open.party.device.clone())
    }

    /// Whether the person has a page open on any device.
    pub(crate) fn has(&self, person: PersonId) -> bool {
        self.lock().values().any(|page| page.party.person == person)
    }

    /// Tells one page.
    pub(crate) fn tell_page(&self, page: &Token, event: &Value) {
        self.tell_those(event, |open| open.page == *page);
    }

    /// Tells every page of a person.
    pub(crate) fn tell(&self, person: PersonId, event: &Value) {
        self.tell_those(event, |open| open.person == person);
    }

    /// Tells everybody.
    pub(crate) fn tell_all(&self, event: &Value) {
        self.tell_those(event, |_| true);
    }

    /// A device was signed out: its pages hear no more.
    pub(crate) fn dismiss(&self, device: &Token) {
        self.lock().retain(|_, page| page.party.device != *device);
    }

    fn tell_those(&self, event: &Value, is_meant: impl Fn(&Party) -> bool) {
        let text = event.to_string();
        // A page that leaves too much unread is cut off; it asks for everything when it connects again.
        let hears = |page: &Page| !is_meant(&page.party) || page.events.try_send(text.clone()).is_ok();
        self.lock().retain(|_, page| hears(page));
    }

    /// A thread that panicked with the lock left a map that is still whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Token, Page>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(person: i64) -> Party {
        Party { person: PersonId(person), device: Token::random().unwrap(), page: Token::random().unwrap() }
    }

    #[test]
    fn a_page_hears_what_is_meant_for_its_person_and_nobody_else() {
        let (pages, alice, mom) = (Pages::default(), party(1), party(2));
        let (mut to_alice, mut to_mom) = (pages.open(alice.clone()).unwrap(), pages.open(mom).unwrap());
        pages.tell(alice.person, &Value::from("hi"));
        assert_eq!(to_alice.try_recv().unwrap(), "\"hi\"");
        assert!(to_mom.try_recv().is_err());
    }

    #[test]
    fn a_page_that_comes_back_is_not_taken_away_by_the_end_of_its_old_connection() {
        let (pages, alice) = (Pages::default(), party(1));
        let old = pages.open(alice.clone()).unwrap();
        let new = pages.open(alice.clone()).unwrap();
        pages.close(&alice.page, old);
        assert!(pages.is_open(&alice.page));
        pages.close(&alice.page, new);
        assert!(!pages.is_open(&alice.page));
    }

    #[test]
    fn another_device_cannot_take_a_page_over() {
        let (pages, alice, mallory) = (Pages::default(), party(1), party(2));
        let _listens = pages.open(alice.clone()).unwrap();
        assert!(matches!(pages.open(Party { page: alice.page, ..mallory }), Err(DemoError::NotYou)));
    }

    #[test]
    fn a_page_that_reads_nothing_is_cut_off() {
        let (pages, alice) = (Pages::default(), party(1));
        let _unread = pages.open(alice.clone()).unwrap();
        (0..=EVENTS_WAITING_MAX).for_each(|_| pages.tell(alice.person, &Value::Null));
        assert!(!pages.has(alice.person));
    }
}
