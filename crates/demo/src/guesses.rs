//! How often a passphrase may be guessed. No IO; the time is an argument.
//!
//! Each guess is charged to the name that it is for and to the address that it comes from. An address earns its guesses
//! back more slowly than a name does, so that one client alone cannot keep others from signing in with their own name.

use std::net::IpAddr;
use std::time::Instant;

use crate::allowance::{Account, Debts, charge_both, source};
use crate::error::DemoError;
use crate::limits::{GUESSES_OF_ADDRESS, GUESSES_OF_NAME};
use crate::store::PersonId;

/// All wrong guesses that are not forgotten yet.
#[derive(Default)]
pub(crate) struct Guesses {
    names: Debts<PersonId>,
    addresses: Debts<IpAddr>,
}

impl Guesses {
    /// Charges one guess, or returns how long to wait for it. It is charged before the passphrase is compared, so
    /// that guesses at the same time cannot slip through.
    pub(crate) fn charge(&mut self, name: PersonId, from: IpAddr, now: Instant) -> Result<(), DemoError> {
        let of_name = Account(&mut self.names, name, GUESSES_OF_NAME);
        let wait = charge_both(of_name, Account(&mut self.addresses, source(from), GUESSES_OF_ADDRESS), now);
        if wait.is_zero() { Ok(()) } else { Err(DemoError::TooManyGuesses(wait)) }
    }

    /// It was right: it costs nothing.
    pub(crate) fn give_back(&mut self, name: PersonId, from: IpAddr) {
        self.names.give_back(name, GUESSES_OF_NAME);
        self.addresses.give_back(source(from), GUESSES_OF_ADDRESS);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    const ALICE: PersonId = PersonId(1);
    const BOB: PersonId = PersonId(2);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many guesses are taken until one is not: the number, and how long that one has to wait.
    fn taken(guesses: &mut Guesses, name: PersonId, from: &str, now: Instant) -> (u32, Duration) {
        for count in 0..1000 {
            match guesses.charge(name, address(from), now) {
                Ok(()) => {}
                Err(DemoError::TooManyGuesses(wait)) => return (count, wait),
                Err(other) => panic!("{other}"),
            }
        }
        panic!("there is no bound");
    }

    #[test]
    fn an_address_has_some_guesses_and_then_one_a_minute_for_whichever_name() {
        let start = clock::moment().instant;
        let mut guesses = Guesses::default();
        let minute = GUESSES_OF_ADDRESS.one_more_after;
        assert_eq!(taken(&mut guesses, ALICE, "192.0.2.1", start), (GUESSES_OF_ADDRESS.at_once, minute));
        assert_eq!(taken(&mut guesses, BOB, "192.0.2.1", start), (0, minute));
        let later = start + minute / 3;
        assert_eq!(taken(&mut guesses, ALICE, "192.0.2.1", later), (0, minute - minute / 3));
        assert_eq!(taken(&mut guesses, ALICE, "192.0.2.1", start + minute), (1, minute));
        assert_eq!(taken(&mut guesses, BOB, "192.0.2.1", start + minute * 3), (2, minute));
        assert_eq!(taken(&mut guesses, BOB, "192.0.2.1", start + minute * 1000).0, GUESSES_OF_ADDRESS.at_once);
    }

    #[test]
    fn a_name_has_its_own_bound_however_many_addresses_guess_at_it() {
        let start = clock::moment().instant;
        let mut guesses = Guesses::default();
        let from = |number: u32| format!("198.51.100.{number}");
        let all: u32 = (0..250).map(|number| taken(&mut guesses, ALICE, &from(number), start).0).sum();
        assert_eq!(all, GUESSES_OF_NAME.at_once);
        assert_eq!(taken(&mut guesses, BOB, "203.0.113.1", start).0, GUESSES_OF_ADDRESS.at_once);
    }

    #[test]
    fn one_address_alone_cannot_use_up_a_name() {
        let start = clock::moment().instant;
        let mut guesses = Guesses::default();
        for minutes in 0..600 {
            let now = start + Duration::from_secs(60) * minutes;
            taken(&mut guesses, ALICE, "192.0.2.1", now);
            guesses.charge(ALICE, address("203.0.113.7"), now).unwrap();
            guesses.give_back(ALICE, address("203.0.113.7"));
        }
    }

    #[test]
    fn a_passphrase_that_is_right_costs_nothing() {
        let start = clock::moment().instant;
        let mut guesses = Guesses::default();
        for _ in 0..1000 {
            guesses.charge(ALICE, address("192.0.2.1"), start).unwrap();
            guesses.give_back(ALICE, address("192.0.2.1"));
        }
        assert_eq!(taken(&mut guesses, ALICE, "192.0.2.1", start).0, GUESSES_OF_ADDRESS.at_once);
    }

    #[test]
    fn the_addresses_of_one_network_count_as_one_and_a_mapped_one_is_no_other() {
        let start = clock::moment().instant;
        let mut guesses = Guesses::default();
        taken(&mut guesses, ALICE, "2001:db8::1", start);
        assert_eq!(taken(&mut guesses, BOB, "2001:db8::ffff:1", start).0, 0);
        taken(&mut guesses, ALICE, "192.0.2.1", start);
        assert_eq!(taken(&mut guesses, BOB, "::ffff:192.0.2.1", start).0, 0);
        assert_eq!(taken(&mut guesses, BOB, "2001:db8:0:1::1", start).0, GUESSES_OF_ADDRESS.at_once);
    }
}
