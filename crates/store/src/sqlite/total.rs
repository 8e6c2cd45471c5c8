//! Counts everything once, when the store is opened.

use rusqlite::{Connection, Row};

use super::sql;
use crate::totals::Totals;

/// What the store holds.
pub(super) fn count(conn: &Connection) -> rusqlite::Result<Totals> {
    let number = |row: &Row<'_>, column| -> rusqlite::Result<u64> {
        Ok(u64::try_from(row.get::<_, i64>(column)?).expect("counts, and sums of sizes, are not negative"))
    };
    let one = |sql| conn.query_row(sql, [], |row| number(row, 0));
    let two = |sql| conn.query_row(sql, [], |row| Ok((number(row, 0)?, number(row, 1)?)));
    let (agents, unused_agents) = two(sql::TOTAL_AGENTS)?;
    let (messages, message_bytes) = two(sql::TOTAL_MESSAGES)?;
    let (receipt_subscriptions, unused_receipt_subscriptions) = two(sql::TOTAL_RECEIPT_SUBSCRIPTIONS)?;
    Ok(Totals {
        agents,
        unused_agents,
        subscriptions: one(sql::TOTAL_SUBSCRIPTIONS)?,
        messages,
        message_bytes,
        receipts: one(sql::TOTAL_RECEIPTS)?,
        receipt_subscriptions,
        unused_receipt_subscriptions,
    })
}
