//! What may happen in a schedule, by chance.

use std::time::Duration;

use doorbell_mailbox::{Entry, Input, Mode, RequestId, Retry, Scope, SubscriberId, SubscriberSpec};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{MessageId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;

use crate::judge::Violation;
use crate::store::Write;
use crate::world::{Push, World};

const SUBSCRIBERS_MAX: usize = 3;

impl World {
    /// One step of a schedule.
    pub(crate) fn step(&mut self) -> Result<(), Violation> {
        match self.random.below(100) {
            0..18 => self.submit(),
            18..32 => self.work_in_store(),
            32..46 => self.answer(),
            46..56 => self.page(),
            56..61 => self.connect(),
            61..64 => self.disconnect(),
            64..67 => self.change_floor(),
            67..82 => self.push_arrives(),
            82..85 => self.late_ack(),
            85..87 => self.strangers_ack(),
            87..95 => self.time_passes(),
            95..97 => self.nonsense(),
            97 => self.evict(),
            _ => self.calamity(),
        }
    }

    fn submit(&mut self) -> Result<(), Violation> {
        // The driver has looked the subscription up, so a removed one gets no new messages.
        let live: Vec<SubscriptionId> = self.store.subscriptions.iter().copied().collect();
        let Some(subscription) = self.random.pick(&live) else { return Ok(()) };
        let transient = self.random.percent(15);
        let ttl_ms = match self.random.below(3) {
            // The last chance of a transient message is its first, whatever its expiry is.
            0 if transient => 0,
            0 => self.random.between(1, 40_000),
            _ => 86_400_000 * self.random.between(2, 9),
        };
        let entry = Entry {
            id: MessageId::from_raw(self.number() as i64),
            subscription,
            urgency: self.random.pick(&Urgency::ALL).unwrap_or_default(),
            expires_at: self.now.plus(Duration::from_millis(ttl_ms)),
        };
        let request = RequestId(self.number());
        let topic = if self.random.percent(30) { self.random.pick(&[1, 2]) } else { None };
        self.topics.insert(request, topic);
        self.feed(Input::Submit { request, entry, transient })
    }

    fn work_in_store(&mut self) -> Result<(), Violation> {
        let count = 1 + self.random.below(4);
        self.store.commit(count, &mut self.random);
        Ok(())
    }

    pub(crate) fn answer(&mut self) -> Result<(), Violation> {
        match self.store.take_answer(&mut self.random) {
            Some(answer) => self.feed(answer),
            None => Ok(()),
        }
    }

    /// A page is read, or one that was read arrives.
    pub(crate) fn page(&mut self) -> Result<(), Violation> {
        match self.store.take_page() {
            Some(page) => self.feed(page),
            None => {
                let size = 1 + self.random.below(4);
                self.store.read(size, self.now);
                Ok(())
            }
        }
    }

    fn connect(&mut self) -> Result<(), Violation> {
        if self.subscribers.len() >= SUBSCRIBERS_MAX {
            return Ok(());
        }
        if self.random.percent(25) {
            let floor = if self.random.percent(50) { self.random.pick(&Urgency::ALL) } else { None };
            return self.open(SubscriberSpec::watch(floor)).map(|_| ());
        }
        let of_one = SubscriptionId::from_raw(self.random.between(1, 3) as i64);
        let gone = !self.store.subscriptions.contains(&of_one);
        let scope = if gone || self.random.percent(60) { Scope::Agent } else { Scope::Subscription(of_one) };
        let spec = SubscriberSpec {
            scope,
            floor: if self.random.percent(30) { self.random.pick(&Urgency::ALL) } else { None },
            mode: if self.random.percent(30) { Mode::Drain } else { Mode::Hold },
            window: self.random.pick(&[0, 1, 1, 2, 3, 8]).unwrap_or(1),
            retry: if self.random.percent(60) { Retry::SameSubscriber } else { Retry::NextSubscriber },
        };
        self.open(spec).map(|_| ())
    }

    pub(crate) fn open(&mut self, spec: SubscriberSpec) -> Result<SubscriberId, Violation> {
        let subscriber = SubscriberId(self.number());
        self.subscribers.insert(subscriber, Vec::new());
        self.feed(Input::Connect { subscriber, spec })?;
        Ok(subscriber)
    }

    fn some_subscriber(&mut self) -> Option<SubscriberId> {
        let subscribers: Vec<SubscriberId> = self.subscribers.keys().copied().collect();
        self.random.pick(&subscribers)
    }

    fn disconnect(&mut self) -> Result<(), Violation> {
        match self.some_subscriber() {
            Some(subscriber) => self.close(subscriber),
            None => Ok(()),
        }
    }

    /// The agent may have received some of the pushes, and its acknowledgements may still come.
    pub(crate) fn close(&mut self, subscriber: SubscriberId) -> Result<(), Violation> {
        let pushes = self.subscribers.remove(&subscriber).unwrap_or_default();
        self.drained.retain(|drained| *drained != subscriber);
        if self.random.percent(30) {
            self.late_acks.extend(pushes);
        }
        self.feed(Input::Disconnect { subscriber })
    }

    fn change_floor(&mut self) -> Result<(), Violation> {
        let Some(subscriber) = self.some_subscriber() else { return Ok(()) };
        let floor = if self.random.percent(50) { self.random.pick(&Urgency::ALL) } else { None };
        self.feed(Input::SetFloor { subscriber, floor })
    }

    /// The agent deals with one push, or never receives it.
    fn push_arrives(&mut self) -> Result<(), Violation> {
        let Some((subscriber, push)) = self.take_push() else { return Ok(()) };
        let id = push.id;
        let stored = self.store.rows.contains_key(&id);
        let transient = self.judge.facts.get(&id).is_some_and(|fact| fact.transient);
        if !stored && !transient && self.random.percent(50) {
            return self.feed(Input::Gone { subscriber, id });
        }
        match self.random.below(10) {
            0..4 => self.ack(id),
            4 => self.not_passed_on(push),
            5 | 6 => self.feed(Input::Declined { subscriber, id }),
            7 => {
                self.late_acks.push(push);
                Ok(())
            }
            8 => {
                self.late_acks.push(push);
                self.feed(Input::Arrived { subscriber, id })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn take_push(&mut self) -> Option<(SubscriberId, Push)> {
        let busy: Vec<SubscriberId> =
            self.subscribers.iter().filter(|(_, pushes)| !pushes.is_empty()).map(|(id, _)| *id).collect();
        let subscriber = self.random.pick(&busy)?;
        let pushes = self.subscribers.get_mut(&subscriber)?;
        let at = self.random.below(pushes.len());
        Some((subscriber, pushes.swap_remove(at)))
    }

    pub(crate) fn ack(&mut self, id: MessageId) -> Result<(), Violation> {
        let request = if self.random.percent(50) { Some(RequestId(self.number())) } else { None };
        // Without a draw, so that a seed keeps its schedule.
        let outcome = Outcome::ALL[self.log.len() % Outcome::ALL.len()];
        self.feed(Input::Ack { request, id, outcome })
    }

    /// The agent did not pass the message to the web app; of its second version that is the end.
    pub(crate) fn not_passed_on(&mut self, Push { id, second }: Push) -> Result<(), Violation> {
        let request = if self.random.percent(50) { Some(RequestId(self.number())) } else { None };
        if second {
            self.judge.counts.add("refused twice");
            return self.feed(Input::Ack { request, id, outcome: Outcome::Refused });
        }
        self.feed(Input::NotPassedOn { request, id })
    }

    fn late_ack(&mut self) -> Result<(), Violation> {
        if self.late_acks.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.late_acks.len());
        let push = self.late_acks.swap_remove(at);
        if self.random.percent(30) { self.not_passed_on(push) } else { self.ack(push.id) }
    }

    /// Another holder of the message's URI settles it, whatever state it is in.
    fn strangers_ack(&mut self) -> Result<(), Violation> {
        let last = self.judge.facts.len();
        let recent: Vec<MessageId> = self.judge.facts.keys().skip(last.saturating_sub(8)).copied().collect();
        match self.random.pick(&recent) {
            Some(id) => self.ack(id),
            None => Ok(()),
        }
    }

    fn time_passes(&mut self) -> Result<(), Violation> {
        let ms = match self.random.below(3) {
            0 => self.random.between(1, 2_000),
            1 => self.random.between(2_000, 40_000),
            _ => match self.subject.next_deadline() {
                Some(at) => (at.since(self.now).as_millis() as u64).min(60_000),
                None => 1,
            },
        };
        self.pass_ms(ms);
        // A tick may be late: then the next event finds what is due.
        if self.random.percent(70) { self.feed(Input::Tick) } else { Ok(()) }
    }

    /// What is late or unknown must change nothing.
    fn nonsense(&mut self) -> Result<(), Violation> {
        let (subscriber, id, request) = (SubscriberId(0), MessageId::from_raw(0), RequestId(0));
        let nonsense = match self.random.below(8) {
            0 => Input::Disconnect { subscriber },
            1 => Input::Declined { subscriber, id },
            2 => Input::Gone { subscriber, id },
            3 => Input::Stored { request, replaced: None },
            4 => Input::Erased { id },
            5 => Input::Arrived { subscriber, id },
            6 => Input::NotPassedOn { request: None, id },
            _ => Input::SetFloor { subscriber, floor: None },
        };
        self.feed(nonsense)
    }

    fn calamity(&mut self) -> Result<(), Violation> {
        match self.random.below(40) {
            0..8 => self.crash(),
            8..16 => self.store.sweep(self.now),
            16..22 => {
                let removed = SubscriptionId::from_raw(self.random.between(1, 3) as i64);
                self.store.write(Write::RemoveSubscription(removed));
            }
            22 => self.store.write(Write::RemoveAgent),
            _ => {}
        }
        Ok(())
    }
}
