//! The receipt subscription of each push service, so that one of them has the receipts of all messages (RFC 8030 s5.1).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::endpoint::Endpoint;
use crate::lock::lock;

/// How many push services a book has a receipt subscription for. Endpoints come from strangers.
pub const ORIGINS_MAX: usize = 1024;

/// The receipt subscriptions of an application server, one for each push service's origin. An application server has one
/// book, as it has one [`Signer`](crate::token::Signer).
#[derive(Default)]
pub struct ReceiptBook {
    by_origin: Mutex<HashMap<String, String>>,
}

impl ReceiptBook {
    /// An empty book.
    pub fn new() -> Self {
        Self::default()
    }

    /// The receipt subscription for messages to `endpoint`.
    pub fn get(&self, endpoint: &Endpoint) -> Option<String> {
        self.entries().get(&endpoint.origin()).cloned()
    }

    /// Stores `receipts`, a URL, for the push service of `endpoint`. The newest counts.
    pub fn remember(&self, endpoint: &Endpoint, receipts: &str) {
        let (origin, mut entries) = (endpoint.origin(), self.entries());
        if entries.len() >= ORIGINS_MAX && !entries.contains_key(&origin) {
            // The one that is removed costs its push service one more receipt subscription, and no receipt is lost.
            let any = entries.keys().next().cloned();
            any.map(|origin| entries.remove(&origin));
        }
        entries.insert(origin, receipts.to_owned());
        debug_assert!(entries.len() <= ORIGINS_MAX, "the book is bounded");
    }

    /// Removes `receipts`, which is gone. Another one that was stored in the meantime stays.
    pub fn forget(&self, endpoint: &Endpoint, receipts: &str) {
        let (origin, mut entries) = (endpoint.origin(), self.entries());
        if entries.get(&origin).is_some_and(|known| known == receipts) {
            entries.remove(&origin);
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, String>> {
        lock(&self.by_origin)
    }
}

/// Shows how many there are: their URLs are secrets.
impl std::fmt::Debug for ReceiptBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReceiptBook({} push services)", self.entries().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::parse(url).unwrap()
    }

    #[test]
    fn each_origin_has_its_own_and_the_newest_counts_as_8030_5_1_1() {
        let book = ReceiptBook::new();
        let (one, same) = (endpoint("https://push.example.net/p/1"), endpoint("https://push.example.net:443/p/2"));
        let other = endpoint("https://push.example.net:8443/p/1");
        book.remember(&one, "https://push.example.net/r/1");
        assert_eq!(book.get(&same).as_deref(), Some("https://push.example.net/r/1"));
        assert_eq!(book.get(&other), None);
        book.remember(&same, "https://push.example.net/r/2");
        assert_eq!(book.get(&one).as_deref(), Some("https://push.example.net/r/2"));
    }

    #[test]
    fn forgetting_an_old_one_leaves_its_successor() {
        let (book, endpoint) = (ReceiptBook::new(), endpoint("https://push.example.net/p/1"));
        book.remember(&endpoint, "new");
        book.forget(&endpoint, "old");
        assert_eq!(book.get(&endpoint).as_deref(), Some("new"));
        book.forget(&endpoint, "new");
        assert_eq!(book.get(&endpoint), None);
    }

    #[test]
    fn the_memory_is_bounded_and_no_url_is_shown() {
        let book = ReceiptBook::new();
        for n in 0..=ORIGINS_MAX {
            book.remember(&endpoint(&format!("https://h{n}.example/")), "secret");
        }
        assert_eq!(book.get(&endpoint(&format!("https://h{ORIGINS_MAX}.example/"))).as_deref(), Some("secret"));
        assert_eq!(format!("{book:?}"), format!("ReceiptBook({ORIGINS_MAX} push services)"));
    }
}
