//! The open pages, which receive events as they happen. Nothing depends on a page being open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::allowance::source;
use crate::calls::Party;
use crate::error::DemoError;
use crate::events::Event;
use crate::limits::{EVENTS_WAITING_MAX, PAGES_MAX, PAGES_OF_PERSON_MAX, PAGES_OF_SOURCE_MAX};
use crate::lock::lock;
use crate::store::PersonId;
use crate::token::Token;

/// All open pages.
#[derive(Default)]
pub(crate) struct Pages(Mutex<HashMap<Token, Page>>);

struct Page {
    party: Party,
    source: IpAddr,
    events: Sender<String>,
}

impl Pages {
    /// A page at an address receives events from now on. An older connection of the same page, which may be dead,
    /// receives no more.
    pub(crate) fn open(&self, party: Party, from: IpAddr) -> Result<Receiver<String>, DemoError> {
        let (mut pages, source) = (self.lock(), source(from));
        let taken = pages.get(&party.page).is_some_and(|open| open.party.device != party.device);
        if taken {
            return Err(DemoError::NotYou);
        }
        let others = || pages.values().filter(|open| open.party.page != party.page);
        if others().filter(|open| open.party.person == party.person).count() >= PAGES_OF_PERSON_MAX {
            return Err(DemoError::TooMany("too many pages of yours are open"));
        }
        if others().filter(|open| open.source == source).count() >= PAGES_OF_SOURCE_MAX {
            return Err(DemoError::TooMany("too many pages are open in your network"));
        }
        if others().count() >= PAGES_MAX {
            return Err(DemoError::TooMany("too many pages are open"));
        }
        let (events, receiver) = channel(EVENTS_WAITING_MAX);
        pages.insert(party.page.clone(), Page { party, source, events });
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

    /// Whether it is open.
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

    /// Sends an event to one page.
    pub(crate) fn send_to_page(&self, page: &Token, event: &Event) {
        self.send_where(event, |open| open.page == *page);
    }

    /// Sends an event to every page of a person.
    pub(crate) fn send(&self, person: PersonId, event: &Event) {
        self.send_where(event, |open| open.person == person);
    }

    /// Sends an event to every page.
    pub(crate) fn broadcast(&self, event: &Event) {
        self.send_where(event, |_| true);
    }

    /// A device was signed out: its pages receive no more.
    pub(crate) fn disconnect(&self, device: &Token) {
        self.lock().retain(|_, page| page.party.device != *device);
    }

    fn send_where(&self, event: &Event, is_meant: impl Fn(&Party) -> bool) {
        let text = serde_json::to_string(event).expect("an event has string keys only");
        // A page that leaves too much unread is cut off; it asks for everything when it connects again.
        let keeps_up = |page: &Page| !is_meant(&page.party) || page.events.try_send(text.clone()).is_ok();
        self.lock().retain(|_, page| keeps_up(page));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Token, Page>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn party(person: i64) -> Party {
        Party { person: PersonId(person), device: Token::random().unwrap(), page: Token::random().unwrap() }
    }

    #[test]
    fn a_page_receives_the_events_of_its_person_only() {
        let (pages, alice, mom) = (Pages::default(), party(1), party(2));
        let (mut to_alice, mut to_mom) = (pages.open(alice.clone(), HOME).unwrap(), pages.open(mom, HOME).unwrap());
        pages.send(alice.person, &Event::Chat);
        assert_eq!(to_alice.try_recv().unwrap(), r#"{"type":"chat"}"#);
        assert!(to_mom.try_recv().is_err());
    }

    #[test]
    fn a_page_that_comes_back_is_not_taken_away_by_the_end_of_its_old_connection() {
        let (pages, alice) = (Pages::default(), party(1));
        let old = pages.open(alice.clone(), HOME).unwrap();
        let new = pages.open(alice.clone(), HOME).unwrap();
        pages.close(&alice.page, old);
        assert!(pages.is_open(&alice.page));
        pages.close(&alice.page, new);
        assert!(!pages.is_open(&alice.page));
    }

    #[test]
    fn another_device_cannot_take_a_page_over() {
        let (pages, alice, mallory) = (Pages::default(), party(1), party(2));
        let _listens = pages.open(alice.clone(), HOME).unwrap();
        assert!(matches!(pages.open(Party { page: alice.page, ..mallory }, HOME), Err(DemoError::NotYou)));
    }

    #[test]
    fn a_person_has_a_bounded_number_of_pages_and_each_can_come_back() {
        let (pages, alice) = (Pages::default(), party(1));
        let page = || Party { page: Token::random().unwrap(), ..alice.clone() };
        let parties: Vec<_> = (0..PAGES_OF_PERSON_MAX).map(|_| page()).collect();
        let _open: Vec<_> = parties.iter().map(|party| pages.open(party.clone(), HOME).unwrap()).collect();
        assert!(matches!(pages.open(page(), HOME), Err(DemoError::TooMany(_))));
        pages.open(parties[0].clone(), HOME).unwrap();
        pages.open(party(2), HOME).unwrap();
    }

    #[test]
    fn a_source_has_a_bounded_number_of_pages_with_as_many_names_as_it_has_and_others_have_theirs() {
        let pages = Pages::default();
        let parties: Vec<_> = (0..).take(PAGES_OF_SOURCE_MAX).map(party).collect();
        let _open: Vec<_> = parties.iter().map(|party| pages.open(party.clone(), HOME).unwrap()).collect();
        assert!(matches!(pages.open(party(-1), HOME), Err(DemoError::TooMany(_))));
        pages.open(parties[0].clone(), HOME).unwrap();
        pages.open(party(-1), "192.0.2.1".parse().unwrap()).unwrap();
    }

    #[test]
    fn a_page_that_reads_nothing_is_cut_off() {
        let (pages, alice) = (Pages::default(), party(1));
        let _unread = pages.open(alice.clone(), HOME).unwrap();
        (0..=EVENTS_WAITING_MAX).for_each(|_| pages.send(alice.person, &Event::People));
        assert!(!pages.has(alice.person));
    }
}
