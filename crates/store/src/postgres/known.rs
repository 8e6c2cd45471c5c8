//! What is known of the rows: what was used recently, what was read for a batch, and what the batch changes.

use std::collections::HashMap;
use std::hash::Hash;

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};

use crate::quota::Usage;
use crate::recent::RecentCache;
use crate::rules::{AgentFact, MessageFact, ReceiptSubscriptionFact, SubscriptionFact};

/// Of each kind, in each of two generations. All of it takes some tens of MiB at most.
const AGENTS_MAX: usize = 65_536;
const MESSAGES_MAX: usize = 16_384;
const RECEIPT_SUBSCRIPTIONS_MAX: usize = 4_096;

/// Rows as the database has them: true as long as the life lasts, because only it writes them.
pub(super) struct Known {
    pub(super) agents: RecentCache<AgentId, AgentFact>,
    pub(super) usage: RecentCache<AgentId, Usage>,
    pub(super) subscriptions: RecentCache<SubscriptionId, SubscriptionFact>,
    pub(super) messages: RecentCache<MessageId, MessageFact>,
    pub(super) receipt_subscriptions: RecentCache<ReceiptSubscriptionId, ReceiptSubscriptionFact>,
}

impl Known {
    pub(super) fn new() -> Self {
        Self {
            agents: RecentCache::new(AGENTS_MAX),
            usage: RecentCache::new(AGENTS_MAX),
            subscriptions: RecentCache::new(AGENTS_MAX),
            messages: RecentCache::new(MESSAGES_MAX),
            receipt_subscriptions: RecentCache::new(RECEIPT_SUBSCRIPTIONS_MAX),
        }
    }

    /// After a batch that was not committed as it was decided.
    pub(super) fn clear(&mut self) {
        self.agents.clear();
        self.usage.clear();
        self.subscriptions.clear();
        self.messages.clear();
        self.receipt_subscriptions.clear();
    }
}

/// What a batch does to one row.
#[derive(Clone, Debug)]
pub(super) struct Change<V> {
    /// The database had the row before.
    existed: bool,
    /// It was removed in between, and there may be another one of the same id now.
    removed: bool,
    pub(super) now: Option<V>,
}

impl<V> Change<V> {
    pub(super) fn is_deleted(&self) -> bool {
        self.existed && (self.removed || self.now.is_none())
    }

    pub(super) fn is_inserted(&self) -> bool {
        self.now.is_some() && (self.removed || !self.existed)
    }

    pub(super) fn is_updated(&self) -> bool {
        self.now.is_some() && self.existed && !self.removed
    }

    /// Whether the database has nothing of what is there now.
    pub(super) fn is_new(&self) -> bool {
        self.removed || !self.existed
    }
}

/// The rows of one table in a batch.
pub(super) struct Rows<K, V> {
    /// Read for this batch; `None`: there is none.
    pub(super) loaded: HashMap<K, Option<V>>,
    pub(super) changed: HashMap<K, Change<V>>,
}

impl<K: Copy + Eq + Hash, V: Clone> Rows<K, V> {
    pub(super) fn new() -> Self {
        Self { loaded: HashMap::new(), changed: HashMap::new() }
    }

    /// The row as it is now; `None`: it must be read first.
    pub(super) fn get(&self, recent: &mut RecentCache<K, V>, key: K) -> Option<Option<V>> {
        if let Some(change) = self.changed.get(&key) {
            return Some(change.now.clone());
        }
        if let Some(loaded) = self.loaded.get(&key) {
            return Some(loaded.clone());
        }
        recent.get(key).cloned().map(Some)
    }

    pub(super) fn insert(&mut self, key: K, row: V) {
        let change = self.changed.entry(key).or_insert(Change { existed: false, removed: false, now: None });
        debug_assert!(change.now.is_none(), "the rules insert what is not there");
        change.now = Some(row);
    }

    pub(super) fn change(&mut self, key: K, row: V) {
        self.changed.entry(key).or_insert(Change { existed: true, removed: false, now: None }).now = Some(row);
    }

    pub(super) fn remove(&mut self, key: K) {
        let change = self.changed.entry(key).or_insert(Change { existed: true, removed: false, now: None });
        (change.removed, change.now) = (true, None);
    }

    /// The changes were written in this transaction: the database has them from here on.
    pub(super) fn note_written(&mut self) {
        let written = self.changed.drain().map(|(key, change)| (key, change.now));
        self.loaded.extend(written);
    }

    /// The transaction was committed.
    pub(super) fn settle(mut self, recent: &mut RecentCache<K, V>) {
        self.note_written();
        for (key, row) in self.loaded {
            match row {
                Some(row) => recent.insert(key, row),
                None => recent.forget(key),
            }
        }
    }
}
