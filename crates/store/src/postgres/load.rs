//! Reads what a batch must know before it can be decided: everything that is missing, in one round trip.

use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::connection::Link;
use super::sql;
use super::working::{Wanted, Working};
use crate::engine::expiry_bucket;
use crate::limits::{EXPIRE_MAX, SWEEP_MAX};
use crate::quota::Usage;
use crate::rules::{AgentFact, Facts, IdleKind, MessageFact, ReceiptSubscriptionFact, SubscriptionFact};

/// A search finds as many as one write may remove, as many that it has removed before, and one more.
const IDLE_MAX: i64 = 2 * EXPIRE_MAX as i64 + 1;
const EXPIRED_MAX: i64 = 2 * SWEEP_MAX as i64 + 1;

impl Wanted {
    pub(super) fn is_empty(&self) -> bool {
        self.agents.is_empty()
            && self.subscriptions.is_empty()
            && self.messages.is_empty()
            && self.receipt_subscriptions.is_empty()
            && self.topics.is_empty()
            && self.channels.is_empty()
            && self.messages_of.is_empty()
            && self.subscriptions_of.is_empty()
            && self.receipts_up_to.is_empty()
            && self.idle_agents.is_none()
            && self.idle_receipt_subscriptions.is_none()
            && self.expired_exactly.is_none()
            && self.expired_spans.is_none()
    }
}

/// Reads all that is wanted, and what is wanted of what was found.
pub(super) async fn load(link: &Link, working: &mut Working<'_>) -> Result<(), Error> {
    while !working.wanted.is_empty() {
        let wanted = std::mem::take(&mut working.wanted);
        rows(link, working, &wanted).await?;
    }
    Ok(())
}

async fn rows(link: &Link, working: &mut Working<'_>, wanted: &Wanted) -> Result<(), Error> {
    let agents: Vec<_> = wanted.agents.iter().map(|id| id.raw()).collect();
    let subscriptions: Vec<_> = wanted.subscriptions.iter().map(|id| id.raw()).collect();
    let messages: Vec<_> = wanted.messages.iter().map(|id| id.raw()).collect();
    let receipt_subscriptions: Vec<_> = wanted.receipt_subscriptions.iter().map(|id| id.raw()).collect();
    let messages_of: Vec<_> = wanted.messages_of.iter().map(|id| id.raw()).collect();
    let subscriptions_of: Vec<_> = wanted.subscriptions_of.iter().map(|id| id.raw()).collect();
    let topics: (Vec<_>, Vec<_>) = wanted.topics.iter().map(|(of, topic)| (of.raw(), topic.as_str())).unzip();
    let channels: (Vec<_>, Vec<_>) = wanted.channels.iter().map(|(of, channel)| (of.raw(), channel.as_bytes())).unzip();
    let up_to: (Vec<_>, Vec<_>) = wanted.receipts_up_to.iter().map(|(of, up_to)| (of.raw(), *up_to)).unzip();
    let (
        agent_rows,
        subscription_rows,
        message_rows,
        receipt_subscription_rows,
        message_of_rows,
        subscription_of_rows,
        topic_rows,
        channel_rows,
        up_to_rows,
        idle_agents,
        idle_receipt_subscriptions,
        exactly,
        spans,
    ) = tokio::try_join!(
        by_ids(link, sql::LOAD_AGENTS, &agents),
        by_ids(link, sql::LOAD_SUBSCRIPTIONS, &subscriptions),
        by_ids(link, sql::LOAD_MESSAGES, &messages),
        by_ids(link, sql::LOAD_RECEIPT_SUBSCRIPTIONS, &receipt_subscriptions),
        by_ids(link, sql::LOAD_MESSAGES_OF, &messages_of),
        by_ids(link, sql::LOAD_SUBSCRIPTIONS_OF, &subscriptions_of),
        by_pairs(link, sql::LOAD_TOPICS, &topics.0, &topics.1),
        by_pairs(link, sql::LOAD_CHANNELS, &channels.0, &channels.1),
        by_pairs(link, sql::LOAD_RECEIPTS_UP_TO, &up_to.0, &up_to.1),
        first(link, wanted.idle_agents.map(|(kind, before)| (idle_statement(kind), before.as_millis())), IDLE_MAX),
        first(
            link,
            wanted.idle_receipt_subscriptions.map(|(unused, before)| {
                let text = if unused { sql::UNUSED_RECEIPT_SUBSCRIPTIONS } else { sql::IDLE_RECEIPT_SUBSCRIPTIONS };
                (text, before.as_millis())
            }),
            IDLE_MAX
        ),
        first(link, wanted.expired_exactly.map(|now| (sql::EXPIRED_EXACTLY, now.as_millis())), EXPIRED_MAX),
        first(link, wanted.expired_spans.map(|now| (sql::EXPIRED_SPANS, expiry_bucket(now))), EXPIRED_MAX),
    )?;

    wanted.agents.iter().for_each(|id| working.loaded_agent(*id, None));
    for row in &agent_rows {
        let (id, fact) = agent(row)?;
        working.loaded_agent(id, Some(fact));
    }
    working.subscriptions.loaded.extend(wanted.subscriptions.iter().map(|id| (*id, None)));
    for row in &subscription_rows {
        let (id, fact) = subscription(row)?;
        working.subscriptions.loaded.insert(id, Some(fact));
    }
    working.messages.loaded.extend(wanted.messages.iter().map(|id| (*id, None)));
    for row in &message_rows {
        let fact = message(row)?;
        want_receipt(working, &fact);
        working.messages.loaded.insert(fact.id, Some(fact));
    }
    working.receipt_subscriptions.loaded.extend(wanted.receipt_subscriptions.iter().map(|id| (*id, None)));
    for row in &receipt_subscription_rows {
        let (id, fact) = receipt_subscription(row)?;
        working.receipt_subscriptions.loaded.insert(id, Some(fact));
    }
    working.lists.messages_of.extend(wanted.messages_of.iter().map(|id| (*id, Vec::new())));
    for row in &message_of_rows {
        let fact = message(row)?;
        want_receipt(working, &fact);
        working.lists.messages_of.entry(fact.agent).or_default().push(fact);
    }
    working.lists.subscriptions_of.extend(wanted.subscriptions_of.iter().map(|id| (*id, Vec::new())));
    for row in &subscription_of_rows {
        let (id, fact) = subscription(row)?;
        working.lists.subscriptions_of.entry(fact.agent).or_default().push((id, fact));
    }
    working.lists.topics.extend(wanted.topics.iter().map(|key| (key.clone(), None)));
    for row in &topic_rows {
        let fact = message(row)?;
        want_receipt(working, &fact);
        if let Some(topic) = fact.topic.clone() {
            working.lists.topics.insert((fact.subscription, topic), Some(fact));
        }
    }
    working.lists.channels.extend(wanted.channels.iter().map(|key| (key.clone(), false)));
    for row in &channel_rows {
        if let Some(channel) = channel(row, 1)? {
            working.lists.channels.insert((AgentId::from_raw(row.try_get(0)?), channel), true);
        }
    }
    for row in &up_to_rows {
        let key = (ReceiptSubscriptionId::from_raw(row.try_get(0)?), row.try_get(1)?);
        working.lists.receipts_up_to.insert(key, count(row.try_get(2)?));
    }
    if let Some(key) = wanted.idle_agents {
        let found = ids(&idle_agents, AgentId::from_raw)?;
        for id in found.iter().take(EXPIRE_MAX as usize) {
            drop((working.agent(*id), working.messages_of(*id), working.subscriptions_of(*id)));
        }
        working.lists.idle_agents.insert(key, found);
    }
    if let Some(key) = wanted.idle_receipt_subscriptions {
        let found = ids(&idle_receipt_subscriptions, ReceiptSubscriptionId::from_raw)?;
        found.iter().take(EXPIRE_MAX as usize).for_each(|id| drop(working.receipt_subscription(*id)));
        working.lists.idle_receipt_subscriptions.insert(key, found);
    }
    for (key, rows, is_exact) in [(wanted.expired_exactly, &exactly, true), (wanted.expired_spans, &spans, false)] {
        let Some(key) = key else { continue };
        let found = rows.iter().map(message).collect::<Result<Vec<_>, _>>()?;
        found.iter().for_each(|message| want_receipt(working, message));
        let lists = &mut working.lists;
        let list = if is_exact { &mut lists.expired_exactly } else { &mut lists.expired_spans };
        list.insert(key, found);
    }
    Ok(())
}

fn idle_statement(kind: IdleKind) -> &'static str {
    match kind {
        IdleKind::Any => sql::IDLE_AGENTS,
        IdleKind::Empty => sql::EMPTY_AGENTS,
        IdleKind::Unused => sql::UNUSED_AGENTS,
    }
}

/// If the message ends, its receipt subscription must be known.
fn want_receipt(working: &mut Working<'_>, message: &MessageFact) {
    if let Some(of) = message.receipt {
        drop(working.receipt_subscription(of));
    }
}

async fn by_ids(link: &Link, text: &'static str, ids: &Vec<i64>) -> Result<Vec<Row>, Error> {
    if ids.is_empty() { Ok(Vec::new()) } else { link.query(text, &[ids]).await }
}

async fn by_pairs<T: ToSql + Sync>(
    link: &Link,
    text: &'static str,
    ids: &Vec<i64>,
    others: &Vec<T>,
) -> Result<Vec<Row>, Error> {
    if ids.is_empty() { Ok(Vec::new()) } else { link.query(text, &[ids, others]).await }
}

async fn first(link: &Link, search: Option<(&'static str, i64)>, max: i64) -> Result<Vec<Row>, Error> {
    let Some((text, before)) = search else { return Ok(Vec::new()) };
    link.query(text, &[&before, &max]).await
}

fn ids<T>(rows: &[Row], id: fn(i64) -> T) -> Result<Vec<T>, Error> {
    rows.iter().map(|row| row.try_get(0).map(id)).collect()
}

/// A count of rows, which an agent or a receipt subscription has few of.
fn count(rows: i64) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}

fn agent(row: &Row) -> Result<(AgentId, (AgentFact, Usage)), Error> {
    let fact = AgentFact {
        last_seen: UnixMs::from_millis(row.try_get(1)?),
        used: row.try_get(2)?,
        subscriptions: count(row.try_get(3)?),
    };
    let first: Option<i64> = row.try_get(6)?;
    let usage = Usage {
        messages: count(row.try_get(4)?),
        bytes: u64::try_from(row.try_get::<_, i64>(5)?).expect("the table holds no negative size"),
        expires_from: first.map_or(Usage::default().expires_from, UnixMs::from_millis),
    };
    Ok((AgentId::from_raw(row.try_get(0)?), (fact, usage)))
}

fn subscription(row: &Row) -> Result<(SubscriptionId, SubscriptionFact), Error> {
    let fact = SubscriptionFact { agent: AgentId::from_raw(row.try_get(1)?), channel: channel(row, 2)? };
    Ok((SubscriptionId::from_raw(row.try_get(0)?), fact))
}

/// One that is not UTF-8 is damaged, and the subscription goes by its id alone.
fn channel(row: &Row, column: usize) -> Result<Option<String>, Error> {
    let bytes: Option<Vec<u8>> = row.try_get(column)?;
    Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
}

fn message(row: &Row) -> Result<MessageFact, Error> {
    let topic: Option<&str> = row.try_get(5)?;
    Ok(MessageFact {
        id: MessageId::from_raw(row.try_get(0)?),
        agent: AgentId::from_raw(row.try_get(1)?),
        subscription: SubscriptionId::from_raw(row.try_get(2)?),
        // A size that cannot be counts for nothing, as on SQLite.
        size: u32::try_from(row.try_get::<_, i64>(3)?).unwrap_or(0),
        expires_at: UnixMs::from_millis(row.try_get(4)?),
        // Nothing but a topic was ever stored; another text replaces nothing.
        topic: topic.and_then(|topic| topic.parse().ok()),
        receipt: row.try_get::<_, Option<i64>>(6)?.map(ReceiptSubscriptionId::from_raw),
    })
}

fn receipt_subscription(row: &Row) -> Result<(ReceiptSubscriptionId, ReceiptSubscriptionFact), Error> {
    let fact = ReceiptSubscriptionFact {
        last_used: UnixMs::from_millis(row.try_get(1)?),
        used: row.try_get(2)?,
        untaken: count(row.try_get(3)?),
    };
    Ok((ReceiptSubscriptionId::from_raw(row.try_get(0)?), fact))
}
