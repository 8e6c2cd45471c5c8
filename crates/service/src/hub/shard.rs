//! A shard: the task that owns some of the mailboxes, feeds them, and carries out what they say.

use std::sync::Arc;

use doorbell_mailbox::{CloseReason, Effect, Entry, Input, LinkId, LinkSpec, Rules, Ticket};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, Mint, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{Appended, Erased, Page, Store, StoreError};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::HubError;
use super::link::{Delivery, LinkEvent, Outbox};
use super::message::{Message, Submission};
use super::receipts::Waiters;
use super::resident::{OpenLink, Residents, Transient};
use super::tickets::{Places, Submitting, Tickets, Waiting};
use crate::clock::Clock;

/// Messages in one page of a mailbox that is being loaded.
const PAGE_MAX: u32 = 1000;
/// Agents that the store is told of at a time: they must not crowd out messages.
const TOUCHED_MAX: usize = 4096;

/// Links of one agent: every event looks at each of them. As many as one HTTP/2 connection holds.
const LINKS_MAX: usize = 100;

/// What the hub and its links tell a shard.
pub(super) enum Command {
    Submit {
        submission: Submission,
        reply: oneshot::Sender<Result<MessageId, HubError>>,
        permit: OwnedSemaphorePermit,
    },
    Settle {
        agent: AgentId,
        id: MessageId,
        outcome: Outcome,
        /// Whoever wants to know; an acknowledgement on a socket is not answered.
        reply: Option<oneshot::Sender<Result<bool, HubError>>>,
        places: Places,
    },
    Connect {
        agent: AgentId,
        link: LinkId,
        spec: LinkSpec,
        /// It takes the place of the agent's other link of this kind.
        only: bool,
        outbox: Arc<Outbox>,
    },
    Disconnect {
        agent: AgentId,
        link: LinkId,
    },
    Declined {
        agent: AgentId,
        link: LinkId,
        id: MessageId,
    },
    Gone {
        agent: AgentId,
        link: LinkId,
        id: MessageId,
    },
    Arrived {
        agent: AgentId,
        link: LinkId,
        id: MessageId,
    },
    SetFloor {
        agent: AgentId,
        link: LinkId,
        floor: Option<Urgency>,
    },
    Unsubscribed {
        agent: AgentId,
        subscription: SubscriptionId,
    },
    AgentRemoved {
        agent: AgentId,
    },
    /// Tell the store that agents which are connected are in use, where it has not heard so since `before`.
    TouchConnected {
        before: UnixMs,
        done: oneshot::Sender<()>,
    },
    Stop,
}

/// What the store has done.
enum Written {
    Appended {
        agent: AgentId,
        ticket: Ticket,
        outcome: Result<Appended, StoreError>,
    },
    Erased {
        agent: AgentId,
        id: MessageId,
        ticket: Option<Ticket>,
        outcome: Result<Erased, StoreError>,
    },
    /// The receipt of a message that the store never had.
    Told {
        receipts: ReceiptSubscriptionId,
        outcome: Result<(), StoreError>,
    },
}

/// A page of an agent's messages.
struct Loaded {
    agent: AgentId,
    page: Result<Page, StoreError>,
}

pub(super) struct Shard {
    inbox: mpsc::UnboundedReceiver<Command>,
    store: Store,
    clock: Clock,
    mint: Arc<Mint>,
    receipt_waiters: Arc<Waiters>,
    residents: Residents,
    tickets: Tickets,
    /// In the order in which they were asked for, which is the order of their commits: a mailbox must not hear of a
    /// message that replaced another before it has heard of that one.
    writes: FuturesOrdered<BoxFuture<'static, Written>>,
    reads: FuturesUnordered<BoxFuture<'static, Loaded>>,
    effects: Vec<Effect>,
    /// The message that was stored this moment: whoever is connected gets it without a look into the store.
    fresh: Option<Arc<Message>>,
    /// What becomes of the message that is being settled this moment.
    settling: Outcome,
    stopping: bool,
}

impl Shard {
    pub(super) fn new(
        inbox: mpsc::UnboundedReceiver<Command>,
        store: Store,
        clock: Clock,
        mint: Arc<Mint>,
        receipt_waiters: Arc<Waiters>,
        rules: Rules,
    ) -> Self {
        Self {
            inbox,
            store,
            clock,
            mint,
            receipt_waiters,
            residents: Residents::new(rules),
            tickets: Tickets::default(),
            writes: FuturesOrdered::new(),
            reads: FuturesUnordered::new(),
            effects: Vec::new(),
            fresh: None,
            settling: Outcome::Delivered,
            stopping: false,
        }
    }

    /// Works until the hub is gone and everything under way is answered.
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
                () = clock.sleep_until(alarm.unwrap_or_default()), if alarm.is_some() => self.on_alarm(),
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Submit { submission, reply, permit } => self.submit(submission, reply, permit),
            Command::Settle { agent, id, outcome, reply, places } => {
                if let Some(transient) = self.residents.get_mut(agent).and_then(|resident| resident.transient(id)) {
                    transient.outcome = outcome;
                }
                let ticket = Some(self.tickets.issue(Waiting::Settle { reply, places }));
                self.settling = outcome;
                self.feed(agent, Input::Ack { ticket, id });
                self.settling = Outcome::Delivered;
            }
            Command::Connect { agent, link, spec, only, outbox } => {
                if self.stopping {
                    outbox.put(Delivery::Event(LinkEvent::Ended));
                }
                if only {
                    self.end_link(agent, |open| open.only);
                }
                self.end_oldest_link(agent);
                let now = self.clock.now();
                let resident = self.residents.enter(agent);
                // Most agents have one, for hours.
                resident.links.reserve_exact(1);
                resident.links.push(OpenLink { id: link, outbox, only });
                resident.touched = now;
                drop(self.store.touch(agent, now));
                self.feed(agent, Input::Connect { link, spec });
            }
            Command::Disconnect { agent, link } => {
                if let Some(resident) = self.residents.get_mut(agent) {
                    resident.links.retain(|open| open.id != link);
                    self.feed(agent, Input::Disconnect { link });
                }
            }
            Command::Declined { agent, link, id } => self.feed(agent, Input::Declined { link, id }),
            Command::Gone { agent, link, id } => self.feed(agent, Input::Gone { link, id }),
            Command::Arrived { agent, link, id } => self.feed(agent, Input::Arrived { link, id }),
            Command::SetFloor { agent, link, floor } => self.feed(agent, Input::SetFloor { link, floor }),
            Command::Unsubscribed { agent, subscription } => self.feed(agent, Input::Unsubscribed { subscription }),
            Command::AgentRemoved { agent } => self.feed(agent, Input::AgentRemoved),
            Command::TouchConnected { before, done } => {
                let now = self.clock.now();
                for (agent, resident) in self.residents.connected_since(before, TOUCHED_MAX) {
                    resident.touched = now;
                    drop(self.store.touch(agent, now));
                }
                // Whoever asked may have given up.
                let _ = done.send(());
            }
            Command::Stop => {
                self.stopping = true;
                self.residents.all_links().for_each(|outbox| outbox.put(Delivery::Event(LinkEvent::Ended)));
            }
        }
    }

    /// Makes room for one link more. Those of an agent that lost its network stay open for a while, so it is the oldest
    /// that has to go, and not the new one.
    fn end_oldest_link(&mut self, agent: AgentId) {
        if self.residents.get_mut(agent).is_some_and(|resident| resident.links.len() >= LINKS_MAX) {
            self.end_link(agent, |_| true);
        }
    }

    /// Ends the agent's oldest link of those that `which` names. What was on its way to it goes to another.
    fn end_link(&mut self, agent: AgentId, which: impl Fn(&OpenLink) -> bool) {
        let Some(resident) = self.residents.get_mut(agent) else { return };
        let Some(place) = resident.links.iter().position(which) else { return };
        let ended = resident.links.remove(place);
        ended.outbox.end(LinkEvent::Superseded);
        self.feed(agent, Input::Disconnect { link: ended.id });
    }

    fn submit(
        &mut self,
        submission: Submission,
        reply: oneshot::Sender<Result<MessageId, HubError>>,
        permit: OwnedSemaphorePermit,
    ) {
        let taken_at = self.clock.now();
        let agent = submission.agent;
        let id = MessageId::from_raw(self.mint.next(taken_at));
        let entry = submission.entry(id, taken_at);
        let transient = submission.is_transient();
        if transient {
            let message = Arc::new(submission.message(id, taken_at));
            let transient = Transient { message, receipt: submission.receipt, outcome: Outcome::Dropped };
            self.residents.enter(agent).transients.push(transient);
        }
        let submitting = Submitting { id, submission, taken_at, refused: None, reply, permit };
        let ticket = self.tickets.issue(Waiting::Submit(Box::new(submitting)));
        self.feed(agent, Input::Submit { ticket, entry, transient });
    }

    fn on_written(&mut self, written: Written) {
        match written {
            Written::Appended { agent, ticket, outcome: Ok(appended) } => {
                appended.receipts.iter().for_each(|id| self.receipt_waiters.wake(*id));
                if self.residents.get_mut(agent).is_some_and(|resident| !resident.links.is_empty()) {
                    let stored = self.tickets.submitting(ticket);
                    self.fresh = stored.map(|s| Arc::new(s.submission.message(s.id, s.taken_at)));
                }
                self.feed(agent, Input::Stored { ticket, replaced: appended.replaced });
                self.fresh = None;
            }
            Written::Appended { agent, ticket, outcome: Err(error) } => {
                if let Some(submitting) = self.tickets.submitting(ticket) {
                    submitting.refused = Some(error.into());
                }
                self.feed(agent, Input::NotStored { ticket });
            }
            Written::Told { receipts, outcome } => {
                // A receipt subscription that is gone or full gets no more receipts.
                if outcome.is_ok() {
                    self.receipt_waiters.wake(receipts);
                }
            }
            Written::Erased { agent, id, ticket, outcome } => {
                if let Some(receipts) = outcome.ok().and_then(|erased| erased.receipt) {
                    self.receipt_waiters.wake(receipts);
                }
                if let Some(ticket) = ticket {
                    let outcome = outcome.map(|erased| erased.existed).map_err(HubError::from);
                    self.tickets.answer_settle(ticket, outcome);
                }
                self.feed(agent, Input::Erased { id });
            }
        }
    }

    fn on_loaded(&mut self, Loaded { agent, page }: Loaded) {
        let page = page.unwrap_or_else(|error| {
            self.fail_links(agent, error.into());
            Page::default()
        });
        // They can never be delivered.
        self.settling = Outcome::Dropped;
        page.damaged.iter().for_each(|id| self.feed(agent, Input::Ack { ticket: None, id: *id }));
        self.settling = Outcome::Delivered;
        let entry = |p: doorbell_store::Pending| Entry {
            id: p.id,
            subscription: p.subscription,
            urgency: p.urgency,
            expires_at: p.expires_at,
        };
        self.feed(agent, Input::Loaded { entries: page.entries.into_iter().map(entry).collect(), more: page.more });
    }

    /// The store cannot be read: nothing may pass for all that there is, so the links end and the agent comes again.
    fn fail_links(&mut self, agent: AgentId, error: HubError) {
        let resident = self.residents.get_mut(agent);
        let links = resident.map(|resident| std::mem::take(&mut resident.links)).unwrap_or_default();
        for open in links {
            open.outbox.put(Delivery::Event(LinkEvent::Failed(error)));
            self.feed(agent, Input::Disconnect { link: open.id });
        }
    }

    fn on_alarm(&mut self) {
        let now = self.clock.now();
        while let Some(agent) = self.residents.due(now) {
            self.feed(agent, Input::Tick);
            if self.residents.due(now) == Some(agent) {
                // A mailbox that asks to be woken for a moment that is past gets its turn after the others.
                break;
            }
        }
    }

    /// Hands an input to the agent's mailbox and carries out what it says.
    fn feed(&mut self, agent: AgentId, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        self.residents.enter(agent).mailbox.handle(input, self.clock.now(), &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(agent, effect);
        }
        self.effects = effects;
        self.residents.leave(agent);
    }

    fn carry_out(&mut self, agent: AgentId, effect: Effect) {
        match effect {
            Effect::Persist { ticket } => self.persist(agent, ticket),
            Effect::Accept { ticket } => self.tickets.answer_submit(ticket, true),
            Effect::Reject { ticket } => self.tickets.answer_submit(ticket, false),
            Effect::Load { after } => {
                let page = self.store.pending(agent, after, PAGE_MAX, self.clock.now());
                self.reads.push(Box::pin(async move { Loaded { agent, page: page.await } }));
            }
            Effect::Send { link, id } => self.send(agent, link, id),
            Effect::Drained { link } => self.put(agent, link, Delivery::Event(LinkEvent::Drained)),
            Effect::Close { link, why: CloseReason::SubscriptionGone | CloseReason::AgentGone } => {
                self.put(agent, link, Delivery::Event(LinkEvent::Gone));
            }
            Effect::Erase { id, ticket } => {
                let heard = ticket.is_some_and(|ticket| self.tickets.is_awaited(ticket));
                let (outcome, now) = (self.settling, self.clock.now());
                let outcome = if heard {
                    self.store.erase(id, agent, outcome, now)
                } else {
                    self.store.erase_deferred(id, agent, outcome, now)
                };
                let written = async move { Written::Erased { agent, id, ticket, outcome: outcome.await } };
                self.writes.push_back(Box::pin(written));
            }
            Effect::Acked { ticket } => self.tickets.answer_settle(ticket, Ok(true)),
            Effect::Release { id } => self.release(agent, id),
        }
    }

    /// Lets go of a message; if no store has it, this is when its sender hears what became of it.
    fn release(&mut self, agent: AgentId, id: MessageId) {
        let Some(resident) = self.residents.get_mut(agent) else { return };
        resident.links.iter().for_each(|open| open.outbox.recall(id));
        let Some(place) = resident.transients.iter().position(|transient| transient.message.id == id) else { return };
        let Transient { receipt, outcome, .. } = resident.transients.swap_remove(place);
        if let Some(receipts) = receipt {
            let told = self.store.add_receipt(receipts, id, agent, outcome, self.clock.now());
            self.writes.push_back(Box::pin(async move { Written::Told { receipts, outcome: told.await } }));
        }
    }

    fn persist(&mut self, agent: AgentId, ticket: Ticket) {
        let Some(submitting) = self.tickets.submitting(ticket) else { return };
        let message = submitting.submission.to_store(submitting.id, submitting.taken_at);
        let outcome = self.store.append(message);
        let written = async move { Written::Appended { agent, ticket, outcome: outcome.await } };
        self.writes.push_back(Box::pin(written));
    }

    fn send(&mut self, agent: AgentId, link: LinkId, id: MessageId) {
        let fresh = self.fresh.clone().filter(|message| message.id == id);
        let at_hand = fresh.or_else(|| Some(self.residents.get_mut(agent)?.transient(id)?.message.clone()));
        self.put(agent, link, at_hand.map_or(Delivery::Stored(id), Delivery::Message));
    }

    fn put(&mut self, agent: AgentId, link: LinkId, delivery: Delivery) {
        if let Some(outbox) = self.residents.get_mut(agent).and_then(|resident| resident.outbox(link)) {
            outbox.put(delivery);
        }
    }
}
