//! The writes of one transaction. Each checks before it changes anything, so a refusal leaves nothing to undo.

use doorbell_protocol::{
    id::{AgentId, MessageId, SubscriptionId},
    time::UnixMs,
};
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::{open::PAGE_BYTES, sql};
use crate::{
    engine::{Write, Written, expiry_bucket},
    error::StoreError,
    limits::{Limits, SWEEP_MAX},
    model::{Appended, Erased, NewMessage, Subscription, Swept},
    quota::{Usage, UsageCache},
};

/// Free pages are given back to the disk once they are more than a quarter of the file and more than this (16 MiB):
/// until then the next messages use them.
const FREE_BYTES_KEPT: u64 = 16 << 20;

/// Why a write was not carried out.
pub(super) enum Trouble {
    /// This write only.
    Refused(StoreError),
    /// The transaction.
    Engine(rusqlite::Error),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

/// An open transaction.
pub(super) struct Batch<'a> {
    conn: &'a Connection,
    limits: &'a Limits,
    usage: &'a mut UsageCache,
    mark: i64,
    greatest_id: i64,
}

impl<'a> Batch<'a> {
    pub(super) fn new(conn: &'a Connection, limits: &'a Limits, usage: &'a mut UsageCache, mark: i64) -> Self {
        Self { conn, limits, usage, mark, greatest_id: mark }
    }

    pub(super) fn apply(&mut self, write: &Write) -> Result<Written, Trouble> {
        let erased = |existed| Ok(Written::Erased(Erased { existed }));
        match write {
            Write::CreateAgent { id, now } => self.create_agent(*id, *now).map(|()| Written::Created),
            Write::CreateSubscription(new) => self.create_subscription(new).map(|()| Written::Created),
            Write::Append(message) => self.append(message).map(Written::Appended),
            Write::Erase { id, agent } => erased(self.erase(*id, *agent)?),
            Write::DeleteSubscription { id, agent } => erased(self.delete_subscription(*id, *agent)?),
            Write::DeleteAgent { id } => erased(self.delete_agent(*id)?),
            Write::Sweep { now, max } => Ok(Written::Swept(self.sweep(*now, *max)?)),
        }
    }

    /// Writes down the greatest id, which is the last step before the commit.
    pub(super) fn finish(self) -> rusqlite::Result<i64> {
        if self.greatest_id > self.mark {
            self.run(sql::RAISE_MARK, [self.greatest_id])?;
        }
        Ok(self.greatest_id)
    }

    fn create_agent(&mut self, id: AgentId, now: UnixMs) -> Result<(), Trouble> {
        self.check_free(sql::AGENT_EXISTS, id.raw())?;
        self.run(sql::INSERT_AGENT, params![id.raw(), now.as_millis()])?;
        self.took(id.raw());
        Ok(())
    }

    fn create_subscription(&mut self, new: &Subscription) -> Result<(), Trouble> {
        if !self.exists(sql::AGENT_EXISTS, [new.agent.raw()])? {
            return Err(StoreError::NoAgent.into());
        }
        self.check_free(sql::SUBSCRIPTION_EXISTS, new.id.raw())?;
        let count: u32 =
            self.conn.prepare_cached(sql::COUNT_SUBSCRIPTIONS)?.query_row([new.agent.raw()], |r| r.get(0))?;
        if count >= self.limits.subscriptions_per_agent_max {
            return Err(StoreError::TooManySubscriptions.into());
        }
        let key = new.vapid_key.as_ref().map(<[u8; 65]>::as_slice);
        self.run(sql::INSERT_SUBSCRIPTION, params![new.id.raw(), new.agent.raw(), key, new.created.as_millis()])?;
        self.took(new.id.raw());
        Ok(())
    }

    fn append(&mut self, new: &NewMessage) -> Result<Appended, Trouble> {
        if !self.exists(sql::SUBSCRIPTION_OF_AGENT_EXISTS, [new.subscription.raw(), new.agent.raw()])? {
            return Err(StoreError::NoSubscription.into());
        }
        self.check_free(sql::MESSAGE_EXISTS, new.id.raw())?;
        let replaced = self.make_room(new)?;
        if let Some((id, size)) = replaced {
            self.conn.prepare_cached(sql::DELETE_MESSAGE)?.query_row([id, new.agent.raw()], |_| Ok(()))?;
            self.usage(new.agent)?.remove(size);
        }
        self.insert(new)?;
        Ok(Appended { replaced: replaced.map(|(id, _)| MessageId::from_raw(id)) })
    }

    /// Sees to it that the agent may keep `new`; answers the message (and its size) that `new` replaces.
    fn make_room(&mut self, new: &NewMessage) -> Result<Option<(i64, u32)>, Trouble> {
        let limits = self.limits;
        let replaced = self.same_topic(new)?;
        let usage = self.usage(new.agent)?;
        let Err(refusal) = usage.check(limits, new.size(), replaced.map(|(_, size)| size)) else {
            return Ok(replaced);
        };
        if usage.expires_from > new.now {
            return Err(refusal.into());
        }
        self.run(sql::DELETE_EXPIRED_OF_AGENT, [new.agent.raw(), new.now.as_millis()])?;
        self.usage.forget(new.agent);
        let replaced = self.same_topic(new)?;
        self.usage(new.agent)?.check(limits, new.size(), replaced.map(|(_, size)| size))?;
        Ok(replaced)
    }

    fn same_topic(&self, new: &NewMessage) -> rusqlite::Result<Option<(i64, u32)>> {
        let Some(topic) = &new.topic else { return Ok(None) };
        let mut find = self.conn.prepare_cached(sql::MESSAGE_OF_TOPIC)?;
        find.query_row(params![new.subscription.raw(), topic.as_str()], |r| Ok((r.get(0)?, r.get(1)?))).optional()
    }

    fn insert(&mut self, new: &NewMessage) -> Result<(), Trouble> {
        self.run(
            sql::INSERT_MESSAGE,
            params![
                new.id.raw(),
                new.agent.raw(),
                new.subscription.raw(),
                new.expires_at.as_millis(),
                // Its place in `Urgency::ALL`.
                new.urgency as i64,
                new.size(),
                new.topic.as_ref().map(|topic| topic.as_str()),
                new.headers,
                &new.body[..],
            ],
        )?;
        self.usage(new.agent)?.add(new.size(), new.expires_at);
        self.took(new.id.raw());
        Ok(())
    }

    fn erase(&mut self, id: MessageId, agent: AgentId) -> rusqlite::Result<bool> {
        let mut delete = self.conn.prepare_cached(sql::DELETE_MESSAGE)?;
        let size: Option<u32> = delete.query_row([id.raw(), agent.raw()], |row| row.get(0)).optional()?;
        if let (Some(size), Some(usage)) = (size, self.usage.get(agent)) {
            usage.remove(size);
        }
        Ok(size.is_some())
    }

    fn delete_subscription(&mut self, id: SubscriptionId, agent: AgentId) -> rusqlite::Result<bool> {
        if self.run(sql::DELETE_SUBSCRIPTION, [id.raw(), agent.raw()])? == 0 {
            return Ok(false);
        }
        self.run(sql::DELETE_MESSAGES_OF_SUBSCRIPTION, [agent.raw(), id.raw()])?;
        self.usage.forget(agent);
        Ok(true)
    }

    fn delete_agent(&mut self, id: AgentId) -> rusqlite::Result<bool> {
        if self.run(sql::DELETE_AGENT, [id.raw()])? == 0 {
            return Ok(false);
        }
        self.run(sql::DELETE_SUBSCRIPTIONS_OF, [id.raw()])?;
        self.run(sql::DELETE_MESSAGES_OF_AGENT, [id.raw()])?;
        self.usage.forget(id);
        Ok(true)
    }

    fn sweep(&mut self, now: UnixMs, max: u32) -> rusqlite::Result<Swept> {
        let bucket = expiry_bucket(now);
        let mut delete = self.conn.prepare_cached(sql::SWEEP)?;
        let mut rows = delete.query(params![bucket, max.min(SWEEP_MAX)])?;
        let mut removed = 0;
        while let Some(row) = rows.next()? {
            removed += 1;
            if let Some(usage) = self.usage.get(AgentId::from_raw(row.get(0)?)) {
                usage.remove(row.get(1)?);
            }
        }
        self.give_back_pages()?;
        Ok(Swept { removed, more: self.exists(sql::SWEEP_MORE, [bucket])? })
    }

    fn give_back_pages(&self) -> rusqlite::Result<()> {
        let pragma = |name| self.conn.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
        let (free, all) = (pragma("freelist_count")?, pragma("page_count")?);
        if u64::from(free) * PAGE_BYTES > FREE_BYTES_KEPT && free > all / 4 {
            // One step gives back one page.
            let mut vacuum = self.conn.prepare_cached(sql::GIVE_BACK_PAGES)?;
            let mut steps = vacuum.query([])?;
            while steps.next()?.is_some() {}
        }
        Ok(())
    }

    /// The agent's usage, counted if it is not remembered.
    fn usage(&mut self, agent: AgentId) -> rusqlite::Result<&mut Usage> {
        if self.usage.get(agent).is_none() {
            let mut count = self.conn.prepare_cached(sql::USAGE)?;
            let counted = count.query_row([agent.raw()], |row| {
                let bytes = row.get::<_, i64>(1)?.unsigned_abs();
                let expires_from = UnixMs::from_millis(row.get::<_, Option<i64>>(2)?.unwrap_or(i64::MAX));
                Ok(Usage { messages: row.get(0)?, bytes, expires_from })
            })?;
            self.usage.insert(agent, counted);
        }
        self.usage.get(agent).ok_or(rusqlite::Error::QueryReturnedNoRows)
    }

    /// An id above all that were ever kept is free without a look.
    fn check_free(&self, exists: &str, id: i64) -> Result<(), Trouble> {
        if id <= self.greatest_id && self.exists(exists, [id])? {
            return Err(StoreError::IdTaken.into());
        }
        Ok(())
    }

    fn took(&mut self, id: i64) {
        self.greatest_id = self.greatest_id.max(id);
    }

    fn exists(&self, sql: &str, params: impl Params) -> rusqlite::Result<bool> {
        self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))
    }

    fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.conn.prepare_cached(sql)?.execute(params)
    }
}
