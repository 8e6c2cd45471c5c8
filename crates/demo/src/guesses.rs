//! How often a passphrase may be guessed. No IO; the time is an argument.
//!
//! Each guess is charged to the name that it is for and to the address that it comes from. An address earns its guesses
//! back more slowly than a name does, so that one client alone cannot keep others from signing in with their own name.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use doorbell_protocol::time::UnixMs;

use crate::error::DemoError;
use crate::limits::{GUESSES_OF_ADDRESS, GUESSES_OF_NAME, GUESSES_REMEMBERED_MAX};
use crate::store::PersonId;

/// How many guesses there are at once, and how long it takes until there is one more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) at_once: u32,
    pub(crate) one_more_after: Duration,
}

/// All wrong guesses that are not forgotten yet.
#[derive(Default)]
pub(crate) struct Guesses {
    names: Debts<PersonId>,
    addresses: Debts<IpAddr>,
}

impl Guesses {
    /// Charges one guess, or returns how long to wait for it. It is charged before the passphrase is compared, so
    /// that guesses at the same time cannot slip through.
    pub(crate) fn charge(&mut self, name: PersonId, from: IpAddr, now: UnixMs) -> Result<(), DemoError> {
        let from = network(from);
        let wait = self.names.wait(name, GUESSES_OF_NAME, now).max(self.addresses.wait(from, GUESSES_OF_ADDRESS, now));
        if !wait.is_zero() {
            return Err(DemoError::TooManyGuesses(wait));
        }
        self.names.charge(name, GUESSES_OF_NAME, now);
        self.addresses.charge(from, GUESSES_OF_ADDRESS, now);
        Ok(())
    }

    /// It was right: it costs nothing.
    pub(crate) fn give_back(&mut self, name: PersonId, from: IpAddr) {
        self.names.give_back(name, GUESSES_OF_NAME);
        self.addresses.give_back(network(from), GUESSES_OF_ADDRESS);
    }
}

/// When each will have earned back all that was charged. Who is not here owes nothing.
struct Debts<K>(HashMap<K, UnixMs>);

impl<K> Default for Debts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash> Debts<K> {
    fn wait(&self, who: K, allowed: Allowance, now: UnixMs) -> Duration {
        let owed = self.0.get(&who).map_or(Duration::ZERO, |even_at| even_at.since(now));
        let most = allowed.one_more_after * allowed.at_once.saturating_sub(1);
        owed.saturating_sub(most)
    }

    fn charge(&mut self, who: K, allowed: Allowance, now: UnixMs) {
        if self.0.len() >= GUESSES_REMEMBERED_MAX {
            self.0.retain(|_, even_at| *even_at > now);
        }
        if self.0.len() >= GUESSES_REMEMBERED_MAX {
            // The one that owes least is forgotten. A flood of addresses still meets the bound of the name.
            let least = self.0.iter().min_by_key(|(_, even_at)| **even_at).map(|(who, _)| *who);
            least.map(|who| self.0.remove(&who));
        }
        let even_at = self.0.entry(who).or_insert(now);
        *even_at = (*even_at).max(now).plus(allowed.one_more_after);
    }

    fn give_back(&mut self, who: K, allowed: Allowance) {
        if let Some(even_at) = self.0.get_mut(&who) {
            *even_at = even_at.minus(allowed.one_more_after);
        }
    }
}

/// Who has one address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);
    const ALICE: PersonId = PersonId(1);
    const BOB: PersonId = PersonId(2);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many guesses are taken until one is not: the number, and how long that one has to wait.
    fn taken(guesses: &mut Guesses, name: PersonId, from: &str, now: UnixMs) -> (u32, Duration) {
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
        let mut guesses = Guesses::default();
        let minute = GUESSES_OF_ADDRESS.one_more_after;
        assert_eq!(taken(&mut guesses, ALICE, "192.0.2.1", NOW), (GUESSES_OF_ADDRESS.at_once, minute));
        assert_eq!(taken(&mut guesses, BOB, "192.0.2.1", NOW), (0, minute));
        let later = NOW.plus(minute / 3);
        assert_eq!(taken(&mut guesses, ALICE, "192.0.2.1", later), (0, minute - minute / 3));
        assert_eq!(taken(&mut guesses, ALICE, "192.0.2.1", NOW.plus(minute)), (1, minute));
        assert_eq!(taken(&mut guesses, BOB, "192.0.2.1", NOW.plus(minute * 3)), (2, minute));
        assert_eq!(taken(&mut guesses, BOB, "192.0.2.1", NOW.plus(minute * 1000)).0, GUESSES_OF_ADDRESS.at_once);
    }

    #[test]
    fn a_name_has_its_own_bound_however_many_addresses_guess_at_it() {
        let mut guesses = Guesses::default();
        let from = |number: u32| format!("198.51.100.{number}");
        let all: u32 = (0..250).map(|number| taken(&mut guesses, ALICE, &from(number), NOW).0).sum();
        assert_eq!(all, GUESSES_OF_NAME.at_once);
        assert_eq!(taken(&mut guesses, BOB, "203.0.113.1", NOW).0, GUESSES_OF_ADDRESS.at_once);
    }

    #[test]
    fn one_address_alone_cannot_use_up_a_name() {
        let mut guesses = Guesses::default();
        for minutes in 0..600 {
            let now = NOW.plus(Duration::from_secs(60) * minutes);
            taken(&mut guesses, ALICE, "192.0.2.1", now);
            guesses.charge(ALICE, address("203.0.113.7"), now).unwrap();
            guesses.give_back(ALICE, address("203.0.113.7"));
        }
    }

    #[test]
    fn a_passphrase_that_is_right_costs_nothing() {
        let mut guesses = Guesses::default();
        for _ in 0..1000 {
            guesses.charge(ALICE, address("192.0.2.1"), NOW).unwrap();
            guesses.give_back(ALICE, address("192.0.2.1"));
        }
        assert_eq!(taken(&mut guesses, ALICE, "192.0.2.1", NOW).0, GUESSES_OF_ADDRESS.at_once);
    }

    #[test]
    fn the_addresses_of_one_network_count_as_one_and_a_mapped_one_is_no_other() {
        let mut guesses = Guesses::default();
        taken(&mut guesses, ALICE, "2001:db8::1", NOW);
        assert_eq!(taken(&mut guesses, BOB, "2001:db8::ffff:1", NOW).0, 0);
        taken(&mut guesses, ALICE, "192.0.2.1", NOW);
        assert_eq!(taken(&mut guesses, BOB, "::ffff:192.0.2.1", NOW).0, 0);
        assert_eq!(taken(&mut guesses, BOB, "2001:db8:0:1::1", NOW).0, GUESSES_OF_ADDRESS.at_once);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_those_who_owe_least_are_forgotten() {
        let mut debts = Debts::default();
        debts.charge(u32::MAX, GUESSES_OF_ADDRESS, NOW);
        debts.charge(u32::MAX, GUESSES_OF_ADDRESS, NOW);
        (0..10_100).for_each(|who| debts.charge(who, GUESSES_OF_ADDRESS, NOW));
        assert_eq!(debts.0.len(), GUESSES_REMEMBERED_MAX);
        assert!(debts.0.contains_key(&u32::MAX));
    }
}
