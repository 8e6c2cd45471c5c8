//! Brings letters to devices: the sender's part of Web Push, as any application server would use it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use doorbell_protocol::receipt::Outcome;
use doorbell_sender::answer::{Accepted, Answer};
use doorbell_sender::client::{Client, Reply, Wait};
use doorbell_sender::endpoint::Endpoint;
use doorbell_sender::error::SendError;
use doorbell_sender::receipts::book::ReceiptBook;
use doorbell_sender::receipts::follower::{Follower, ReceiptEvent};
use doorbell_sender::receipts::receipt::Receipt;
use doorbell_sender::request::{Message, ReceiptWish};
use doorbell_sender::retry::RetryPolicy;
use doorbell_sender::token::Signer;
use serde_json::json;
use tokio::task::AbortHandle;
use tracing::warn;

use crate::clock;
use crate::error::DemoError;
use crate::notice::Letter;
use crate::pages::Pages;
use crate::steps::Story;
use crate::store::{Awaited, Device, Mark, Store};

/// Receipts that came before the answer to their message was read: only of messages that are under way.
const EARLY_MAX: usize = 256;

/// Sends, and hears what became of it.
pub(crate) struct Courier {
    client: Client,
    signer: Signer,
    book: ReceiptBook,
    store: Arc<Store>,
    pages: Arc<Pages>,
    /// The receipt subscriptions that somebody listens to.
    followed: Mutex<HashSet<String>>,
    early: Mutex<VecDeque<Receipt>>,
}

impl Courier {
    pub(crate) fn new(client: Client, signer: Signer, store: Arc<Store>, pages: Arc<Pages>) -> Self {
        let (book, followed, early) = (ReceiptBook::new(), Mutex::default(), Mutex::default());
        Self { client, signer, book, store, pages, followed, early }
    }

    /// The `applicationServerKey` that pages subscribe with.
    pub(crate) fn public_key(&self) -> String {
        self.signer.public_key().to_base64url()
    }

    /// Listens again for the receipts of what was sent before the demo was started.
    pub(crate) fn resume(self: &Arc<Self>) -> Result<(), DemoError> {
        for (_, url) in self.store.receipt_subscriptions()? {
            if let Ok(endpoint) = Endpoint::parse(&url) {
                self.book.remember(&endpoint, &url);
                self.follow(endpoint, url);
            }
        }
        Ok(())
    }

    /// Sends `letter` to each of `devices` that takes pushes, without waiting for the outcome: how each attempt can be
    /// given up. `message` is the chat message that it carries.
    pub(crate) fn send(
        self: &Arc<Self>,
        devices: Vec<Device>,
        letter: Letter,
        story: &Story,
        message: Option<i64>,
    ) -> Vec<AbortHandle> {
        let letter = Arc::new(letter);
        let reachable = devices.into_iter().filter(|device| device.subscription.is_some());
        let sending = reachable.map(|device| {
            let (courier, letter, story) = (self.clone(), letter.clone(), story.clone());
            let attempt = async move {
                if let Err(error) = courier.bring(&device, &letter, &story, message).await {
                    warn!(%error, "a push could not be accounted for");
                }
            };
            tokio::spawn(attempt).abort_handle()
        });
        sending.collect()
    }

    async fn bring(
        self: &Arc<Self>,
        device: &Device,
        letter: &Letter,
        story: &Story,
        message: Option<i64>,
    ) -> Result<(), DemoError> {
        let Some(subscription) = &device.subscription else { return Ok(()) };
        let (options, label) = (&letter.options, &device.label);
        let urgency = options.urgency.unwrap_or_default();
        let what = format!("encrypted for {label}, sent to {}", subscription.endpoint.origin());
        story.step(&self.pages, &what, &format!("TTL {} s, urgency {urgency}", options.ttl));
        let (signer, receipt) = (&self.signer, ReceiptWish::Book(&self.book));
        let push = Message { subscription, payload: &letter.payload, options, signer, receipt };
        let sent_at = clock::now();
        let waits = |wait: Wait<'_>| {
            let why = wait.because.as_ref().map_or_else(plain, |reply| format!("it answers {}", reply.status));
            let again = format!("{why}; the next try is in {} s", wait.delay.as_secs_f32().ceil());
            story.step(&self.pages, "the push service does not take it yet", &again);
        };
        let result = self.client.send_with_retries(&push, patience(letter), waits).await;
        match result {
            Ok(Reply { answer: Answer::Accepted(accepted), status, .. }) => {
                let took = clock::now().since(sent_at).as_millis();
                story.step(&self.pages, "accepted by the push service", &format!("{status} after {took} ms"));
                self.was_accepted(device, accepted, story, message, sent_at)
            }
            Ok(Reply { answer: Answer::Gone, .. }) => {
                story.step(&self.pages, &format!("{label} has unsubscribed"), "the push service answers 404 or 410");
                self.cannot_reach(device)
            }
            Ok(Reply { status, explanation, .. }) => {
                story.step(
                    &self.pages,
                    "refused by the push service",
                    &format!("{status}: {} {}", explanation.message, explanation.hint),
                );
                Ok(())
            }
            Err(error) => {
                story.step(&self.pages, "the push service cannot be reached", &plain(&error));
                Ok(())
            }
        }
    }

    fn was_accepted(
        self: &Arc<Self>,
        device: &Device,
        accepted: Accepted,
        story: &Story,
        message: Option<i64>,
        sent_at: doorbell_protocol::time::UnixMs,
    ) -> Result<(), DemoError> {
        if let Some(message) =
            message.map(|id| self.store.mark(id, Mark::Accepted, clock::now())).transpose()?.flatten()
        {
            self.pages.tell(message.sender, &json!({ "type": "chat" }));
        }
        let (Some(location), Some(url)) = (accepted.message, accepted.receipt) else { return Ok(()) };
        let (device, sender, story) = (device.id.clone(), story.teller, story.id.clone());
        let awaited = Awaited { location: location.clone(), device, sender, story, message, sent_at };
        if let Ok(endpoint) = Endpoint::parse(&url) {
            self.follow(endpoint, url);
        }
        // Under one lock, as in `awaited`: the receipt cannot slip through between the two.
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.await_receipt(&awaited)?;
        let known = early.iter().position(|receipt| receipt.message == location).and_then(|at| early.remove(at));
        drop(early);
        known.map_or(Ok(()), |receipt| self.settle(receipt))
    }

    /// Listens to a receipt subscription, unless somebody does.
    fn follow(self: &Arc<Self>, endpoint: Endpoint, url: String) {
        if !self.followed.lock().unwrap_or_else(PoisonError::into_inner).insert(url.clone()) {
            return;
        }
        let courier = self.clone();
        tokio::spawn(async move {
            let origin = endpoint.origin();
            if let Err(error) = courier.store.set_receipt_subscription(&origin, Some(&url)) {
                warn!(%error, "a receipt subscription could not be kept");
            }
            let mut follower = Follower::new(&courier.client, endpoint.clone());
            loop {
                match follower.next().await {
                    Ok(ReceiptEvent::Receipt(receipt)) => {
                        if let Err(error) = courier.settle(receipt) {
                            warn!(%error, "a receipt could not be entered");
                        }
                    }
                    Ok(ReceiptEvent::Nothing) => {}
                    Ok(ReceiptEvent::Gone) => break,
                    Err(error) => {
                        warn!(%error, "no more receipts from {origin}");
                        break;
                    }
                }
            }
            // The next message asks for a new one, which is then followed.
            courier.book.forget(&endpoint, &url);
            courier.store.set_receipt_subscription(&origin, None).ok();
            courier.followed.lock().unwrap_or_else(PoisonError::into_inner).remove(&url);
        });
    }

    /// Enters what became of a push.
    fn settle(&self, receipt: Receipt) -> Result<(), DemoError> {
        let Some(push) = self.awaited(&receipt)? else { return Ok(()) };
        let at = receipt.at.unwrap_or_else(clock::now);
        let story = Story { id: push.story, teller: push.sender };
        let device = self.store.device(&push.device)?;
        let label = device.as_ref().map_or("a device that has signed out", |device| &device.label);
        match receipt.outcome {
            Outcome::Delivered => {
                let took = at.since(push.sent_at).as_millis();
                story.step(&self.pages, &format!("{label} has it"), &format!("receipt 204, {took} ms after sending"));
                self.store.was_delivered_to(&push.device, at)?;
                let marked = push.message.map(|id| self.store.mark(id, Mark::Delivered, at)).transpose()?.flatten();
                if let Some(message) = marked {
                    self.pages.tell(message.sender, &json!({ "type": "chat" }));
                }
                self.pages.tell_all(&json!({ "type": "people" }));
            }
            Outcome::Unsubscribed => {
                story.step(&self.pages, &format!("{label} has unsubscribed"), "receipt 410");
                device.map_or(Ok(()), |device| self.cannot_reach(&device))?;
            }
            other => story.step(&self.pages, &format!("not delivered to {label}"), other.as_str()),
        }
        Ok(())
    }

    /// The push that a receipt is for. A receipt that is quicker than the answer to its push waits for it.
    fn awaited(&self, receipt: &Receipt) -> Result<Option<Awaited>, DemoError> {
        let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        let push = self.store.take_awaited(&receipt.message)?;
        if push.is_none() {
            early.truncate(EARLY_MAX - 1);
            early.push_front(receipt.clone());
        }
        Ok(push)
    }

    fn cannot_reach(&self, device: &Device) -> Result<(), DemoError> {
        self.store.set_subscription(&device.id, None)?;
        self.pages.tell(device.person, &json!({ "type": "unsubscribed", "device": device.id.as_str() }));
        self.pages.tell_all(&json!({ "type": "people" }));
        Ok(())
    }
}

/// There is no sense in trying for longer than the letter is worth anything.
fn patience(letter: &Letter) -> RetryPolicy {
    let worth = Duration::from_secs(u64::from(letter.options.ttl.as_secs()));
    RetryPolicy { total_max: worth.min(RetryPolicy::BRIEF.total_max), ..RetryPolicy::BRIEF }
}

fn plain(error: &SendError) -> String {
    match error {
        SendError::Connect(_) => "nobody answers there: is it running?".to_owned(),
        SendError::Untrusted(_) => "its certificate is not trusted: name its CA with --ca".to_owned(),
        other => other.to_string(),
    }
}
