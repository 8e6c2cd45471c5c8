//! Receipts: what application servers are told of their messages (RFC 8030 s5.1, s6.3).
//!
//! A receipt is written by the commit that settles its message and stays in the store until the application server
//! took it; what happens here is only waking the streams that wait for one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use doorbell_protocol::id::ReceiptSubscriptionId;
use doorbell_store::Receipt;
use tokio::sync::watch;

use super::{Hub, HubError};

/// Receipts read from the store at a time.
const PAGE_MAX: u32 = 100;

/// Who waits for receipts.
#[derive(Default)]
pub(super) struct Waiters(Mutex<HashMap<ReceiptSubscriptionId, watch::Sender<()>>>);

/// What a stream of receipts gets.
pub(crate) enum ReceiptEvent {
    /// A receipt that was not taken yet.
    Receipt(Receipt),
    /// The receipt subscription has been removed.
    Gone,
    /// The service drains, or its store cannot be read: come again.
    Stopping,
}

/// One stream of the receipts of a receipt subscription, oldest first.
pub(crate) struct ReceiptLink {
    hub: Arc<Hub>,
    id: ReceiptSubscriptionId,
    /// The last one that was read from the store.
    after: Option<i64>,
    page: VecDeque<Receipt>,
    news: watch::Receiver<()>,
    stopping: watch::Receiver<bool>,
}

impl Waiters {
    /// Something changed for this receipt subscription.
    pub(super) fn wake(&self, id: ReceiptSubscriptionId) {
        let mut waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(news) = waiters.get(&id)
            && news.send(()).is_err()
        {
            // Nobody listens any more.
            waiters.remove(&id);
        }
    }

    fn listen(&self, id: ReceiptSubscriptionId) -> watch::Receiver<()> {
        let mut waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.entry(id).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    fn leave(&self, id: ReceiptSubscriptionId) {
        let mut waiters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The one that leaves is still counted.
        if waiters.get(&id).is_some_and(|news| news.receiver_count() <= 1) {
            waiters.remove(&id);
        }
    }
}

impl Hub {
    /// Opens a stream of receipts, of those after `after` if that is given.
    pub(crate) async fn receipts(
        self: &Arc<Self>,
        id: ReceiptSubscriptionId,
        after: Option<i64>,
    ) -> Result<ReceiptLink, HubError> {
        let (news, stopping) = (self.receipt_waiters.listen(id), self.stopping.subscribe());
        let link = ReceiptLink { hub: self.clone(), id, after, page: VecDeque::new(), news, stopping };
        // Looked up after listening: a removal in between is then seen here, or told to the link.
        if self.store.receipt_subscription_exists(id).await? { Ok(link) } else { Err(HubError::Gone) }
    }

    /// Makes a receipt subscription.
    pub(crate) async fn subscribe_receipts(&self) -> Result<ReceiptSubscriptionId, HubError> {
        let now = self.clock.now();
        let id = ReceiptSubscriptionId::from_raw(self.mint.next(now));
        self.store.create_receipt_subscription(id, now).await?;
        Ok(id)
    }

    /// The application server has these receipts: they are not given out again.
    pub(crate) async fn take_receipts(&self, id: ReceiptSubscriptionId, up_to: i64) -> Result<(), HubError> {
        self.store.take_receipts(id, up_to, self.clock.now()).await?;
        Ok(())
    }

    /// Removes a receipt subscription, with what was kept for it.
    pub(crate) async fn remove_receipts(&self, id: ReceiptSubscriptionId) -> Result<(), HubError> {
        let (removal, waiters) = (self.store.delete_receipt_subscription(id), self.receipt_waiters.clone());
        // A task of its own: whoever asks may go away meanwhile, and the links have to hear of it all the same.
        let removed = tokio::spawn(async move {
            let removed = removal.await?;
            waiters.wake(id);
            if removed.existed { Ok(()) } else { Err(HubError::Gone) }
        });
        removed.await.unwrap_or(Err(HubError::Unavailable))
    }
}

impl ReceiptLink {
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
                // The sender stays for as long as this link listens.
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
            let page = self.hub.store.receipts(self.id, self.after, PAGE_MAX).await?;
            if page.receipts.is_empty() && !self.hub.store.receipt_subscription_exists(self.id).await? {
                return Err(HubError::Gone);
            }
            self.after = page.receipts.last().map(|receipt| receipt.seq).or(self.after);
            self.page = page.receipts.into();
        }
        Ok(self.page.pop_front())
    }
}

impl Drop for ReceiptLink {
    fn drop(&mut self) {
        self.hub.receipt_waiters.leave(self.id);
    }
}
