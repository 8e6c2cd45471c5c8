//! How often something may be done: some at once, and then one more after each pause; and how much of something one
//! source may have at a time. No IO; the time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::limits::DEBTORS_MAX;
use crate::lock::lock;

/// How many there are at once, and how long it takes until there is one more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) at_once: u32,
    pub(crate) one_more_after: Duration,
}

/// When each will have earned back all that was charged. Who is not here owes nothing.
pub(crate) struct Debts<K>(HashMap<K, Instant>);

impl<K> Default for Debts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash> Debts<K> {
    fn wait(&self, who: K, allowed: Allowance, now: Instant) -> Duration {
        let owed = self.0.get(&who).map_or(Duration::ZERO, |even_at| even_at.saturating_duration_since(now));
        let most = allowed.one_more_after * allowed.at_once.saturating_sub(1);
        owed.saturating_sub(most)
    }

    fn charge(&mut self, who: K, allowed: Allowance, now: Instant) {
        if self.0.len() >= DEBTORS_MAX {
            self.0.retain(|_, even_at| *even_at > now);
        }
        if self.0.len() >= DEBTORS_MAX {
            // The one that owes least is forgotten. A flood of addresses still meets the bound of the name.
            let least = self.0.iter().min_by_key(|(_, even_at)| **even_at).map(|(who, _)| *who);
            least.map(|who| self.0.remove(&who));
        }
        let even_at = self.0.entry(who).or_insert(now);
        // Nothing is charged that has to wait, so this is at most an allowance ahead.
        *even_at = (*even_at).max(now) + allowed.one_more_after;
    }

    /// Charges one, or returns how long to wait.
    pub(crate) fn try_charge(&mut self, who: K, allowed: Allowance, now: Instant) -> Duration {
        let wait = self.wait(who, allowed, now);
        if wait.is_zero() {
            self.charge(who, allowed, now);
        }
        wait
    }

    /// Takes one charge back.
    pub(crate) fn give_back(&mut self, who: K, allowed: Allowance) {
        if let Some(even_at) = self.0.get_mut(&who) {
            // What the clock cannot express is long ago: nothing is owed either way.
            *even_at = even_at.checked_sub(allowed.one_more_after).unwrap_or(*even_at);
        }
    }
}

/// What an action is charged to.
pub(crate) struct Account<'a, K>(pub(crate) &'a mut Debts<K>, pub(crate) K, pub(crate) Allowance);

/// Charges both accounts, or none and returns how long to wait.
pub(crate) fn charge_both<A: Copy + Eq + Hash, B: Copy + Eq + Hash>(
    Account(one, of_one, allowed_one): Account<'_, A>,
    Account(other, of_other, allowed_other): Account<'_, B>,
    now: Instant,
) -> Duration {
    let wait = one.wait(of_one, allowed_one, now).max(other.wait(of_other, allowed_other, now));
    if wait.is_zero() {
        one.charge(of_one, allowed_one, now);
        other.charge(of_other, allowed_other, now);
    }
    wait
}

/// How many of something each source has at the moment. Those that have none are not here.
#[derive(Debug, Default)]
pub(crate) struct Shares(Mutex<HashMap<IpAddr, usize>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    source: IpAddr,
}

impl Shares {
    /// One more for the source of an address, if it has fewer than `max`.
    pub(crate) fn take(self: &Arc<Self>, from: IpAddr, max: usize) -> Option<Share> {
        let source = source(from);
        let mut counts = lock(&self.0);
        let count = counts.entry(source).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Share { shares: self.clone(), source })
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = lock(&self.shares.0);
        let count = counts.get_mut(&self.source).expect("it was counted");
        *count -= 1;
        if *count == 0 {
            counts.remove(&self.source);
        }
    }
}

/// What counts as one source. A client that has one address of IPv6 has 2^64 of them.
pub(crate) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::limits::GUESSES_OF_ADDRESS;

    #[test]
    fn what_is_remembered_is_bounded_and_those_who_owe_least_are_forgotten() {
        let start = clock::moment().instant;
        let mut debts = Debts::default();
        debts.charge(u32::MAX, GUESSES_OF_ADDRESS, start);
        debts.charge(u32::MAX, GUESSES_OF_ADDRESS, start);
        (0..10_100).for_each(|who| debts.charge(who, GUESSES_OF_ADDRESS, start));
        assert_eq!(debts.0.len(), DEBTORS_MAX);
        assert!(debts.0.contains_key(&u32::MAX));
    }

    #[test]
    fn a_source_has_a_bounded_share_which_it_gets_back() {
        let (shares, address) = (Arc::new(Shares::default()), |text: &str| text.parse::<IpAddr>().unwrap());
        let taken: Vec<_> = std::iter::from_fn(|| shares.take(address("2001:db8::1"), 3)).take(10).collect();
        assert_eq!(taken.len(), 3);
        assert!(shares.take(address("2001:db8::2"), 3).is_none() && shares.take(address("192.0.2.1"), 3).is_some());
        drop(taken);
        assert!(shares.is_empty());
    }
}
