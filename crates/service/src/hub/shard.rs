//! A shard: the task that owns some of the mailboxes, passes inputs to them, and performs their effects.

use std::sync::Arc;
use std::time::Duration;

use doorbell_mailbox::{CloseReason, Effect, Entry, Input, Mode, RequestId, Rules, SubscriberId, SubscriberSpec};
use doorbell_protocol::id::{AgentId, MessageId, Mint, ReceiptSubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{Appended, Erased, Page, Pending, Store, StoreError};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::bodies::Memory;
use super::command::{AgentCommand, Command, SettlePermits, SubmitReply};
use super::counters::{Bounded, Counters};
use super::error::HubError;
use super::message::{Message, Submission};
use super::outbox::{Delivery, Outbox, SubscriberEvent, Waiting};
use super::receipts::Receipts;
use super::requests::{Requests, Settling, Submitting};
use super::resident::{OpenSubscriber, Resident, Residents, Transient};
use crate::clock::Clock;

/// Messages in one page of a mailbox that is being loaded.
const PAGE_MAX: u32 = 1000;
/// Agents that are noted as in use at a time: the notes must leave room for messages.
const TOUCHED_MAX: usize = 4096;

/// Subscribers of one agent: every event visits each of them. One HTTP/2 connection holds as many.
const SUBSCRIBERS_MAX: usize = 100;

/// Watchers of one agent: the machine's, and those of connections that it has lost and that are still open.
const WATCHERS_MAX: usize = 4;

/// A store that recovers by itself is read again after this time. Its agents stay connected.
const BETWEEN_LOADS: Duration = Duration::from_secs(1);

/// A result of the store.
enum Written {
    Appended {
        agent: AgentId,
        request: RequestId,
        outcome: Result<Appended, StoreError>,
    },
    Erased {
        agent: AgentId,
        id: MessageId,
        request: Option<RequestId>,
        ended: Outcome,
        /// When the erase was asked for: its commit may be deferred.
        at: UnixMs,
        outcome: Result<Erased, StoreError>,
    },
    /// The receipt of a message that was never in the store.
    Receipt {
        receipts: ReceiptSubscriptionId,
        outcome: Result<(), StoreError>,
    },
}

/// A page of an agent's messages.
struct Loaded {
    agent: AgentId,
    after: Option<MessageId>,
    page: Result<Page, StoreError>,
}

/// What all shards use.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) mint: Arc<Mint>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) counters: Arc<Counters>,
    pub(super) memory: Memory,
}

pub(super) struct Shard {
    inbox: mpsc::UnboundedReceiver<Command>,
    store: Store,
    clock: Clock,
    mint: Arc<Mint>,
    receipts: Arc<Receipts>,
    counters: Arc<Counters>,
    memory: Memory,
    residents: Residents,
    requests: Requests,
    /// In the order of the requests, which is the order of the commits: a mailbox must learn of a replaced message
    /// before it learns of its replacement.
    writes: FuturesOrdered<BoxFuture<'static, Written>>,
    reads: FuturesUnordered<BoxFuture<'static, Loaded>>,
    /// Empty between events; kept for its capacity.
    effects: Vec<Effect>,
    stopping: bool,
}

impl Shard {
    pub(super) fn new(
        inbox: mpsc::UnboundedReceiver<Command>,
        Shared { store, clock, mint, receipts, counters, memory }: Shared,
        rules: Rules,
    ) -> Self {
        Self {
            inbox,
            store,
            clock,
            mint,
            receipts,
            counters,
            memory,
            residents: Residents::new(rules),
            requests: Requests::default(),
            writes: FuturesOrdered::new(),
            reads: FuturesUnordered::new(),
            effects: Vec::new(),
            stopping: false,
        }
    }

    /// Runs until the hub is gone and all requests are answered.
    pub(super) async fn run(mut self) {
        let mut open = true;
        while open || !self.writes.is_empty() {
            let clock = self.clock.clone();
            let alarm = self.residents.next_alarm();
            tokio::select! {
                command = self.inbox.recv(), if open => match command {
                    Some(command) => self.on_command(command),
                    None => open = false,
                },
                Some(written) = self.writes.next() => self.on_written(written),
                Some(loaded) = self.reads.next() => self.on_loaded(loaded),
                // Without an alarm `select!` creates this future and does not poll it.
                () = clock.sleep_until(alarm.unwrap_or_default()), if alarm.is_some() => self.on_alarm(),
            }
        }
        debug_assert!(self.requests.is_empty(), "every request waits for a write, and no write is left");
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Agent(agent, command) => self.on_agent_command(agent, command),
            Command::TouchConnected { before, done } => {
                let served = self.clock.served();
                for (agent, resident) in self.residents.connected_since(before, TOUCHED_MAX) {
                    resident.touched = served;
                    drop(self.store.touch(agent, served));
                }
                // The housekeeper may be gone.
                let _ = done.send(());
            }
            Command::Rules(rules) => self.residents.set_rules(rules),
            Command::Stop => {
                self.stopping = true;
                let outboxes = self.residents.all_outboxes();
                outboxes.for_each(|outbox| outbox.put(Delivery::Event(SubscriberEvent::Ended)));
            }
        }
    }

    fn on_agent_command(&mut self, agent: AgentId, command: AgentCommand) {
        match command {
            AgentCommand::Submit { submission, reply, permit } => self.submit(agent, submission, reply, permit),
            AgentCommand::Settle { id, outcome, reply, permits } => {
                let request = self.requests.issue_settle(Settling { reply, permits });
                self.settle(agent, Some(request), id, outcome);
            }
            AgentCommand::NotPassedOn { id, permits } => self.not_passed_on(agent, id, permits),
            AgentCommand::Undeliverable { id } => self.settle(agent, None, id, Outcome::Dropped),
            AgentCommand::Connect { subscriber, door, spec, exclusive, outbox } => {
                let (watches, drains) = (spec.mode == Mode::Watch, spec.mode == Mode::Drain);
                self.connect(agent, spec, OpenSubscriber { id: subscriber, outbox, exclusive, watches, drains, door });
            }
            AgentCommand::Disconnect { subscriber } => {
                // A superseded or failed subscriber is removed already, and perhaps its agent too.
                if let Some(resident) = self.residents.get_mut(agent) {
                    let place = resident.subscribers.iter().position(|open| open.id == subscriber);
                    if let Some(ended) = place.map(|place| resident.subscribers.remove(place)) {
                        self.counters.counts.connected(ended.door).leave();
                    }
                    self.feed(agent, Input::Disconnect { subscriber });
                }
            }
            AgentCommand::Declined { subscriber, id } => self.feed(agent, Input::Declined { subscriber, id }),
            AgentCommand::Gone { subscriber, id } => self.feed(agent, Input::Gone { subscriber, id }),
            AgentCommand::Arrived { subscriber, id } => self.feed(agent, Input::Arrived { subscriber, id }),
            AgentCommand::SetFloor { subscriber, floor } => {
                self.feed(agent, Input::SetFloor { subscriber, floor });
            }
            AgentCommand::Unsubscribed { subscription } => self.feed(agent, Input::Unsubscribed { subscription }),
            AgentCommand::Removed => self.feed(agent, Input::AgentRemoved),
        }
    }

    fn settle(&mut self, agent: AgentId, request: Option<RequestId>, id: MessageId, outcome: Outcome) {
        if let Some(transient) = self.residents.get_mut(agent).and_then(|resident| resident.transient(id)) {
            transient.outcome = outcome;
        }
        self.feed(agent, Input::Ack { request, id, outcome });
    }

    fn not_passed_on(&mut self, agent: AgentId, id: MessageId, permits: SettlePermits) {
        let request = self.requests.issue_settle(Settling { reply: None, permits });
        if let Some(transient) = self.residents.get_mut(agent).and_then(|resident| resident.transient(id)) {
            transient.outcome = Outcome::Refused;
        }
        self.feed(agent, Input::NotPassedOn { request: Some(request), id });
    }

    fn connect(&mut self, agent: AgentId, spec: SubscriberSpec, open: OpenSubscriber) {
        if self.stopping {
            open.outbox.put(Delivery::Event(SubscriberEvent::Ended));
        }
        if open.exclusive {
            self.end_subscriber(agent, |older| older.exclusive);
        }
        self.end_oldest_subscriber(agent, open.watches);
        let (served, subscriber) = (self.clock.served(), open.id);
        self.counters.counts.connected(open.door).enter();
        let resident = self.residents.enter(agent);
        resident.add(open);
        resident.touched = served;
        debug_assert!(resident.subscribers.len() <= SUBSCRIBERS_MAX + WATCHERS_MAX, "the oldest subscriber has ended");
        drop(self.store.touch(agent, served));
        self.feed(agent, Input::Connect { subscriber, spec });
    }

    /// Makes room for one more subscriber. Subscribers of an agent that lost its network stay open for a while, so the
    /// oldest one ends. Watchers are counted on their own: they end no subscriber that carries messages.
    fn end_oldest_subscriber(&mut self, agent: AgentId, watches: bool) {
        let max = if watches { WATCHERS_MAX } else { SUBSCRIBERS_MAX };
        let is_same_kind = |open: &&OpenSubscriber| open.watches == watches;
        let count = |resident: &mut Resident| resident.subscribers.iter().filter(is_same_kind).count();
        if self.residents.get_mut(agent).is_some_and(|resident| count(resident) >= max) {
            self.end_subscriber(agent, |older| older.watches == watches);
        }
    }

    /// Ends the oldest of the agent's subscribers that `which` selects, if there is one. Its messages go to another.
    fn end_subscriber(&mut self, agent: AgentId, which: impl Fn(&OpenSubscriber) -> bool) {
        let Some(resident) = self.residents.get_mut(agent) else { return };
        let Some(place) = resident.subscribers.iter().position(which) else { return };
        let ended = resident.subscribers.remove(place);
        self.counters.counts.connected(ended.door).leave();
        ended.outbox.end(SubscriberEvent::Superseded);
        self.feed(agent, Input::Disconnect { subscriber: ended.id });
    }

    fn submit(&mut self, agent: AgentId, mut submission: Submission, reply: SubmitReply, permit: OwnedSemaphorePermit) {
        debug_assert_eq!(submission.agent, agent, "a submission goes to the mailbox of its agent");
        let taken_at = self.clock.now();
        let id = MessageId::from_raw(self.mint.next(taken_at));
        let entry = submission.entry(id, taken_at);
        let transient = submission.is_transient();
        if transient {
            let own = self.residents.get_mut(agent).map_or(0, |resident| resident.transient_bytes());
            let Some(body) = self.memory.transients.admit(std::mem::take(&mut submission.body), own) else {
                // As if the agent's subscriber had no room: the message is accepted and dropped.
                self.counters.counts.accepted.add();
                self.counters.counts.transient_ended(Outcome::Dropped);
                self.add_receipt(agent, id, submission.receipt, Outcome::Dropped);
                // As in `Requests::accept`.
                let _ = reply.send(Ok(id));
                return drop(permit);
            };
            submission.body = body;
            let message = Arc::new(submission.message(id, taken_at));
            let transient = Transient { message, receipt: submission.receipt, outcome: Outcome::Dropped };
            self.residents.enter(agent).transients.push(transient);
        }
        let request = self.requests.issue_submit(Submitting { id, submission, taken_at, refused: None, reply, permit });
        self.feed(agent, Input::Submit { request, entry, transient });
    }

    fn on_written(&mut self, written: Written) {
        match written {
            Written::Appended { agent, request, outcome: Ok(appended) } => {
                appended.receipts.iter().for_each(|id| self.receipts.wake(*id));
                let submitting = self.requests.submitting(request);
                let connected = self.residents.get_mut(agent).is_some_and(|resident| resident.is_connected());
                let copies = &self.memory.copies;
                let message = || {
                    let message = submitting.submission.message(submitting.id, submitting.taken_at);
                    Arc::new(Message { body: copies.hold(message.body), ..message })
                };
                // Without it the subscriber reads the message when it can send it.
                let fresh = (connected && !copies.is_scarce()).then(message);
                self.feed_with(agent, Input::Stored { request, replaced: appended.replaced }, fresh.as_ref());
            }
            Written::Appended { agent, request, outcome: Err(error) } => {
                self.requests.submitting(request).refused = Some(self.counters.refused(Bounded::Bytes, error));
                self.feed(agent, Input::NotStored { request });
            }
            Written::Receipt { receipts, outcome } => {
                // A receipt subscription that is gone or full gets no more receipts.
                if outcome.is_ok() {
                    self.receipts.wake(receipts);
                }
            }
            Written::Erased { agent, id, request, ended, at, outcome } => {
                if ended == Outcome::Delivered && outcome.as_ref().is_ok_and(|erased| erased.existed) {
                    self.note_delivery(id, at);
                }
                if let Some(receipts) = outcome.ok().and_then(|erased| erased.receipt) {
                    self.receipts.wake(receipts);
                }
                if let Some(request) = request {
                    let outcome = outcome.map(|erased| erased.existed).map_err(HubError::from);
                    self.requests.answer_settle(request, outcome);
                }
                self.feed(agent, Input::Erased { id });
            }
        }
    }

    fn on_loaded(&mut self, Loaded { agent, after, page }: Loaded) {
        // In an outage the reads that wait fill their queue.
        let is_away = matches!(page, Err(StoreError::Unavailable | StoreError::Overloaded));
        if is_away && self.store.recovers(agent) {
            self.fail_subscribers(agent, HubError::Unavailable, |open| open.drains);
            return self.load_later(agent, after);
        }
        let page = page.unwrap_or_else(|error| {
            // The mailbox still waits for an answer. Without subscribers, an empty page does not count as an empty
            // mailbox.
            self.fail_subscribers(agent, error.into(), |_| true);
            Page::default()
        });
        for id in page.damaged {
            self.counters.damaged_message();
            self.settle(agent, None, id, Outcome::Dropped);
        }
        let entry =
            |p: Pending| Entry { id: p.id, subscription: p.subscription, urgency: p.urgency, expires_at: p.expires_at };
        self.feed(agent, Input::Loaded { entries: page.entries.into_iter().map(entry).collect(), more: page.more });
    }

    /// Reads a page again a moment later.
    fn load_later(&mut self, agent: AgentId, after: Option<MessageId>) {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let at = clock.now().plus(BETWEEN_LOADS);
        self.reads.push(Box::pin(async move {
            clock.sleep_until(at).await;
            Loaded { agent, after, page: store.pending(agent, after, PAGE_MAX, clock.now()).await }
        }));
    }

    /// The store cannot be read. That must not look like an empty mailbox, so the streams end and the agent reconnects.
    fn fail_subscribers(&mut self, agent: AgentId, error: HubError, which: impl Fn(&OpenSubscriber) -> bool) {
        // A mailbox that waits for a page is in memory.
        let subscribers = &mut self.residents.entered(agent).subscribers;
        let failed: Vec<_> = subscribers.extract_if(.., |open| which(open)).collect();
        for open in failed {
            self.counters.counts.connected(open.door).leave();
            open.outbox.put(Delivery::Event(SubscriberEvent::Failed(error)));
            self.feed(agent, Input::Disconnect { subscriber: open.id });
        }
    }

    fn on_alarm(&mut self) {
        let now = self.clock.now();
        while let Some(agent) = self.residents.due(now) {
            self.feed(agent, Input::Tick);
            if self.residents.due(now) == Some(agent) {
                // A mailbox whose next alarm is in the past gets its turn after the others.
                break;
            }
        }
    }

    fn feed(&mut self, agent: AgentId, input: Input) {
        self.feed_with(agent, input, None);
    }

    /// Passes an input to the agent's mailbox and performs the effects. `fresh` is the message of the input, if it is
    /// in memory: its subscriber gets it without a read of the store.
    fn feed_with(&mut self, agent: AgentId, input: Input, fresh: Option<&Arc<Message>>) {
        let mut effects = std::mem::take(&mut self.effects);
        debug_assert!(effects.is_empty(), "all effects of an event are performed");
        self.residents.enter(agent).mailbox.handle(input, self.clock.now(), &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(agent, effect, fresh);
        }
        self.effects = effects;
        self.residents.leave(agent);
    }

    fn carry_out(&mut self, agent: AgentId, effect: Effect, fresh: Option<&Arc<Message>>) {
        match effect {
            Effect::Persist { request } => self.persist(agent, request),
            Effect::Accept { request } => {
                self.counters.counts.accepted.add();
                self.requests.accept(request);
            }
            Effect::Reject { request } => self.requests.reject(request),
            Effect::Load { after } => {
                let page = self.store.pending(agent, after, PAGE_MAX, self.clock.now());
                self.reads.push(Box::pin(async move { Loaded { agent, after, page: page.await } }));
            }
            Effect::Send { subscriber, id, second } => self.send(agent, subscriber, id, second, fresh),
            Effect::Drained { subscriber } => self.put(agent, subscriber, Delivery::Event(SubscriberEvent::Drained)),
            Effect::Waiting { subscriber, messages, urgency, since, expires } => {
                let waiting = Waiting { messages, urgency, since, expires };
                self.notify(agent, subscriber, SubscriberEvent::Waiting(waiting));
            }
            Effect::Quiet { subscriber } => self.notify(agent, subscriber, SubscriberEvent::Quiet),
            Effect::Close { subscriber, why: CloseReason::SubscriptionGone | CloseReason::AgentGone } => {
                self.put(agent, subscriber, Delivery::Event(SubscriberEvent::Gone));
            }
            Effect::Erase { id, request, outcome } => self.erase(agent, id, request, outcome),
            Effect::Acked { request } => self.requests.answer_settle(request, Ok(true)),
            Effect::Release { id } => self.release(agent, id),
        }
    }

    fn erase(&mut self, agent: AgentId, id: MessageId, request: Option<RequestId>, outcome: Outcome) {
        let now = self.clock.now();
        let erased = if request.is_some_and(|request| self.requests.is_awaited(request)) {
            self.store.erase(id, agent, outcome, now)
        } else {
            self.store.erase_deferred(id, agent, outcome, now)
        };
        let written =
            async move { Written::Erased { agent, id, request, ended: outcome, at: now, outcome: erased.await } };
        self.writes.push_back(Box::pin(written));
    }

    /// Releases a message. If it is not in the store, its receipt is due now.
    fn release(&mut self, agent: AgentId, id: MessageId) {
        let resident = self.residents.entered(agent);
        resident.subscribers.iter().for_each(|open| open.outbox.recall(id));
        // Nearly every message is in the store: erasing it there writes its receipt.
        let Some(place) = resident.transients.iter().position(|transient| transient.message.id == id) else { return };
        let Transient { receipt, outcome, .. } = resident.transients.swap_remove(place);
        self.counters.counts.transient_ended(outcome);
        if outcome == Outcome::Delivered {
            self.note_delivery(id, self.clock.now());
        }
        self.add_receipt(agent, id, receipt, outcome);
    }

    /// Counts how long the acknowledgement of a message took, by the time of acceptance in its id.
    fn note_delivery(&self, id: MessageId, at: UnixMs) {
        self.counters.counts.acknowledged.add(at.since(id.minted_at()));
    }

    /// Writes the receipt of a message that is not in the store, if its sender wants one.
    fn add_receipt(&mut self, agent: AgentId, id: MessageId, receipt: Option<ReceiptSubscriptionId>, outcome: Outcome) {
        if let Some(receipts) = receipt {
            let added = self.store.add_receipt(receipts, id, agent, outcome, self.clock.now());
            self.writes.push_back(Box::pin(async move { Written::Receipt { receipts, outcome: added.await } }));
        }
    }

    fn persist(&mut self, agent: AgentId, request: RequestId) {
        let submitting = self.requests.submitting(request);
        let message = submitting.submission.to_store(submitting.id, submitting.taken_at, self.clock.served());
        let outcome = self.store.append(message);
        let written = async move { Written::Appended { agent, request, outcome: outcome.await } };
        self.writes.push_back(Box::pin(written));
    }

    fn send(
        &mut self,
        agent: AgentId,
        subscriber: SubscriberId,
        id: MessageId,
        is_second: bool,
        fresh: Option<&Arc<Message>>,
    ) {
        self.counters.counts.offered.add();
        let fresh = fresh.filter(|message| message.id == id && !is_second).cloned();
        let in_memory =
            fresh.or_else(|| self.residents.entered(agent).transient(id).map(|transient| transient.message.clone()));
        self.put(agent, subscriber, in_memory.map_or(Delivery::Stored { id, is_second }, Delivery::Message));
    }

    /// Notifies a watcher.
    fn notify(&mut self, agent: AgentId, watcher: SubscriberId, event: SubscriberEvent) {
        // While an agent's subscribers fail, its mailbox still knows the remaining ones.
        if let Some(outbox) = self.residents.entered(agent).outbox(watcher) {
            outbox.put_latest(event);
        }
    }

    fn put(&mut self, agent: AgentId, subscriber: SubscriberId, delivery: Delivery) {
        let outbox: Option<&Arc<Outbox>> = self.residents.entered(agent).outbox(subscriber);
        // While an agent's subscribers fail, its mailbox still knows the remaining ones: messages for those go to the
        // next stream.
        if let Some(outbox) = outbox {
            outbox.put(delivery);
        }
    }
}
