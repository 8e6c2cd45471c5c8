//! Reads, on a connection of their own. Each statement sees everything that was committed before it began.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use tokio::runtime::Runtime;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Error, Row};

use super::address::Address;
use super::connection::{Attempt, Link, Purpose, passes, runtime, session_goes_on, text};
use super::fence::{NODE, Shared};
use super::sql;
use crate::engine::Reader;
use crate::error::{Damage, OpenError, ReadError};
use crate::limits::PAGE_MAX;
use crate::model::{Lookup, Page, Pending, Receipt, ReceiptPage, StoredMessage, Subscription};
use crate::seldom::Seldom;

/// How long a read waits for a database that does not answer, and how long once one has waited in vain.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_AFTER: Duration = Duration::from_secs(1);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);

pub(super) struct PostgresReader {
    runtime: Runtime,
    address: Address,
    shared: Arc<Shared>,
    link: Option<Link>,
    attempt: Attempt,
    /// The writer's connections when the link was checked; `None`: it was not.
    checked: Option<u64>,
    is_away: bool,
    /// The damaged rows that all readers found.
    damages: Arc<Seldom>,
}

impl PostgresReader {
    /// It connects with the first read.
    pub(super) fn new(address: Address, shared: Arc<Shared>, damages: Arc<Seldom>) -> Result<Self, OpenError> {
        let runtime = runtime().map_err(OpenError::Thread)?;
        let (link, attempt) = (None, Attempt::default());
        Ok(Self { runtime, address, shared, link, attempt, checked: None, is_away: false, damages })
    }

    fn query(&mut self, statement: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, ReadError> {
        let patience = if self.is_away { PATIENCE_AFTER } else { PATIENCE };
        let Self { runtime, address, shared, link, attempt, checked, .. } = self;
        let mut reason = String::from("the database does not answer");
        let found = runtime.block_on(async {
            let attempts = async {
                loop {
                    if link.is_none() {
                        match attempt.link(address, Purpose::Reads).await {
                            Ok(opened) => *link = Some(opened),
                            Err(error) => reason = error.text(),
                        }
                    }
                    if let Some(open) = link {
                        match query_once(open, shared, checked, statement, params).await {
                            Ok(Some(rows)) => return Ok(rows),
                            Ok(None) => {
                                address.leave_last_host();
                                reason = "the server has not the last batch: another one has replaced it".into();
                            }
                            Err(error) if session_goes_on(&error) && !passes(&error) => {
                                return Err(ReadError::Engine(text(&error)));
                            }
                            Err(error) => reason = text(&error),
                        }
                        *link = None;
                        // The next connection is checked.
                        *checked = None;
                    }
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
            };
            tokio::time::timeout(patience, attempts).await
        });
        self.is_away = found.is_err();
        match found {
            Ok(rows) => rows,
            Err(_) => {
                (self.link, self.checked) = (None, None);
                Err(ReadError::Engine(reason))
            }
        }
    }

    fn exists(&mut self, statement: &'static str, id: i64) -> Result<bool, ReadError> {
        Ok(!self.query(statement, &[&id])?.is_empty())
    }
}

/// `None`: the connection does not see the last batch, so it is to a server that was replaced.
async fn query_once(
    link: &Link,
    shared: &Shared,
    checked: &mut Option<u64>,
    statement: &'static str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Option<Vec<Row>>, Error> {
    let connections = shared.connections.load(Ordering::Acquire);
    if *checked != Some(connections) {
        let last = shared.batch.load(Ordering::Acquire);
        let rows = link.query(sql::LAST_BATCH, &[&NODE, &shared.life]).await?;
        let seen: Option<i64> = rows.first().map(|row| row.try_get(0)).transpose()?;
        if seen.is_none_or(|seen| seen < last) {
            return Ok(None);
        }
        *checked = Some(connections);
    }
    link.query(statement, params).await.map(Some)
}

impl Reader for PostgresReader {
    fn agent_exists(&mut self, id: AgentId) -> Result<bool, ReadError> {
        self.exists(sql::AGENT_EXISTS, id.raw())
    }

    fn subscription(&mut self, id: SubscriptionId) -> Result<Option<Subscription>, ReadError> {
        Ok(self.query(sql::SUBSCRIPTION, &[&id.raw()])?.first().map(subscription).transpose()?)
    }

    fn subscription_of_channel(&mut self, agent: AgentId, channel: &str) -> Result<Option<Subscription>, ReadError> {
        let rows = self.query(sql::SUBSCRIPTION_OF_CHANNEL, &[&agent.raw(), &channel.as_bytes()])?;
        Ok(rows.first().map(subscription).transpose()?)
    }

    fn subscriptions_of(&mut self, agent: AgentId) -> Result<Vec<Subscription>, ReadError> {
        let rows = self.query(sql::SUBSCRIPTIONS_OF, &[&agent.raw()])?;
        let mut damages = Damages::default();
        let found = rows.iter().filter_map(|row| damages.sound(subscription(row))).collect();
        damages.log(&self.damages);
        Ok(found)
    }

    fn pending(&mut self, agent: AgentId, after: Option<MessageId>, max: u32, now: UnixMs) -> Result<Page, ReadError> {
        let max = max.min(PAGE_MAX) as usize;
        let mut after = after.map_or(i64::MIN, MessageId::raw);
        let (mut page, mut damages) = (Page::default(), Damages::default());
        // Damaged rows take no room in a page.
        loop {
            let limit = max - page.entries.len() + 1;
            let params: [&(dyn ToSql + Sync); 4] = [&agent.raw(), &after, &now.as_millis(), &(limit as i64)];
            let rows = self.query(sql::PENDING, &params)?;
            for row in &rows {
                if page.entries.len() == max {
                    page.more = true;
                    break;
                }
                after = row.try_get(0).map_err(|error| ReadError::Engine(text(&error)))?;
                match damages.sound(pending(row)) {
                    Some(entry) => page.entries.push(entry),
                    None if page.damaged.len() < max => page.damaged.push(MessageId::from_raw(after)),
                    None => {}
                }
            }
            if page.more || rows.len() < limit {
                break;
            }
        }
        damages.log(&self.damages);
        Ok(page)
    }

    fn messages(&mut self, ids: &[MessageId], now: UnixMs) -> Result<Vec<Lookup>, ReadError> {
        let raw: Vec<_> = ids.iter().map(|id| id.raw()).collect();
        let rows = self.query(sql::MESSAGES, &[&raw, &now.as_millis()])?;
        let (mut found, mut damages) = (HashMap::new(), Damages::default());
        for row in &rows {
            let id: i64 = row.try_get(0).map_err(|error| ReadError::Engine(text(&error)))?;
            found.insert(id, damages.sound(message(row)).map_or(Lookup::Damaged, Lookup::Stored));
        }
        damages.log(&self.damages);
        Ok(raw.iter().map(|id| found.get(id).cloned().unwrap_or(Lookup::Absent)).collect())
    }

    fn receipt_subscription_exists(&mut self, id: ReceiptSubscriptionId) -> Result<bool, ReadError> {
        self.exists(sql::RECEIPT_SUBSCRIPTION_EXISTS, id.raw())
    }

    fn receipts(&mut self, of: ReceiptSubscriptionId, after: Option<i64>, max: u32) -> Result<ReceiptPage, ReadError> {
        let max = max.min(PAGE_MAX) as usize;
        // The first number is 1.
        let mut after = after.unwrap_or(0);
        let (mut page, mut damages) = (ReceiptPage::default(), Damages::default());
        loop {
            let limit = max - page.receipts.len() + 1;
            let rows = self.query(sql::RECEIPTS, &[&of.raw(), &after, &(limit as i64)])?;
            for row in &rows {
                if page.receipts.len() == max {
                    page.more = true;
                    break;
                }
                after = row.try_get(0).map_err(|error| ReadError::Engine(text(&error)))?;
                page.receipts.extend(damages.sound(receipt(row)));
            }
            if page.more || rows.len() < limit {
                break;
            }
        }
        damages.log(&self.damages);
        Ok(page)
    }

    fn is_away(&self) -> bool {
        self.is_away
    }
}

/// Reads a column, or reports that it holds what cannot be.
fn get<'a, T: FromSql<'a>>(table: &'static str, row: &'a Row, column: usize) -> Result<T, Damage> {
    row.try_get(column).map_err(|_| damage(table, row, column))
}

fn damage(table: &'static str, row: &Row, column: usize) -> Damage {
    let column = row.columns().get(column).map_or("column", |column| column.name());
    Damage { table, column: column.into() }
}

fn subscription(row: &Row) -> Result<Subscription, Damage> {
    let table = "subscription";
    let channel: Option<Vec<u8>> = get(table, row, 3)?;
    let channel = channel.map(String::from_utf8).transpose().map_err(|_| damage(table, row, 3))?;
    Ok(Subscription {
        id: SubscriptionId::from_raw(get(table, row, 0)?),
        agent: AgentId::from_raw(get(table, row, 1)?),
        vapid_key: get(table, row, 2)?,
        channel,
        created: UnixMs::from_millis(get(table, row, 4)?),
    })
}

fn urgency(row: &Row, column: usize) -> Result<Urgency, Damage> {
    let place: i16 = get("message", row, column)?;
    let urgency = usize::try_from(place).ok().and_then(|place| Urgency::ALL.get(place));
    urgency.copied().ok_or_else(|| damage("message", row, column))
}

fn pending(row: &Row) -> Result<Pending, Damage> {
    Ok(Pending {
        id: MessageId::from_raw(get("message", row, 0)?),
        subscription: SubscriptionId::from_raw(get("message", row, 1)?),
        urgency: urgency(row, 2)?,
        expires_at: UnixMs::from_millis(get("message", row, 3)?),
        size: u32::try_from(get::<i64>("message", row, 4)?).map_err(|_| damage("message", row, 4))?,
    })
}

fn message(row: &Row) -> Result<StoredMessage, Damage> {
    let body: &[u8] = get("message", row, 5)?;
    Ok(StoredMessage {
        id: MessageId::from_raw(get("message", row, 0)?),
        subscription: SubscriptionId::from_raw(get("message", row, 1)?),
        urgency: urgency(row, 2)?,
        expires_at: UnixMs::from_millis(get("message", row, 3)?),
        headers: get("message", row, 4)?,
        body: bytes::Bytes::copy_from_slice(body),
    })
}

fn receipt(row: &Row) -> Result<Receipt, Damage> {
    let code: i16 = get("receipt", row, 3)?;
    let outcome = u8::try_from(code).ok().and_then(Outcome::from_code);
    Ok(Receipt {
        cell: 0,
        seq: get("receipt", row, 0)?,
        message: MessageId::from_raw(get("receipt", row, 1)?),
        agent: AgentId::from_raw(get("receipt", row, 2)?),
        outcome: outcome.ok_or_else(|| damage("receipt", row, 3))?,
        at: UnixMs::from_millis(get("receipt", row, 4)?),
    })
}

/// The damaged rows of a read.
#[derive(Default)]
struct Damages {
    first: Option<Damage>,
    rows: usize,
}

impl Damages {
    fn sound<T>(&mut self, read: Result<T, Damage>) -> Option<T> {
        read.map_err(|damage| {
            self.first.get_or_insert(damage);
            self.rows += 1;
        })
        .ok()
    }

    /// Logs the first one, and how many there were since the last line. Without ids, because an id is half of a URL.
    fn log(self, all: &Seldom) {
        if let Some(Damage { table, column }) = self.first {
            all.log(self.rows, move |rows| tracing::error!(table, column, rows, "a read left out damaged rows"));
        }
    }
}
