//! The statements of a batch, and how they are sent: all together, with the commit at the end.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use doorbell_protocol::id::ReceiptSubscriptionId;
use futures_util::future::{MaybeDone, maybe_done, poll_fn};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, SimpleQueryMessage};

use super::connection::Link;
use super::known::Change;
use super::sql;
use super::working::Working;
use crate::model::{ClockReading, ClockRecord};

pub(super) type Param<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// One statement with its parameters.
pub(super) struct Call<'a> {
    text: &'static str,
    params: Vec<Param<'a>>,
}

impl<'a> Call<'a> {
    pub(super) fn new(text: &'static str, params: Vec<Param<'a>>) -> Self {
        Self { text, params }
    }
}

macro_rules! call {
    ($text:expr, $($param:expr),+ $(,)?) => {
        $crate::postgres::batch::Call::new($text, vec![$(Box::new($param) as $crate::postgres::batch::Param<'_>),+])
    };
}
pub(super) use call;

/// How a flush went wrong.
pub(super) enum FlushError {
    /// The server refused a statement, and with it the transaction.
    Refused(Error),
    /// It is not known what the server did.
    Lost(String),
}

/// Sends `begin`, `calls`, and with `ends` the commit behind them, without waiting in between.
///
/// If `begin` fails before the transaction has begun, what is behind it finds a session that only reads.
pub(super) async fn flush(link: &Link, begin: Option<&str>, calls: &[Call<'_>], ends: bool) -> Result<(), FlushError> {
    let params: Vec<Vec<&(dyn ToSql + Sync)>> =
        calls.iter().map(|call| call.params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect()).collect();
    let mut steps: Vec<MaybeDone<Step<'_>>> = Vec::with_capacity(calls.len() + 2);
    if let Some(begin) = begin {
        steps.push(maybe_done(Box::pin(async {
            if link.client.simple_query(begin).await?.iter().any(names_no_standbys) {
                link.note_single_copy();
            }
            Ok(())
        })));
    }
    for (call, params) in calls.iter().zip(&params) {
        steps.push(maybe_done(Box::pin(async move { link.query(call.text, params).await.map(drop) })));
    }
    // Each is sent when it is polled first. One that cannot be sent must keep the commit back.
    poll_fn(|cx| {
        for step in &mut steps {
            let _ = Pin::new(step).poll(cx);
        }
        Poll::Ready(())
    })
    .await;
    let commit_at = steps.len();
    let failed = |step: &mut MaybeDone<Step<'_>>| matches!(step, MaybeDone::Done(Err(_)));
    if ends && !steps.iter_mut().any(failed) {
        steps.push(maybe_done(Box::pin(link.client.batch_execute("COMMIT"))));
    }
    for (place, step) in steps.iter_mut().enumerate() {
        Pin::new(&mut *step).await;
        match Pin::new(step).take_output().expect("it was awaited") {
            Ok(()) => {}
            // What follows in this transaction has failed with it.
            Err(error) if place < commit_at && super::connection::session_goes_on(&error) => {
                return Err(FlushError::Refused(error));
            }
            Err(error) => return Err(FlushError::Lost(super::connection::text(&error))),
        }
    }
    if ends && link.take_warning() {
        return Err(FlushError::Lost("the commit may be on one server alone".into()));
    }
    Ok(())
}

/// Whether this row of the answer to [`sql::begin`] says that the server waits for no standbys.
fn names_no_standbys(answer: &SimpleQueryMessage) -> bool {
    matches!(answer, SimpleQueryMessage::Row(row) if row.get(0).is_some_and(|names| names.trim().is_empty()))
}

type Step<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

/// What a part of a batch has changed, as statements. What is deleted goes first: an id may be there again.
pub(super) fn calls<'a>(working: &Working<'a>) -> Vec<Call<'a>> {
    let mut calls = Vec::new();
    deletions(working, &mut calls);
    agents(working, &mut calls);
    subscriptions(working, &mut calls);
    receipt_subscriptions(working, &mut calls);
    messages(working, &mut calls);
    receipts(working, &mut calls);
    calls.extend(working.changes.clock.map(note_clock));
    calls
}

fn deletions(working: &Working<'_>, calls: &mut Vec<Call<'_>>) {
    fn deleted<K: Copy, V>(changed: &std::collections::HashMap<K, Change<V>>, raw: fn(K) -> i64) -> Vec<i64> {
        let mut ids: Vec<_> =
            changed.iter().filter(|(_, change)| change.is_deleted()).map(|(id, _)| raw(*id)).collect();
        ids.sort_unstable();
        ids
    }
    let receipt_subscriptions = deleted(&working.receipt_subscriptions.changed, ReceiptSubscriptionId::raw);
    for (text, ids) in [
        (sql::DELETE_MESSAGES, deleted(&working.messages.changed, doorbell_protocol::id::MessageId::raw)),
        (
            sql::DELETE_SUBSCRIPTIONS,
            deleted(&working.subscriptions.changed, doorbell_protocol::id::SubscriptionId::raw),
        ),
        (sql::DELETE_AGENTS, deleted(&working.agents.changed, doorbell_protocol::id::AgentId::raw)),
        (sql::DELETE_RECEIPTS_OF, receipt_subscriptions.clone()),
        (sql::DELETE_RECEIPT_SUBSCRIPTIONS, receipt_subscriptions),
    ] {
        if !ids.is_empty() {
            calls.push(call!(text, ids));
        }
    }
    let taken: (Vec<_>, Vec<_>) = working.changes.taken.iter().map(|(of, (up_to, _))| (of.raw(), *up_to)).unzip();
    if !taken.0.is_empty() {
        calls.push(call!(sql::DELETE_RECEIPTS_UP_TO, taken.0, taken.1));
    }
}

fn agents(working: &Working<'_>, calls: &mut Vec<Call<'_>>) {
    for (text, is_meant) in
        [(sql::INSERT_AGENTS, Change::is_inserted as fn(&Change<_>) -> bool), (sql::UPDATE_AGENTS, Change::is_updated)]
    {
        let (mut ids, mut seen, mut used, mut empty) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (id, change) in working.agents.changed.iter().filter(|(_, change)| is_meant(change)) {
            let agent = change.now.expect("a row that is written is there");
            ids.push(id.raw());
            seen.push(agent.last_seen.as_millis());
            used.push(agent.used);
            empty.push(agent.subscriptions == 0);
        }
        if !ids.is_empty() {
            calls.push(call!(text, ids, seen, used, empty));
        }
    }
}

fn subscriptions<'a>(working: &Working<'a>, calls: &mut Vec<Call<'a>>) {
    let new: Vec<_> = working.changes.subscriptions.values().copied().collect();
    if !new.is_empty() {
        calls.push(call!(
            sql::INSERT_SUBSCRIPTIONS,
            new.iter().map(|new| new.id.raw()).collect::<Vec<_>>(),
            new.iter().map(|new| new.agent.raw()).collect::<Vec<_>>(),
            new.iter().map(|new| new.vapid_key.as_deref()).collect::<Vec<_>>(),
            new.iter().map(|new| new.channel.as_ref().map(String::as_bytes)).collect::<Vec<_>>(),
            new.iter().map(|new| new.created.as_millis()).collect::<Vec<_>>(),
        ));
    }
}

fn receipt_subscriptions(working: &Working<'_>, calls: &mut Vec<Call<'_>>) {
    for (text, is_meant) in [
        (sql::INSERT_RECEIPT_SUBSCRIPTIONS, Change::is_inserted as fn(&Change<_>) -> bool),
        (sql::UPDATE_RECEIPT_SUBSCRIPTIONS, Change::is_updated),
    ] {
        let (mut ids, mut last_used, mut used, mut untaken) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (id, change) in working.receipt_subscriptions.changed.iter().filter(|(_, change)| is_meant(change)) {
            let row = change.now.expect("a row that is written is there");
            ids.push(id.raw());
            last_used.push(row.last_used.as_millis());
            used.push(row.used);
            untaken.push(i64::from(row.untaken));
        }
        if !ids.is_empty() {
            calls.push(call!(text, ids, last_used, used, untaken));
        }
    }
}

fn messages<'a>(working: &Working<'a>, calls: &mut Vec<Call<'a>>) {
    let mut new: Vec<_> = working.changes.messages.values().copied().collect();
    if new.is_empty() {
        return;
    }
    // In the order of the ids, each index grows at its end.
    new.sort_unstable_by_key(|new| new.id);
    calls.push(call!(
        sql::INSERT_MESSAGES,
        new.iter().map(|new| new.id.raw()).collect::<Vec<_>>(),
        new.iter().map(|new| new.agent.raw()).collect::<Vec<_>>(),
        new.iter().map(|new| new.subscription.raw()).collect::<Vec<_>>(),
        new.iter().map(|new| new.expires_at.as_millis()).collect::<Vec<_>>(),
        // The position in `Urgency::ALL`.
        new.iter().map(|new| new.urgency as i16).collect::<Vec<_>>(),
        new.iter().map(|new| i64::from(new.size())).collect::<Vec<_>>(),
        new.iter().map(|new| new.topic.as_ref().map(|topic| topic.as_str())).collect::<Vec<_>>(),
        new.iter().map(|new| new.receipt.map(ReceiptSubscriptionId::raw)).collect::<Vec<_>>(),
        new.iter().map(|new| &new.headers[..]).collect::<Vec<_>>(),
        new.iter().map(|new| &new.body[..]).collect::<Vec<_>>(),
    ));
}

fn receipts(working: &Working<'_>, calls: &mut Vec<Call<'_>>) {
    let all = working.changes.receipts.iter();
    let new: Vec<_> = all.flat_map(|(of, receipts)| receipts.iter().map(|receipt| (of.raw(), *receipt))).collect();
    if !new.is_empty() {
        calls.push(call!(
            sql::INSERT_RECEIPTS,
            new.iter().map(|(of, _)| *of).collect::<Vec<_>>(),
            new.iter().map(|(_, new)| new.seq).collect::<Vec<_>>(),
            new.iter().map(|(_, new)| new.message.raw()).collect::<Vec<_>>(),
            new.iter().map(|(_, new)| new.agent.raw()).collect::<Vec<_>>(),
            new.iter().map(|(_, new)| i16::from(new.outcome.code())).collect::<Vec<_>>(),
            new.iter().map(|(_, new)| new.at.as_millis()).collect::<Vec<_>>(),
        ));
    }
}

fn note_clock<'a>(record: &'a ClockRecord) -> Call<'a> {
    let last = record.last.as_ref();
    let boot = |last: &ClockReading| i64::try_from(last.boot.as_millis()).expect("no machine runs as long");
    let boot = last.map(boot);
    call!(
        sql::NOTE_CLOCK,
        record.served.map(|served| served.as_millis()),
        last.map(|last| last.time.as_millis()),
        last.map(|last| last.wall.as_millis()),
        last.map(|last| last.newest_wall.as_millis()),
        boot,
        last.and_then(|last| last.boot_id.as_deref()),
    )
}

#[cfg(test)]
mod tests {
    use doorbell_postgres_server::shared;

    use super::*;
    use crate::limits::Limits;
    use crate::postgres::address::Address;
    use crate::postgres::connection::{Purpose, runtime};
    use crate::postgres::{PostgresEngine, PostgresOptions};

    #[test]
    fn nothing_is_written_behind_a_begin_that_failed() {
        let Some(server) = shared() else { return };
        let name = server.create_database();
        let options =
            PostgresOptions { url: server.url(&name), password: None, allow_single_copy: true, cluster: None };
        drop(PostgresEngine::open(&options, Limits::default()).unwrap());
        let address = Address::of(&options).unwrap();
        let flushed = runtime().unwrap().block_on(async {
            let Ok(link) = Link::open(&address, Purpose::Batches).await else { panic!("the server answers") };
            let (ids, seen, used, empty) = (vec![1_i64], vec![0_i64], vec![false], vec![true]);
            let calls = [call!(sql::INSERT_AGENTS, ids, seen, used, empty)];
            // As if it had been cancelled before it had done anything.
            flush(&link, Some("BEGUN"), &calls, true).await
        });
        assert!(matches!(flushed, Err(FlushError::Refused(_))));
        assert_eq!(server.sql(&name, "SELECT count(*) FROM agent"), "0");
    }
}
