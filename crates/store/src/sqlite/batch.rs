//! The writes of one transaction. Each checks before it changes anything, so a refused write leaves nothing to undo.

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::receipts::{DeletedMessage, counted_size};
use super::space::Room;
use super::{Counts, sql};
use crate::engine::{Write, Written};
use crate::error::StoreError;
use crate::figures::Ended;
use crate::limits::Limits;
use crate::model::{Appended, Erased, NewMessage, Removed, Subscription};
use crate::quota::Usage;
use crate::totals::{Totals, lower};

/// Why a write was not done.
pub(super) enum WriteError {
    /// Only this write is refused.
    Refused(StoreError),
    /// The engine failed, and with it the transaction.
    Engine(rusqlite::Error),
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

/// The greatest numbers that were ever used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) id: i64,
    pub(super) seq: i64,
}

/// The greatest numbers: in use, and in the table.
#[derive(Clone, Copy)]
pub(super) struct Marks {
    /// In use.
    pub(super) greatest: Mark,
    /// In the table. It may lag behind while the message with the greatest id is stored, because that shows the id.
    pub(super) stored: Mark,
}

impl Marks {
    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let stored = conn.query_row(sql::MARK, [], |row| Ok(Mark { id: row.get(0)?, seq: row.get(1)? }))?;
        let of_messages: Option<i64> = conn.query_row(sql::GREATEST_MESSAGE, [], |row| row.get(0))?;
        let greatest = Mark { id: of_messages.map_or(stored.id, |id| stored.id.max(id)), ..stored };
        Ok(Self { greatest, stored })
    }
}

/// An open transaction.
pub(super) struct Batch<'a> {
    pub(super) conn: &'a Connection,
    pub(super) limits: &'a Limits,
    pub(super) counts: &'a mut Counts,
    /// See [`Marks`].
    stored: Mark,
    pub(super) greatest: Mark,
    pub(super) totals: Totals,
    pub(super) ended: Ended,
    room: Room,
}

/// What a batch has to remember after its commit.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) marks: Marks,
    pub(super) totals: Totals,
    pub(super) ended: Ended,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        conn: &'a Connection,
        limits: &'a Limits,
        counts: &'a mut Counts,
        Sums { marks, totals, ended }: Sums,
        room: Room,
    ) -> Self {
        Self { conn, limits, counts, stored: marks.stored, greatest: marks.greatest, totals, ended, room }
    }

    pub(super) fn apply(&mut self, write: &Write) -> Result<Written, WriteError> {
        let done = |existed| Ok(Written::Erased(Erased { existed, receipt: None }));
        match write {
            // Last, so that an agent that exists is recognised on a full disk too.
            Write::CreateAgent { id, served } => self.create_agent(*id, *served, write).map(|()| Written::Created),
            _ if !self.room.admits(write) => Err(StoreError::NoRoom.into()),
            Write::CreateSubscription(new) => self.create_subscription(new).map(|()| Written::Created),
            Write::Append(message) => self.append(message).map(Written::Appended),
            Write::Erase { id, agent, outcome, now } => Ok(Written::Erased(self.erase(*id, *agent, *outcome, *now)?)),
            Write::DeleteSubscription { id, agent, now, served } => {
                Ok(Written::Removed(self.delete_subscription(*id, *agent, *now, *served)?))
            }
            Write::DeleteAgent { id, now } => Ok(Written::Removed(self.delete_agent(*id, *now)?)),
            Write::Sweep { now, max } => Ok(Written::Swept(self.sweep(*now, *max)?)),
            Write::CreateReceiptSubscription { id, served } => {
                self.create_receipt_subscription(*id, *served).map(|()| Written::Created)
            }
            Write::AddReceipt { receipt_subscription, message, agent, outcome, now } => {
                self.add_receipt(*receipt_subscription, *message, *agent, *outcome, *now).map(|()| Written::Created)
            }
            Write::TakeReceipts { receipt_subscription, up_to, served } => {
                done(self.take_receipts(*receipt_subscription, *up_to, *served)?)
            }
            Write::JoinReceiptSubscription { id, served } => {
                self.join_receipt_subscription(*id, *served).map(|()| Written::Created)
            }
            Write::UseReceiptSubscription { id, served } => done(self.use_receipt_subscription(*id, *served)?),
            Write::DeleteReceiptSubscription { id } => done(self.delete_receipt_subscription(*id)?),
            Write::Touch { agent, served } => self.touch(*agent, *served).map(|()| Written::Touched),
            Write::NoteClock(record) => Ok(self.note_clock(record).map(|()| Written::Noted)?),
            Write::ExpireIdle(bounds) => Ok(Written::IdleRemoved(self.expire_idle(bounds)?)),
            Write::ExpireUnused(bounds) => Ok(Written::IdleRemoved(self.expire_unused(bounds)?)),
        }
    }

    /// Stores the greatest numbers if no row shows them. This is the last step before the commit.
    pub(super) fn finish(self) -> rusqlite::Result<Sums> {
        let (totals, ended) = (self.totals, self.ended);
        let (greatest, mut stored) = (self.greatest, self.stored);
        let is_shown = greatest.seq == stored.seq
            && (greatest.id == stored.id || self.exists(sql::MESSAGE_EXISTS, [greatest.id])?);
        if !is_shown {
            self.run(sql::RAISE_MARK, [greatest.id, greatest.seq])?;
            stored = greatest;
        }
        Ok(Sums { marks: Marks { greatest, stored }, totals, ended })
    }

    fn create_agent(&mut self, id: AgentId, served: UnixMs, write: &Write) -> Result<(), WriteError> {
        self.check_free(sql::AGENT_EXISTS, id.raw())?;
        if !self.room.admits(write) {
            return Err(StoreError::NoRoom.into());
        }
        self.totals.check_agent(self.limits)?;
        self.totals.agents += 1;
        self.totals.unused_agents += 1;
        self.run(sql::INSERT_AGENT, params![id.raw(), served.as_millis()])?;
        self.note_id(id.raw());
        Ok(())
    }

    fn create_subscription(&mut self, new: &Subscription) -> Result<(), WriteError> {
        if !self.exists(sql::AGENT_EXISTS, [new.agent.raw()])? {
            return Err(StoreError::NoAgent.into());
        }
        self.check_free(sql::SUBSCRIPTION_EXISTS, new.id.raw())?;
        let count: u32 =
            self.conn.prepare_cached(sql::COUNT_SUBSCRIPTIONS)?.query_row([new.agent.raw()], |r| r.get(0))?;
        if count >= self.limits.subscriptions_per_agent_max {
            return Err(StoreError::TooManySubscriptions.into());
        }
        if let Some(channel) = &new.channel
            && self.exists(sql::CHANNEL_EXISTS, params![new.agent.raw(), channel])?
        {
            return Err(StoreError::ChannelTaken.into());
        }
        self.totals.check_subscription(self.limits)?;
        self.totals.subscriptions += 1;
        if count == 0 {
            self.run(sql::FILL_AGENT, [new.agent.raw()])?;
        }
        let key = new.vapid_key.as_deref();
        let created = new.created.as_millis();
        self.run(sql::INSERT_SUBSCRIPTION, params![new.id.raw(), new.agent.raw(), key, new.channel, created])?;
        self.note_id(new.id.raw());
        Ok(())
    }

    fn append(&mut self, new: &NewMessage) -> Result<Appended, WriteError> {
        if !self.exists(sql::SUBSCRIPTION_OF_AGENT_EXISTS, [new.subscription.raw(), new.agent.raw()])? {
            return Err(StoreError::NoSubscription.into());
        }
        self.check_free(sql::MESSAGE_EXISTS, new.id.raw())?;
        if let Some(receipt) = new.receipt {
            self.check_receipts(receipt)?;
        }
        self.totals.check_message(self.limits, new.size())?;
        self.check_share(new)?;
        let mut appended = Appended { replaced: None, receipts: self.make_room(new)? };
        self.replace(new, &mut appended)?;
        if let Some(receipt) = new.receipt {
            self.use_receipt_subscription(receipt, new.served)?;
        }
        self.insert(new)?;
        Ok(appended)
    }

    /// Refuses a message that would take its subscription over its share. A subscription has no more than its agent, so
    /// a count is rarely needed.
    fn check_share(&mut self, new: &NewMessage) -> Result<(), WriteError> {
        let limits = self.limits;
        if self.usage(new.agent)?.check_share(limits, new.size(), None).is_ok() {
            return Ok(());
        }
        let replaced = self.same_topic(new)?.filter(|(_, expires_at)| *expires_at > new.now);
        let mut count = self.conn.prepare_cached(sql::USAGE_OF_SUBSCRIPTION)?;
        let of = params![new.agent.raw(), new.now.as_millis(), new.subscription.raw()];
        let usage = count.query_row(of, usage_of_row)?;
        Ok(usage.check_share(limits, new.size(), replaced.map(|(size, _)| size))?)
    }

    /// Checks that the agent may store `new`. If it may not yet, and only if that helps, deletes its expired messages;
    /// returns the receipt subscriptions that got their receipts.
    fn make_room(&mut self, new: &NewMessage) -> Result<Vec<ReceiptSubscriptionId>, WriteError> {
        let (limits, agent) = (self.limits, new.agent);
        let replaced = self.same_topic(new)?;
        let usage = self.usage(agent)?;
        let Err(refusal) = usage.check(limits, new.size(), replaced.map(|(size, _)| size)) else {
            return Ok(Vec::new());
        };
        if usage.expires_from > new.now {
            return Err(refusal.into());
        }
        let unexpired = self.count(agent, new.now)?;
        let replaced = replaced.filter(|(_, expires_at)| *expires_at > new.now);
        unexpired.check(limits, new.size(), replaced.map(|(size, _)| size))?;
        let expired = self.delete_messages(sql::DELETE_EXPIRED_OF_AGENT, [agent.raw(), new.now.as_millis()])?;
        self.counts.usage.insert(agent, unexpired);
        Ok(self.add_receipts(expired, Outcome::Expired, new.now)?)
    }

    /// The size and the expiry of the message that `new` replaces.
    fn same_topic(&self, new: &NewMessage) -> rusqlite::Result<Option<(u32, UnixMs)>> {
        let Some(topic) = &new.topic else { return Ok(None) };
        let mut find = self.conn.prepare_cached(sql::MESSAGE_OF_TOPIC)?;
        let found = |row: &rusqlite::Row<'_>| Ok((counted_size(row, 0)?, UnixMs::from_millis(row.get(1)?)));
        find.query_row(params![new.subscription.raw(), topic.as_str()], found).optional()
    }

    /// Deletes the message of the same topic. It gets no receipt, unless it had expired before.
    fn replace(&mut self, new: &NewMessage, appended: &mut Appended) -> rusqlite::Result<()> {
        let Some(topic) = &new.topic else { return Ok(()) };
        let mut old =
            self.delete_messages(sql::DELETE_MESSAGE_OF_TOPIC, params![new.subscription.raw(), topic.as_str()])?;
        if let Some(replaced) = old.pop_if(|old| old.expires_at > new.now) {
            appended.replaced = Some(replaced.id);
            self.ended.replaced += 1;
        }
        appended.receipts.extend(self.add_receipts(old, Outcome::Expired, new.now)?);
        appended.receipts.sort_unstable();
        appended.receipts.dedup();
        Ok(())
    }

    fn insert(&mut self, new: &NewMessage) -> Result<(), WriteError> {
        self.run(
            sql::INSERT_MESSAGE,
            params![
                new.id.raw(),
                new.agent.raw(),
                new.subscription.raw(),
                new.expires_at.as_millis(),
                // The position in `Urgency::ALL`.
                new.urgency as i64,
                new.size(),
                new.topic.as_ref().map(|topic| topic.as_str()),
                new.receipt.map(ReceiptSubscriptionId::raw),
                new.headers,
                &new.body[..],
            ],
        )?;
        self.usage(new.agent)?.add(new.size(), new.expires_at);
        self.totals.add_message(new.size());
        if self.counts.used.get(new.agent).is_none() {
            self.use_agent(new.agent)?;
            self.counts.used.insert(new.agent, ());
        }
        self.note_id(new.id.raw());
        Ok(())
    }

    /// Records that an agent was used, once.
    pub(super) fn use_agent(&mut self, agent: AgentId) -> rusqlite::Result<()> {
        let changed = self.run(sql::USE_AGENT, [agent.raw()])?;
        lower(&mut self.totals.unused_agents, changed as u64);
        Ok(())
    }

    fn erase(&mut self, id: MessageId, agent: AgentId, outcome: Outcome, now: UnixMs) -> rusqlite::Result<Erased> {
        let deleted = self.delete_messages(sql::DELETE_MESSAGE, [id.raw(), agent.raw()])?;
        let existed = deleted.iter().any(|message| message.expires_at > now);
        let receipt = self.add_receipts(deleted, outcome, now)?.pop();
        Ok(Erased { existed, receipt })
    }

    fn delete_subscription(
        &mut self,
        id: SubscriptionId,
        agent: AgentId,
        now: UnixMs,
        served: UnixMs,
    ) -> rusqlite::Result<Removed> {
        if self.run(sql::DELETE_SUBSCRIPTION, [id.raw(), agent.raw()])? == 0 {
            return Ok(Removed::default());
        }
        lower(&mut self.totals.subscriptions, 1);
        self.run(sql::EMPTY_AGENT, [agent.raw(), served.as_millis()])?;
        let deleted = self.delete_messages(sql::DELETE_MESSAGES_OF_SUBSCRIPTION, [agent.raw(), id.raw()])?;
        Ok(Removed { existed: true, receipts: self.add_receipts(deleted, Outcome::Unsubscribed, now)? })
    }

    pub(super) fn delete_agent(&mut self, id: AgentId, now: UnixMs) -> rusqlite::Result<Removed> {
        let Some(was_used) = self.delete_returning(sql::DELETE_AGENT, id.raw())? else {
            return Ok(Removed::default());
        };
        self.totals.remove_agent(was_used);
        let subscriptions = self.run(sql::DELETE_SUBSCRIPTIONS_OF, [id.raw()])?;
        lower(&mut self.totals.subscriptions, subscriptions as u64);
        let deleted = self.delete_messages(sql::DELETE_MESSAGES_OF_AGENT, [id.raw()])?;
        self.counts.usage.forget(id);
        self.counts.used.forget(id);
        Ok(Removed { existed: true, receipts: self.add_receipts(deleted, Outcome::Unsubscribed, now)? })
    }

    /// Deletes messages with one of the DELETE statements, and subtracts them from their agents' usage.
    pub(super) fn delete_messages(&mut self, sql: &str, params: impl Params) -> rusqlite::Result<Vec<DeletedMessage>> {
        let mut delete = self.conn.prepare_cached(sql)?;
        let mut rows = delete.query(params)?;
        let mut deleted = Vec::new();
        while let Some(row) = rows.next()? {
            let message = DeletedMessage::from_row(row)?;
            if let Some(usage) = self.counts.usage.get(message.agent) {
                usage.remove(message.size);
            }
            self.totals.remove_message(message.size);
            deleted.push(message);
        }
        Ok(deleted)
    }

    /// The agent's usage, counted if it is not cached.
    fn usage(&mut self, agent: AgentId) -> rusqlite::Result<&mut Usage> {
        if self.counts.usage.get(agent).is_none() {
            let counted = self.count(agent, UnixMs::from_millis(i64::MIN))?;
            self.counts.usage.insert(agent, counted);
        }
        Ok(self.counts.usage.get(agent).expect("the usage was cached above"))
    }

    /// Counts the usage of the agent that the last append of a batch was for, and compares the cache with it. For
    /// `debug_assert!`.
    pub(super) fn usage_is_right(&mut self, batch: &[Write]) -> bool {
        let agent = |write: &Write| if let Write::Append(new) = write { Some(new.agent) } else { None };
        let Some(agent) = batch.iter().rev().find_map(agent) else { return true };
        // An error of the engine is for the next statement to report.
        let Ok(counted) = self.count(agent, UnixMs::from_millis(i64::MIN)) else { return true };
        self.counts.usage.get(agent).is_none_or(|cached| {
            // Removals do not raise the moment before which nothing expires.
            (cached.messages, cached.bytes) == (counted.messages, counted.bytes)
                && cached.expires_from <= counted.expires_from
        })
    }

    /// The usage of the agent's messages that expire after `moment`.
    fn count(&self, agent: AgentId, moment: UnixMs) -> rusqlite::Result<Usage> {
        let mut count = self.conn.prepare_cached(sql::USAGE)?;
        count.query_row([agent.raw(), moment.as_millis()], usage_of_row)
    }

    /// An id above the greatest one is free without a query.
    pub(super) fn check_free(&self, exists: &str, id: i64) -> Result<(), WriteError> {
        if id <= self.greatest.id && self.exists(exists, [id])? {
            return Err(StoreError::IdTaken.into());
        }
        Ok(())
    }

    pub(super) fn note_id(&mut self, id: i64) {
        self.greatest.id = self.greatest.id.max(id);
    }

    /// The number of the next receipt.
    pub(super) fn next_seq(&mut self) -> i64 {
        self.greatest.seq += 1;
        self.greatest.seq
    }

    pub(super) fn exists(&self, sql: &str, params: impl Params) -> rusqlite::Result<bool> {
        self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))
    }

    /// Deletes a row; whether it was used, if it was there.
    pub(super) fn delete_returning(&self, sql: &str, id: i64) -> rusqlite::Result<Option<bool>> {
        self.conn.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()
    }

    pub(super) fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.conn.prepare_cached(sql)?.execute(params)
    }
}

fn usage_of_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Usage> {
    let bytes = u64::try_from(row.get::<_, i64>(1)?).expect("the statements sum no negative sizes");
    let first: Option<i64> = row.get(2)?;
    let expires_from = first.map_or(Usage::default().expires_from, UnixMs::from_millis);
    Ok(Usage { messages: row.get(0)?, bytes, expires_from })
}
