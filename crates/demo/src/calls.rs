//! The rules of calls: who may do what, and when a call is over. No IO; the time is an argument.

use std::collections::HashMap;
use std::time::Duration;

use doorbell_protocol::time::UnixMs;
use serde::{Deserialize, Serialize};

use crate::error::DemoError;
use crate::limits::CALLS_MAX;
use crate::store::PersonId;
use crate::token::Token;

/// What the two will exchange; the data channel is always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Media {
    Audio,
    Video,
}

/// One person on one page: the two ends of a call are pages, since only they have a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) person: PersonId,
    pub(crate) device: Token,
    pub(crate) page: Token,
}

/// A call that is not over.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: Token,
    pub(crate) caller: Party,
    pub(crate) callee: PersonId,
    pub(crate) media: Media,
    pub(crate) began_at: UnixMs,
    /// Until when it rings.
    pub(crate) rings_until: UnixMs,
    /// Who answered; none while it rings.
    pub(crate) answered_by: Option<Party>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// The caller gave up before any device answered.
    Withdrawn,
    /// It rang for as long as it may.
    Unanswered,
    /// The callee did not want it.
    Declined,
    /// They had talked.
    HungUp,
}

impl End {
    /// Its name, as in JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Withdrawn => "withdrawn",
            Self::Unanswered => "unanswered",
            Self::Declined => "declined",
            Self::HungUp => "hung-up",
        }
    }
}

impl Call {
    pub(crate) fn involves(&self, person: PersonId) -> bool {
        self.caller.person == person || self.callee == person
    }
}

/// All calls.
#[derive(Default)]
pub(crate) struct Calls(HashMap<Token, Call>);

impl Calls {
    /// Begins to ring.
    pub(crate) fn ring(
        &mut self,
        id: Token,
        caller: Party,
        callee: (PersonId, &str),
        media: Media,
        now: UnixMs,
        rings_for: Duration,
    ) -> Result<Call, DemoError> {
        let (callee, name) = callee;
        if caller.person == callee {
            return Err(DemoError::Malformed("you cannot call yourself"));
        }
        if self.0.values().any(|call| call.involves(caller.person)) {
            return Err(DemoError::Busy("one of your devices".to_owned()));
        }
        if self.0.values().any(|call| call.involves(callee)) {
            return Err(DemoError::Busy(name.to_owned()));
        }
        if self.0.len() >= CALLS_MAX {
            return Err(DemoError::TooMany("all lines are taken"));
        }
        let rings_until = now.plus(rings_for);
        let call = Call { id: id.clone(), caller, callee, media, began_at: now, rings_until, answered_by: None };
        self.0.insert(id, call.clone());
        Ok(call)
    }

    /// The first device that answers has the call.
    pub(crate) fn answer(&mut self, id: &Token, by: Party, now: UnixMs) -> Result<Call, DemoError> {
        let call = self.0.get_mut(id).ok_or(DemoError::CallOver)?;
        if call.callee != by.person {
            return Err(DemoError::NotYou);
        }
        if call.answered_by.is_some() || now >= call.rings_until {
            return Err(DemoError::CallOver);
        }
        call.answered_by = Some(by);
        Ok(call.clone())
    }

    /// One of the two ends it, on whichever page or device.
    pub(crate) fn end(&mut self, id: &Token, by: PersonId) -> Result<(Call, End), DemoError> {
        let call = self.0.get(id).ok_or(DemoError::CallOver)?;
        if !call.involves(by) {
            return Err(DemoError::NotYou);
        }
        let end = match &call.answered_by {
            Some(_) => End::HungUp,
            None if call.caller.person == by => End::Withdrawn,
            None => End::Declined,
        };
        self.0.remove(id).map(|call| (call, end)).ok_or(DemoError::CallOver)
    }

    /// Ends it if no device has answered until `now`, which is when it was to stop.
    pub(crate) fn expire(&mut self, id: &Token, now: UnixMs) -> Option<(Call, End)> {
        self.0.get(id).filter(|call| call.answered_by.is_none() && now >= call.rings_until)?;
        self.0.remove(id).map(|call| (call, End::Unanswered))
    }

    /// A page is gone for good, and its calls with it.
    pub(crate) fn leave(&mut self, page: &Token) -> Vec<(Call, End)> {
        let is_at = |party: &Party| party.page == *page;
        let is_left = |call: &&Call| is_at(&call.caller) || call.answered_by.as_ref().is_some_and(is_at);
        let left: Vec<_> = self.0.values().filter(is_left).map(|call| (call.id.clone(), call.caller.person)).collect();
        left.iter().filter_map(|(id, by)| self.end(id, *by).ok()).collect()
    }

    /// Where a signal from `page` goes to: the other end only.
    pub(crate) fn other_end(&self, id: &Token, page: &Token) -> Result<&Party, DemoError> {
        let call = self.0.get(id).ok_or(DemoError::CallOver)?;
        let callee = call.answered_by.as_ref().ok_or(DemoError::CallOver)?;
        match (call.caller.page == *page, callee.page == *page) {
            (true, _) => Ok(callee),
            (_, true) => Ok(&call.caller),
            _ => Err(DemoError::NotYou),
        }
    }

    /// The call that a person is in, or is rung for.
    pub(crate) fn of(&self, person: PersonId) -> Option<&Call> {
        self.0.values().find(|call| call.involves(person))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);
    const RINGS: Duration = Duration::from_secs(30);
    const MOM: PersonId = PersonId(1);
    const ALICE: PersonId = PersonId(2);
    const BOB: PersonId = PersonId(3);

    fn at(person: PersonId) -> Party {
        Party { person, device: Token::random().unwrap(), page: Token::random().unwrap() }
    }

    fn rung(calls: &mut Calls, caller: &Party, callee: PersonId) -> Result<Call, DemoError> {
        calls.ring(Token::random().unwrap(), caller.clone(), (callee, "Alice"), Media::Audio, NOW, RINGS)
    }

    #[test]
    fn the_first_device_that_answers_has_the_call_and_the_others_come_too_late() {
        let (mut calls, mom, laptop, phone) = (Calls::default(), at(MOM), at(ALICE), at(ALICE));
        let call = rung(&mut calls, &mom, ALICE).unwrap();
        let answered = calls.answer(&call.id, laptop.clone(), NOW).unwrap();
        assert_eq!(answered.answered_by.as_ref(), Some(&laptop));
        assert!(matches!(calls.answer(&call.id, phone.clone(), NOW), Err(DemoError::CallOver)));
        assert_eq!(calls.other_end(&call.id, &mom.page).unwrap(), &laptop);
        assert_eq!(calls.other_end(&call.id, &laptop.page).unwrap(), &mom);
        assert!(matches!(calls.other_end(&call.id, &phone.page), Err(DemoError::NotYou)));
        assert_eq!(calls.end(&call.id, ALICE).unwrap().1, End::HungUp);
    }

    #[test]
    fn only_the_two_of_a_call_answer_end_or_receive_it() {
        let (mut calls, mom, bob) = (Calls::default(), at(MOM), at(BOB));
        let call = rung(&mut calls, &mom, ALICE).unwrap();
        assert!(matches!(calls.answer(&call.id, bob.clone(), NOW), Err(DemoError::NotYou)));
        assert!(matches!(calls.answer(&call.id, mom.clone(), NOW), Err(DemoError::NotYou)));
        assert!(matches!(calls.end(&call.id, BOB), Err(DemoError::NotYou)));
        assert!(calls.leave(&bob.page).is_empty());
        assert!(matches!(calls.other_end(&call.id, &bob.page), Err(DemoError::CallOver)));
    }

    #[test]
    fn a_call_that_is_over_cannot_be_answered() {
        let (mut calls, mom, alice) = (Calls::default(), at(MOM), at(ALICE));
        let call = rung(&mut calls, &mom, ALICE).unwrap();
        assert!(matches!(calls.answer(&call.id, alice.clone(), NOW.plus(RINGS)), Err(DemoError::CallOver)));
        assert!(calls.expire(&call.id, NOW).is_none(), "it still rings");
        assert_eq!(calls.expire(&call.id, NOW.plus(RINGS)).unwrap().1, End::Unanswered);
        assert!(matches!(calls.answer(&call.id, alice.clone(), NOW), Err(DemoError::CallOver)));

        let call = rung(&mut calls, &mom, ALICE).unwrap();
        assert_eq!(calls.end(&call.id, MOM).unwrap().1, End::Withdrawn);
        assert!(matches!(calls.answer(&call.id, alice.clone(), NOW), Err(DemoError::CallOver)));

        let call = rung(&mut calls, &mom, ALICE).unwrap();
        assert_eq!(calls.end(&call.id, ALICE).unwrap().1, End::Declined);
        assert!(matches!(calls.answer(&call.id, alice, NOW), Err(DemoError::CallOver)));
    }

    #[test]
    fn a_call_that_was_answered_does_not_expire_and_ends_with_either_page() {
        let (mut calls, mom, alice) = (Calls::default(), at(MOM), at(ALICE));
        for leaves in [&mom, &alice] {
            let call = rung(&mut calls, &mom, ALICE).unwrap();
            calls.answer(&call.id, alice.clone(), NOW).unwrap();
            assert!(calls.expire(&call.id, NOW.plus(RINGS)).is_none());
            assert_eq!(calls.leave(&leaves.page)[0].1, End::HungUp);
        }
        let call = rung(&mut calls, &mom, ALICE).unwrap();
        assert_eq!(calls.leave(&mom.page)[0].1, End::Withdrawn, "the caller's page went away while it rang");
        assert!(calls.of(ALICE).is_none(), "{call:?}");
    }

    #[test]
    fn one_call_at_a_time() {
        let (mut calls, mom, bob, alice) = (Calls::default(), at(MOM), at(BOB), at(ALICE));
        rung(&mut calls, &mom, ALICE).unwrap();
        assert!(matches!(rung(&mut calls, &bob, ALICE), Err(DemoError::Busy(_))));
        assert!(matches!(rung(&mut calls, &mom, BOB), Err(DemoError::Busy(_))));
        assert!(matches!(rung(&mut calls, &alice, BOB), Err(DemoError::Busy(_))));
        assert!(matches!(rung(&mut calls, &bob, BOB), Err(DemoError::Malformed(_))));
    }
}
