//! How often one source may do what costs the server or others something. No IO; the time is an argument.
//!
//! Each action is charged to the address that it comes from. Names are also charged to all addresses together, and
//! changes and echoes to the person who makes them.

use std::net::IpAddr;
use std::time::Instant;

use crate::allowance::{Account, Debts, charge_both, source};
use crate::error::DemoError;
use crate::limits::{
    CHANGES_OF_PERSON, CHANGES_OF_SOURCE, NAMES_OF_ALL, NAMES_OF_SOURCE, SIGN_INS_OF_SOURCE, VOICE_MAILS_OF_SOURCE,
};
use crate::store::PersonId;

/// What is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Signing in, whether it succeeds or not.
    SignIn,
    /// Taking a name that no person has.
    TakeName,
    /// A request of a person that changes something or notifies others.
    Change(PersonId),
    /// A request that a person's devices make because another person did something.
    Echo(PersonId),
    /// Leaving a voice mail.
    VoiceMail,
}

/// What each source owes.
#[derive(Default)]
pub(crate) struct Rates {
    sign_ins: Debts<IpAddr>,
    names: Debts<IpAddr>,
    names_of_all: Debts<()>,
    changes: Debts<IpAddr>,
    changes_of_people: Debts<PersonId>,
    echoes: Debts<IpAddr>,
    echoes_of_people: Debts<PersonId>,
    voice_mails: Debts<IpAddr>,
}

impl Rates {
    /// Charges an action, or returns how long to wait for it.
    pub(crate) fn charge(&mut self, action: Action, from: IpAddr, now: Instant) -> Result<(), DemoError> {
        let from = source(from);
        let wait = match action {
            Action::SignIn => self.sign_ins.try_charge(from, SIGN_INS_OF_SOURCE, now),
            Action::VoiceMail => self.voice_mails.try_charge(from, VOICE_MAILS_OF_SOURCE, now),
            Action::TakeName => {
                let of_source = Account(&mut self.names, from, NAMES_OF_SOURCE);
                charge_both(of_source, Account(&mut self.names_of_all, (), NAMES_OF_ALL), now)
            }
            Action::Change(person) => {
                let of_source = Account(&mut self.changes, from, CHANGES_OF_SOURCE);
                charge_both(of_source, Account(&mut self.changes_of_people, person, CHANGES_OF_PERSON), now)
            }
            Action::Echo(person) => {
                let of_source = Account(&mut self.echoes, from, CHANGES_OF_SOURCE);
                charge_both(of_source, Account(&mut self.echoes_of_people, person, CHANGES_OF_PERSON), now)
            }
        };
        if wait.is_zero() { Ok(()) } else { Err(DemoError::TooOften(wait)) }
    }

    /// The name was not taken: it costs nothing.
    pub(crate) fn give_back_name(&mut self, from: IpAddr) {
        self.names.give_back(source(from), NAMES_OF_SOURCE);
        self.names_of_all.give_back((), NAMES_OF_ALL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allowance::Allowance;
    use crate::clock;

    fn address(number: u32) -> IpAddr {
        format!("192.0.2.{number}").parse().unwrap()
    }

    /// How many are taken until one is refused.
    fn taken(rates: &mut Rates, action: Action, from: u32, now: Instant) -> u32 {
        let is_taken = |_: &u32| rates.charge(action, address(from), now).is_ok();
        (0..10_000).take_while(is_taken).count().try_into().unwrap()
    }

    #[test]
    fn a_source_has_some_at_once_and_then_one_after_each_pause_and_another_source_its_own() {
        let start = clock::moment().instant;
        let [change, echo] = [Action::Change(PersonId(1)), Action::Echo(PersonId(1))];
        for (action, allowed) in [
            (Action::SignIn, SIGN_INS_OF_SOURCE),
            (Action::TakeName, NAMES_OF_SOURCE),
            (Action::VoiceMail, VOICE_MAILS_OF_SOURCE),
            (change, CHANGES_OF_PERSON),
            (echo, CHANGES_OF_PERSON),
        ] {
            let Allowance { at_once, one_more_after } = allowed;
            let mut rates = Rates::default();
            assert_eq!(taken(&mut rates, action, 1, start), at_once, "{action:?}");
            let DemoError::TooOften(wait) = rates.charge(action, address(1), start).unwrap_err() else { panic!() };
            assert_eq!(wait, one_more_after, "{action:?}");
            assert_eq!(taken(&mut rates, action, 1, start + one_more_after), 1, "{action:?}");
            if action != change && action != echo {
                assert_eq!(taken(&mut rates, action, 2, start + one_more_after), at_once, "{action:?}");
            }
        }
    }

    #[test]
    fn all_sources_together_take_names_slowly_enough_to_be_noticed_and_one_alone_leaves_room_for_others() {
        let (start, mut rates) = (clock::moment().instant, Rates::default());
        let all: u32 = (0..250).map(|number| taken(&mut rates, Action::TakeName, number, start)).sum();
        assert_eq!(all, NAMES_OF_ALL.at_once);
        const { assert!(NAMES_OF_SOURCE.at_once * 2 <= NAMES_OF_ALL.at_once) }
    }

    #[test]
    fn a_name_that_was_not_taken_costs_neither_its_source_nor_others_anything() {
        let (start, mut rates) = (clock::moment().instant, Rates::default());
        for _ in 0..1000 {
            rates.charge(Action::TakeName, address(1), start).unwrap();
            rates.give_back_name(address(1));
        }
        let all: u32 = (1..250).map(|number| taken(&mut rates, Action::TakeName, number, start)).sum();
        assert_eq!(all, NAMES_OF_ALL.at_once);
    }

    #[test]
    fn a_source_with_many_names_has_one_allowance_for_changes() {
        let (start, mut rates) = (clock::moment().instant, Rates::default());
        let all: u32 = (0..100).map(|person| taken(&mut rates, Action::Change(PersonId(person)), 1, start)).sum();
        assert_eq!(all, CHANGES_OF_SOURCE.at_once);
        assert_eq!(taken(&mut rates, Action::Change(PersonId(200)), 2, start), CHANGES_OF_PERSON.at_once);
    }

    #[test]
    fn what_others_make_the_devices_of_a_person_do_leaves_them_and_their_household_their_changes() {
        let (start, mut rates) = (clock::moment().instant, Rates::default());
        for person in 0..100 {
            taken(&mut rates, Action::Echo(PersonId(person)), 1, start);
        }
        assert_eq!(taken(&mut rates, Action::Change(PersonId(1)), 1, start), CHANGES_OF_PERSON.at_once);
    }
}
