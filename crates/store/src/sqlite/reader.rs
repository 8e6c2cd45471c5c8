//! Reads, on a connection of their own. Each statement sees everything that was committed before it began.

use bytes::Bytes;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::sql;
use crate::engine::Reader;
use crate::limits::PAGE_MAX;
use crate::model::{Page, Pending, Receipt, ReceiptPage, StoredMessage, Subscription};

pub(super) struct SqliteReader {
    conn: Connection,
}

impl SqliteReader {
    pub(super) fn new(conn: Connection) -> Self {
        Self { conn }
    }

    fn try_subscriptions_of(&self, agent: AgentId) -> rusqlite::Result<Vec<Subscription>> {
        self.conn.prepare_cached(sql::SUBSCRIPTIONS_OF)?.query_map([agent.raw()], subscription)?.collect()
    }

    fn try_pending(&self, agent: AgentId, after: i64, max: u32, now: UnixMs) -> rusqlite::Result<Page> {
        let mut list = self.conn.prepare_cached(sql::PENDING)?;
        let params = params![agent.raw(), after, now.as_millis(), max + 1];
        let mut entries: Vec<_> = list.query_map(params, pending)?.collect::<Result<_, _>>()?;
        let more = entries.len() > max as usize;
        entries.truncate(max as usize);
        Ok(Page { entries, more })
    }

    fn try_messages(&self, ids: &[MessageId], now: UnixMs) -> rusqlite::Result<Vec<Option<StoredMessage>>> {
        let mut read = self.conn.prepare_cached(sql::MESSAGE)?;
        ids.iter().map(|id| read.query_row(params![id.raw(), now.as_millis()], message).optional()).collect()
    }

    fn try_receipts(&self, of: ReceiptSubscriptionId, after: i64, max: u32) -> rusqlite::Result<ReceiptPage> {
        let mut list = self.conn.prepare_cached(sql::RECEIPTS)?;
        let rows = list.query_map(params![of.raw(), after, max + 1], receipt)?;
        let mut receipts: Vec<_> = rows.collect::<Result<_, _>>()?;
        let more = receipts.len() > max as usize;
        receipts.truncate(max as usize);
        Ok(ReceiptPage { receipts, more })
    }

    fn exists(&self, sql: &str, id: i64) -> Result<bool, String> {
        let exists = self.conn.prepare_cached(sql);
        exists.and_then(|mut exists| exists.query_row([id], |row| row.get(0))).map_err(text)
    }
}

impl Reader for SqliteReader {
    fn agent_exists(&mut self, id: AgentId) -> Result<bool, String> {
        self.exists(sql::AGENT_EXISTS, id.raw())
    }

    fn subscription(&mut self, id: SubscriptionId) -> Result<Option<Subscription>, String> {
        let read = self.conn.prepare_cached(sql::SUBSCRIPTION);
        read.and_then(|mut read| read.query_row([id.raw()], subscription).optional()).map_err(text)
    }

    fn subscription_of_channel(&mut self, agent: AgentId, channel: &str) -> Result<Option<Subscription>, String> {
        let read = self.conn.prepare_cached(sql::SUBSCRIPTION_OF_CHANNEL);
        read.and_then(|mut read| read.query_row(params![agent.raw(), channel], subscription).optional()).map_err(text)
    }

    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<Subscription>, String> {
        self.try_subscriptions_of(agent).map_err(text)
    }

    fn pending(&mut self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Result<Page, String> {
        let after = after.map_or(i64::MIN, MessageId::raw);
        self.try_pending(agent, after, max.min(PAGE_MAX), now).map_err(text)
    }

    fn messages(&mut self, ids: &[MessageId], now: UnixMs) -> Result<Vec<Option<StoredMessage>>, String> {
        self.try_messages(ids, now).map_err(text)
    }

    fn receipt_subscription_exists(&mut self, id: ReceiptSubscriptionId) -> Result<bool, String> {
        self.exists(sql::RECEIPT_SUBSCRIPTION_EXISTS, id.raw())
    }

    fn receipts(&mut self, of: ReceiptSubscriptionId, after: Option<i64>, max: u32) -> Result<ReceiptPage, String> {
        self.try_receipts(of, after.unwrap_or(0), max.min(PAGE_MAX)).map_err(text)
    }
}

fn subscription(row: &Row<'_>) -> rusqlite::Result<Subscription> {
    Ok(Subscription {
        id: SubscriptionId::from_raw(row.get(0)?),
        agent: AgentId::from_raw(row.get(1)?),
        vapid_key: row.get(2)?,
        channel: row.get(3)?,
        created: UnixMs::from_millis(row.get(4)?),
    })
}

fn pending(row: &Row<'_>) -> rusqlite::Result<Pending> {
    Ok(Pending {
        id: MessageId::from_raw(row.get(0)?),
        subscription: SubscriptionId::from_raw(row.get(1)?),
        urgency: urgency(row, 2)?,
        expires_at: UnixMs::from_millis(row.get(3)?),
        size: row.get(4)?,
    })
}

fn message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    Ok(StoredMessage {
        id: MessageId::from_raw(row.get(0)?),
        subscription: SubscriptionId::from_raw(row.get(1)?),
        urgency: urgency(row, 2)?,
        expires_at: UnixMs::from_millis(row.get(3)?),
        headers: row.get(4)?,
        body: Bytes::from(row.get::<_, Vec<u8>>(5)?),
    })
}

fn receipt(row: &Row<'_>) -> rusqlite::Result<Receipt> {
    let code: u8 = row.get(3)?;
    let outcome = Outcome::from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(3, code.into()))?;
    Ok(Receipt {
        seq: row.get(0)?,
        message: MessageId::from_raw(row.get(1)?),
        agent: AgentId::from_raw(row.get(2)?),
        outcome,
        at: UnixMs::from_millis(row.get(4)?),
    })
}

/// The column holds the urgency's place in [`Urgency::ALL`].
fn urgency(row: &Row<'_>, column: usize) -> rusqlite::Result<Urgency> {
    let place: i64 = row.get(column)?;
    let known = usize::try_from(place).ok().and_then(|place| Urgency::ALL.get(place));
    known.copied().ok_or(rusqlite::Error::IntegralValueOutOfRange(column, place))
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn text(error: rusqlite::Error) -> String {
    error.to_string()
}
