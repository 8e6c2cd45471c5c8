//! Receipts: reports to application servers about the outcomes of their messages (RFC 8030 s5.1, s6.3).
//!
//! The commit that settles a message writes its receipt, which stays in the store until the application server has
//! taken it. This file only wakes the streams that wait for one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use doorbell_protocol::id::{AgentId, Mint, ReceiptSubscriptionId};
use doorbell_store::{Receipt, ReceiptPosition, Store, StoreError};
use tokio::sync::watch;

use super::counters::{Bounded, Counters};
use super::detached::detached;
use super::error::HubError;
use crate::clock::Clock;
use crate::locked::Locked;

/// Receipts read from the store at a time.
const PAGE_MAX: u32 = 100;

/// A store that cannot be read is read again after so long.
const BETWEEN_READS: Duration = Duration::from_secs(1);

/// Ids that are minted for one receipt subscription at most, so that it is in the cell of its first message.
const MINTED_MAX: u32 = 256;

/// All receipt subscriptions: the interface for the doors, and the waiting streams.
pub(crate) struct Receipts {
    store: Store,
    mint: Arc<Mint>,
    clock: Clock,
    counters: Arc<Counters>,
    waiters: Waiters,
    /// Turns true when the service drains.
    stopping: watch::Sender<bool>,
}

/// The streams that wait for receipts.
#[derive(Default)]
struct Waiters(Locked<HashMap<ReceiptSubscriptionId, watch::Sender<()>>>);

/// An event of a receipt stream.
pub(crate) enum ReceiptEvent {
    /// A receipt that was not taken yet.
    Receipt(Receipt),
    /// The receipt subscription has been removed.
    Gone,
    /// The service drains: the client should reconnect.
    Stopping,
    /// The store cannot be read at the moment.
    Failed(HubError),
}

/// One stream of a subscription's receipts, oldest first.
pub(crate) struct ReceiptStream {
    receipts: Arc<Receipts>,
    id: ReceiptSubscriptionId,
    /// The last receipts that were read from the store.
    after: ReceiptPosition,
    page: VecDeque<Receipt>,
    changes: watch::Receiver<()>,
    stopping: watch::Receiver<bool>,
}

impl Receipts {
    pub(super) fn new(store: Store, mint: Arc<Mint>, clock: Clock, counters: Arc<Counters>) -> Self {
        Self { store, mint, clock, counters, waiters: Waiters::default(), stopping: watch::Sender::new(false) }
    }

    /// Opens a stream of the receipts after a position.
    pub(crate) async fn open(
        self: &Arc<Self>,
        id: ReceiptSubscriptionId,
        after: ReceiptPosition,
    ) -> Result<ReceiptStream, HubError> {
        let (changes, stopping) = (self.waiters.listen(id), self.stopping.subscribe());
        let stream = ReceiptStream { receipts: self.clone(), id, after, page: VecDeque::new(), changes, stopping };
        // Checked after subscribing: a removal in between is then visible here, or wakes the stream.
        if self.store.receipt_subscription_exists(id).await? { Ok(stream) } else { Err(HubError::Gone) }
    }

    /// Creates a receipt subscription, for a message to this agent.
    pub(crate) async fn subscribe(&self, agent: AgentId) -> Result<ReceiptSubscriptionId, HubError> {
        let mut ids = (0..MINTED_MAX).map(|_| ReceiptSubscriptionId::from_raw(self.mint.next(self.clock.now())));
        // In the agent's cell it need not join another one. Some agents live in a cell that new ids do not go to.
        let first = ids.next().expect("one is minted in any case");
        let id = if self.store.is_home(agent, first) {
            first
        } else {
            ids.find(|id| self.store.is_home(agent, *id)).unwrap_or(first)
        };
        let created = self.store.create_receipt_subscription(id, self.clock.served()).await;
        created.map_err(|error| self.counters.refused(Bounded::ReceiptSubscriptions, error))?;
        Ok(id)
    }

    /// The application server has these receipts: they are not sent again.
    pub(crate) async fn take(&self, id: ReceiptSubscriptionId, up_to: ReceiptPosition) -> Result<(), HubError> {
        self.store.take_receipts(id, up_to, self.clock.served()).await?;
        Ok(())
    }

    /// Notes in the store that receipt subscriptions with an open stream are in use, even without a receipt.
    pub(super) async fn touch_waited_for(&self) -> Result<(), StoreError> {
        let waited_for: Vec<_> = self.waiters.0.lock().keys().copied().collect();
        for id in waited_for {
            // Receipts are numbered from 1. One at a time: messages do not wait behind these.
            self.store.take_receipts(id, 0, self.clock.served()).await?;
        }
        Ok(())
    }

    /// Removes a receipt subscription, with its receipts.
    pub(crate) async fn remove(self: &Arc<Self>, id: ReceiptSubscriptionId) -> Result<(), HubError> {
        let (removal, receipts) = (self.store.delete_receipt_subscription(id), self.clone());
        // The client may leave meanwhile, and the streams still have to end.
        detached(async move {
            let removed = removal.await?;
            receipts.wake(id);
            if removed.existed { Ok(()) } else { Err(HubError::Gone) }
        })
        .await
    }

    /// Removes a receipt subscription that no client knows, some time. If that fails, the idle expiry removes it.
    pub(crate) fn remove_later(&self, id: ReceiptSubscriptionId) {
        drop(self.store.delete_receipt_subscription(id));
    }

    /// Something changed for this receipt subscription.
    pub(super) fn wake(&self, id: ReceiptSubscriptionId) {
        self.waiters.wake(id);
    }

    /// Ends every stream, the present and all later ones: the service drains.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

impl Waiters {
    fn wake(&self, id: ReceiptSubscriptionId) {
        let mut waiters = self.0.lock();
        if let Some(changes) = waiters.get(&id)
            && changes.send(()).is_err()
        {
            // No stream waits any more.
            waiters.remove(&id);
        }
    }

    fn listen(&self, id: ReceiptSubscriptionId) -> watch::Receiver<()> {
        self.0.lock().entry(id).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    fn leave(&self, id: ReceiptSubscriptionId) {
        let mut waiters = self.0.lock();
        // The leaving stream is still counted.
        if waiters.get(&id).is_some_and(|changes| changes.receiver_count() <= 1) {
            waiters.remove(&id);
        }
    }
}

impl ReceiptStream {
    /// Waits for the next receipt. Giving up the wait loses nothing.
    pub(crate) async fn next(&mut self) -> ReceiptEvent {
        loop {
            match self.try_next().await {
                Ok(Some(receipt)) => return ReceiptEvent::Receipt(receipt),
                Ok(None) => {}
                Err(HubError::Gone) => return ReceiptEvent::Gone,
                Err(error) if self.repeats(&error) => {
                    let clock = &self.receipts.clock;
                    tokio::select! {
                        () = clock.sleep_until(clock.now().plus(BETWEEN_READS)) => continue,
                        _ = self.stopping.wait_for(|stop| *stop) => return ReceiptEvent::Stopping,
                    }
                }
                Err(error) => return ReceiptEvent::Failed(error),
            }
            tokio::select! {
                // The sender exists for as long as this stream waits.
                _ = self.changes.changed() => {}
                _ = self.stopping.wait_for(|stop| *stop) => return ReceiptEvent::Stopping,
            }
        }
    }

    /// Whether what failed is tried again, because it is a cell of the store on a database that is away.
    pub(crate) fn repeats(&self, error: &HubError) -> bool {
        matches!(error, HubError::Unavailable | HubError::Overloaded) && self.receipts.store.recovers_somewhere()
    }

    /// The next receipt, if there is one now.
    pub(crate) async fn try_next(&mut self) -> Result<Option<Receipt>, HubError> {
        if self.page.is_empty() {
            // Receipts that arrive during the read count as new changes.
            self.changes.mark_unchanged();
            let page = self.receipts.store.receipts(self.id, self.after.clone(), PAGE_MAX).await?;
            if page.receipts.is_empty() && !self.receipts.store.receipt_subscription_exists(self.id).await? {
                return Err(HubError::Gone);
            }
            page.receipts.iter().for_each(|receipt| self.after.pass(receipt));
            self.page = page.receipts.into();
        }
        Ok(self.page.pop_front())
    }
}

impl Drop for ReceiptStream {
    fn drop(&mut self) {
        self.receipts.waiters.leave(self.id);
    }
}
