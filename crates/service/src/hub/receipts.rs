//! Receipts: reports to application servers of what became of their messages (RFC 8030 s5.1, s6.3).
//!
//! A receipt is written by the commit that settles its message and stays in the store until the application server
//! took it; what happens here is only waking the streams that wait for one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use doorbell_protocol::id::{Mint, ReceiptSubscriptionId};
use doorbell_store::{Receipt, Store};
use tokio::sync::watch;

use super::detached::detached;
use super::error::HubError;
use crate::clock::Clock;

/// Receipts read from the store at a time.
const PAGE_MAX: u32 = 100;

/// All receipt subscriptions: what a door may ask for, and the streams that wait.
pub(crate) struct Receipts {
    store: Store,
    mint: Arc<Mint>,
    clock: Clock,
    waiters: Waiters,
    /// Turns true when the service drains.
    stopping: watch::Sender<bool>,
}

/// The streams that wait for receipts.
#[derive(Default)]
struct Waiters(Mutex<HashMap<ReceiptSubscriptionId, watch::Sender<()>>>);

/// What a stream of receipts returns.
pub(crate) enum ReceiptEvent {
    /// A receipt that was not taken yet.
    Receipt(Receipt),
    /// The receipt subscription has been removed.
    Gone,
    /// The service drains, or its store cannot be read: come again.
    Stopping,
}

/// One stream of the receipts of a receipt subscription, oldest first.
pub(crate) struct ReceiptStream {
    receipts: Arc<Receipts>,
    id: ReceiptSubscriptionId,
    /// The last one that was read from the store.
    after: Option<i64>,
    page: VecDeque<Receipt>,
    news: watch::Receiver<()>,
    stopping: watch::Receiver<bool>,
}

impl Receipts {
    pub(super) fn new(store: Store, mint: Arc<Mint>, clock: Clock) -> Self {
        Self { store, mint, clock, waiters: Waiters::default(), stopping: watch::Sender::new(false) }
    }

    /// Opens a stream of receipts, of those after `after` if that is given.
    pub(crate) async fn open(
        self: &Arc<Self>,
        id: ReceiptSubscriptionId,
        after: Option<i64>,
    ) -> Result<ReceiptStream, HubError> {
        let (news, stopping) = (self.waiters.listen(id), self.stopping.subscribe());
        let stream = ReceiptStream { receipts: self.clone(), id, after, page: VecDeque::new(), news, stopping };
        // Looked up after listening: a removal in between is then seen here, or wakes the stream.
        if self.store.receipt_subscription_exists(id).await? { Ok(stream) } else { Err(HubError::Gone) }
    }

    /// Makes a receipt subscription.
    pub(crate) async fn subscribe(&self) -> Result<ReceiptSubscriptionId, HubError> {
        let now = self.clock.now();
        let id = ReceiptSubscriptionId::from_raw(self.mint.next(now));
        self.store.create_receipt_subscription(id, now).await?;
        Ok(id)
    }

    /// The application server has these receipts: they are not sent again.
    pub(crate) async fn take(&self, id: ReceiptSubscriptionId, up_to: i64) -> Result<(), HubError> {
        self.store.take_receipts(id, up_to, self.clock.now()).await?;
        Ok(())
    }

    /// Removes a receipt subscription, with what was kept for it.
    pub(crate) async fn remove(self: &Arc<Self>, id: ReceiptSubscriptionId) -> Result<(), HubError> {
        let (removal, receipts) = (self.store.delete_receipt_subscription(id), self.clone());
        // The client may go away meanwhile, and the streams still have to end.
        detached(async move {
            let removed = removal.await?;
            receipts.wake(id);
            if removed.existed { Ok(()) } else { Err(HubError::Gone) }
        })
        .await
    }

    /// Something changed for this receipt subscription.
    pub(super) fn wake(&self, id: ReceiptSubscriptionId) {
        self.waiters.wake(id);
    }

    /// Ends every stream, now and from now on: the service drains.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

impl Waiters {
    fn wake(&self, id: ReceiptSubscriptionId) {
        let mut waiters = self.lock();
        if let Some(news) = waiters.get(&id)
            && news.send(()).is_err()
        {
            // No stream listens any more.
            waiters.remove(&id);
        }
    }

    fn listen(&self, id: ReceiptSubscriptionId) -> watch::Receiver<()> {
        self.lock().entry(id).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    fn leave(&self, id: ReceiptSubscriptionId) {
        let mut waiters = self.lock();
        // The one that leaves is still counted.
        if waiters.get(&id).is_some_and(|news| news.receiver_count() <= 1) {
            waiters.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ReceiptSubscriptionId, watch::Sender<()>>> {
        // A panic leaves the table whole, because each change is one call of it. The end of a stream comes here too,
        // and must not panic while a panic of its task unwinds.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReceiptStream {
    /// Waits for the next receipt. Nothing is lost when the wait is given up.
    pub(crate) async fn next(&mut self) -> ReceiptEvent {
        loop {
            match self.try_next().await {
                Ok(Some(receipt)) => return ReceiptEvent::Receipt(receipt),
                Ok(None) => {}
                Err(HubError::Gone) => return ReceiptEvent::Gone,
                Err(_) => return ReceiptEvent::Stopping,
            }
            tokio::select! {
                // The sender stays for as long as this stream listens.
                _ = self.news.changed() => {}
                _ = self.stopping.wait_for(|stop| *stop) => return ReceiptEvent::Stopping,
            }
        }
    }

    /// The next receipt, if there is one now.
    pub(crate) async fn try_next(&mut self) -> Result<Option<Receipt>, HubError> {
        if self.page.is_empty() {
            // What comes while the store is being read is news again.
            self.news.mark_unchanged();
            let page = self.receipts.store.receipts(self.id, self.after, PAGE_MAX).await?;
            if page.receipts.is_empty() && !self.receipts.store.receipt_subscription_exists(self.id).await? {
                return Err(HubError::Gone);
            }
            let are_news = page.receipts.iter().all(|receipt| Some(receipt.seq) > self.after);
            debug_assert!(are_news, "the store was asked for receipts after this one");
            self.after = page.receipts.last().map(|receipt| receipt.seq).or(self.after);
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
