//! Reads, on a connection of their own. Each statement sees everything that was committed before it began.

use std::sync::Arc;

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::rows::{self, Damages};
use super::sql;
use crate::engine::Reader;
use crate::error::ReadError;
use crate::limits::PAGE_MAX;
use crate::model::{Lookup, Page, ReceiptPage, Subscription};
use crate::seldom::Seldom;

pub(super) struct SqliteReader {
    conn: Connection,
    /// The damaged rows that all readers found.
    damages: Arc<Seldom>,
}

impl SqliteReader {
    pub(super) fn new(conn: Connection, damages: Arc<Seldom>) -> Self {
        Self { conn, damages }
    }

    fn exists(&self, sql: &str, id: i64) -> Result<bool, ReadError> {
        Ok(self.conn.prepare_cached(sql)?.query_row([id], |row| row.get(0))?)
    }

    fn one_subscription(&self, sql: &str, params: impl Params) -> Result<Option<Subscription>, ReadError> {
        let found = self.conn.prepare_cached(sql)?.query_row(params, rows::subscription).optional()?;
        Ok(found.transpose()?)
    }
}

impl Reader for SqliteReader {
    fn agent_exists(&mut self, id: AgentId) -> Result<bool, ReadError> {
        self.exists(sql::AGENT_EXISTS, id.raw())
    }

    fn subscription(&mut self, id: SubscriptionId) -> Result<Option<Subscription>, ReadError> {
        self.one_subscription(sql::SUBSCRIPTION, [id.raw()])
    }

    fn subscription_of_channel(&mut self, agent: AgentId, channel: &str) -> Result<Option<Subscription>, ReadError> {
        self.one_subscription(sql::SUBSCRIPTION_OF_CHANNEL, params![agent.raw(), channel])
    }

    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<Subscription>, ReadError> {
        let mut list = self.conn.prepare_cached(sql::SUBSCRIPTIONS_OF)?;
        let (mut subscriptions, mut damages) = (Vec::new(), Damages::default());
        for subscription in list.query_map([agent.raw()], rows::subscription)? {
            match subscription? {
                Ok(subscription) => subscriptions.push(subscription),
                Err(damage) => damages.add(damage),
            }
        }
        damages.log(&self.damages);
        Ok(subscriptions)
    }

    /// The statement has no LIMIT: damaged rows must not fill the page, and SQLite reads no row that is not asked for.
    fn pending(&mut self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Result<Page, ReadError> {
        let max = max.min(PAGE_MAX) as usize;
        let after = after.map_or(i64::MIN, MessageId::raw);
        let mut list = self.conn.prepare_cached(sql::PENDING)?;
        let mut rows = list.query(params![agent.raw(), after, now.as_millis()])?;
        let (mut page, mut damages) = (Page::default(), Damages::default());
        while let Some(row) = rows.next()? {
            if page.entries.len() == max {
                page.more = true;
                break;
            }
            match rows::pending(row)? {
                Ok(entry) => page.entries.push(entry),
                Err(damage) => {
                    damages.add(damage);
                    if page.damaged.len() < max {
                        page.damaged.push(MessageId::from_raw(row.get(0)?));
                    }
                }
            }
        }
        damages.log(&self.damages);
        Ok(page)
    }

    fn messages(&mut self, ids: &[MessageId], now: UnixMs) -> Result<Vec<Lookup>, ReadError> {
        let mut read = self.conn.prepare_cached(sql::MESSAGE)?;
        let (mut found, mut damages) = (Vec::with_capacity(ids.len()), Damages::default());
        for id in ids {
            let message = read.query_row(params![id.raw(), now.as_millis()], rows::message).optional()?;
            found.push(match message {
                Some(Ok(message)) => Lookup::Stored(message),
                None => Lookup::Absent,
                Some(Err(damage)) => {
                    damages.add(damage);
                    Lookup::Damaged
                }
            });
        }
        damages.log(&self.damages);
        Ok(found)
    }

    fn receipt_subscription_exists(&mut self, id: ReceiptSubscriptionId) -> Result<bool, ReadError> {
        self.exists(sql::RECEIPT_SUBSCRIPTION_EXISTS, id.raw())
    }

    /// Without LIMIT, like [`Self::pending`].
    fn receipts(&mut self, of: ReceiptSubscriptionId, after: Option<i64>, max: u32) -> Result<ReceiptPage, ReadError> {
        let max = max.min(PAGE_MAX) as usize;
        // The first number is 1.
        let after = after.unwrap_or(0);
        let mut list = self.conn.prepare_cached(sql::RECEIPTS)?;
        let mut rows = list.query(params![of.raw(), after])?;
        let (mut page, mut damages) = (ReceiptPage::default(), Damages::default());
        while let Some(row) = rows.next()? {
            if page.receipts.len() == max {
                page.more = true;
                break;
            }
            match rows::receipt(row)? {
                Ok(receipt) => page.receipts.push(receipt),
                Err(damage) => damages.add(damage),
            }
        }
        damages.log(&self.damages);
        Ok(page)
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error.to_string())
    }
}
