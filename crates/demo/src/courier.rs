//! Sends letters to devices: the sender's part of Web Push, as any application server would use it.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorbell_protocol::receipt::Outcome;
use doorbell_sender::answer::{Accepted, Answer};
use doorbell_sender::client::{Client, Reply, Wait};
use doorbell_sender::endpoint::Endpoint;
use doorbell_sender::error::{Distrust, SendError};
use doorbell_sender::receipts::book::ReceiptBook;
use doorbell_sender::receipts::follower::{Follower, ReceiptEvent};
use doorbell_sender::receipts::receipt::Receipt;
use doorbell_sender::request::{Message, ReceiptWish};
use doorbell_sender::retry::RetryPolicy;
use doorbell_sender::token::Signer;
use tokio::task::AbortHandle;
use tracing::warn;

use crate::clock;
use crate::error::DemoError;
use crate::events::Event;
use crate::lock::lock;
use crate::notice::Letter;
use crate::pages::Pages;
use crate::steps::{Step, Story};
use crate::store::{Awaited, Device, Mark, Store};

/// Receipts that came before the answer to their message was read: only of messages that are under way.
const EARLY_MAX: usize = 256;

/// Sends pushes, and receives their receipts.
pub(crate) struct Courier {
    client: Client,
    signer: Signer,
    book: ReceiptBook,
    store: Arc<Store>,
    pages: Arc<Pages>,
    /// The receipt subscriptions that a task follows.
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

    /// Follows the receipts of what was sent before the demo was started.
    pub(crate) fn resume(self: &Arc<Self>) -> Result<(), DemoError> {
        for (_, url) in self.store.receipt_subscriptions()? {
            match Endpoint::parse(&url) {
                Ok(endpoint) => {
                    self.book.remember(&endpoint, &url);
                    self.follow(endpoint, url);
                }
                // The next message asks for a new one.
                Err(error) => warn!(%error, "a stored receipt subscription cannot be read"),
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
        let subscription = device.subscription.as_ref().expect("`send` leaves out devices without one");
        let (options, label) = (&letter.options, &device.label);
        // Without the header field a push is of normal urgency, which is the default.
        let (origin, urgency) = (subscription.endpoint.origin(), options.urgency.unwrap_or_default());
        story.step(&self.pages, Step::Sent { device: label, origin: &origin, ttl: options.ttl, urgency });
        let (signer, receipt) = (&self.signer, ReceiptWish::Book(&self.book));
        let push = Message { subscription, payload: &letter.payload, options, signer, receipt };
        let (sent_at, watch) = (clock::now(), clock::Stopwatch::start());
        let waits = |wait: Wait<'_>| {
            let why = wait.because.as_ref().map_or_else(plain, |reply| format!("it answers {}", reply.status));
            story.step(&self.pages, Step::Retry { why: &why, after_secs: wait.delay.as_secs_f32() });
        };
        let result = self.client.send_with_retries(&push, patience(letter), waits).await;
        match result {
            Ok(Reply { answer: Answer::Accepted(accepted), status, .. }) => {
                let took_ms = watch.millis();
                story.step(&self.pages, Step::Accepted { status: status.as_u16(), took_ms });
                self.was_accepted(device, accepted, story, message, sent_at)
            }
            Ok(Reply { answer: Answer::Gone, status, explanation })
                if explanation.proves_gone(&subscription.endpoint, status) =>
            {
                let how = "the push service answers 404 or 410";
                story.step(&self.pages, Step::Unsubscribed { device: label, how });
                self.cannot_reach(device)
            }
            Ok(Reply { status, explanation, .. }) => {
                let why = format!("{} {}", explanation.message, explanation.hint);
                story.step(&self.pages, Step::Refused { status: status.as_u16(), why: &why });
                Ok(())
            }
            Err(error) => {
                story.step(&self.pages, Step::Unreachable { why: &plain(&error) });
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
            self.pages.send(message.sender, &Event::Chat);
        }
        let (Some(location), Some(url)) = (accepted.message, accepted.receipt) else { return Ok(()) };
        let (device, sender, story) = (device.id.clone(), story.viewer, story.id.clone());
        let awaited = Awaited { location: location.clone(), device, sender, story, message, sent_at };
        if let Ok(endpoint) = Endpoint::parse(&url) {
            self.follow(endpoint, url);
        }
        // Under one lock, as in `awaited`: the receipt cannot slip through between the two.
        let mut early = lock(&self.early);
        self.store.await_receipt(&awaited)?;
        let known = early.iter().position(|receipt| receipt.message == location).and_then(|at| early.remove(at));
        drop(early);
        known.map_or(Ok(()), |receipt| self.settle(receipt))
    }

    /// Follows a receipt subscription, unless a task does so already.
    fn follow(self: &Arc<Self>, endpoint: Endpoint, url: String) {
        if !lock(&self.followed).insert(url.clone()) {
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
            if let Err(error) = courier.store.set_receipt_subscription(&origin, None) {
                warn!(%error, "a receipt subscription that is gone could not be removed");
            }
            lock(&courier.followed).remove(&url);
        });
    }

    /// Enters what became of a push.
    fn settle(&self, receipt: Receipt) -> Result<(), DemoError> {
        let Some(push) = self.awaited(&receipt)? else { return Ok(()) };
        let at = receipt.at.unwrap_or_else(clock::now);
        let story = Story { id: push.story, viewer: push.sender };
        let device = self.store.device(&push.device)?;
        let label = device.as_ref().map_or("a device that has signed out", |device| &device.label);
        match receipt.outcome {
            Outcome::Delivered => {
                let took_ms = at.since(push.sent_at).as_millis();
                story.step(&self.pages, Step::Delivered { device: label, took_ms });
                self.store.was_delivered_to(&push.device, at)?;
                let marked = push.message.map(|id| self.store.mark(id, Mark::Delivered, at)).transpose()?.flatten();
                if let Some(message) = marked {
                    self.pages.send(message.sender, &Event::Chat);
                }
                self.pages.broadcast(&Event::People);
            }
            Outcome::Unsubscribed => {
                story.step(&self.pages, Step::Unsubscribed { device: label, how: "receipt 410" });
                device.map_or(Ok(()), |device| self.cannot_reach(&device))?;
            }
            other => story.step(&self.pages, Step::Undelivered { device: label, why: other.as_str() }),
        }
        Ok(())
    }

    /// The push that a receipt is for. A receipt that is quicker than the answer to its push waits for it.
    fn awaited(&self, receipt: &Receipt) -> Result<Option<Awaited>, DemoError> {
        let mut early = lock(&self.early);
        let push = self.store.take_awaited(&receipt.message)?;
        if push.is_none() {
            early.truncate(EARLY_MAX - 1);
            early.push_front(receipt.clone());
        }
        Ok(push)
    }

    fn cannot_reach(&self, device: &Device) -> Result<(), DemoError> {
        self.store.set_subscription(&device.id, None)?;
        self.pages.send(device.person, &Event::Unsubscribed { device: device.id.as_str().to_owned() });
        self.pages.broadcast(&Event::People);
        Ok(())
    }
}

/// A letter is tried for no longer than it is worth anything.
fn patience(letter: &Letter) -> RetryPolicy {
    let worth = Duration::from_secs(u64::from(letter.options.ttl.as_secs()));
    RetryPolicy { total_max: worth.min(RetryPolicy::BRIEF.total_max), ..RetryPolicy::BRIEF }
}

fn plain(error: &SendError) -> String {
    match error {
        SendError::Connect(_) => "no server answers there: is it running?".to_owned(),
        SendError::Untrusted(Distrust::Issuer) => {
            "its certificate is not signed by an authority that is trusted here: name its CA with --ca".to_owned()
        }
        SendError::Untrusted(why) => format!("its certificate is refused: {why}"),
        other => other.to_string(),
    }
}
