//! A bounded cache of what was used recently.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by key, in two generations. When the young one is full, it replaces the old one.
#[derive(Debug)]
pub(crate) struct RecentCache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generation_max: usize,
}

impl<K: Copy + Eq + Hash, V> RecentCache<K, V> {
    /// Room for at most twice `generation_max` values.
    pub(crate) fn new(generation_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation_max }
    }

    /// The value of `key`, if it is cached.
    pub(crate) fn get(&mut self, key: K) -> Option<&mut V> {
        if !self.young.contains_key(&key) {
            let value = self.old.remove(&key)?;
            self.insert(key, value);
        }
        self.young.get_mut(&key)
    }

    /// Adds a value.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
        debug_assert!(self.young.len() <= self.generation_max.max(1), "a full generation is replaced");
    }

    /// Removes a value.
    pub(crate) fn forget(&mut self, key: K) {
        self.young.remove(&key);
        self.old.remove(&key);
    }

    /// Removes all values, after a roll-back.
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_kept_and_the_rest_is_bounded() {
        let mut recent = RecentCache::new(10);
        for n in 0..1_000 {
            recent.insert(n, n * 2);
            assert!(recent.get(0).is_some(), "the one in use was dropped at {n}");
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert!(recent.get(1).is_none());
        assert_eq!(recent.get(999), Some(&mut 1_998));
    }
}
