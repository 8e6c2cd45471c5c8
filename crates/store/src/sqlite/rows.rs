//! What rows are read into. A row that holds what cannot be is damage, which is no error of the engine.

use bytes::Bytes;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use rusqlite::{Error, Row};

use crate::error::Damage;
use crate::model::{Pending, Receipt, StoredMessage, Subscription};
use crate::seldom::Seldom;

/// A row, or what is wrong with it. The error is the engine's.
type Read<T> = rusqlite::Result<Result<T, Damage>>;

pub(super) fn subscription(row: &Row<'_>) -> Read<Subscription> {
    separate("subscription", row, |row| {
        Ok(Subscription {
            id: SubscriptionId::from_raw(row.get(0)?),
            agent: AgentId::from_raw(row.get(1)?),
            vapid_key: row.get(2)?,
            channel: row.get(3)?,
            created: UnixMs::from_millis(row.get(4)?),
        })
    })
}

pub(super) fn pending(row: &Row<'_>) -> Read<Pending> {
    separate("message", row, |row| {
        Ok(Pending {
            id: MessageId::from_raw(row.get(0)?),
            subscription: SubscriptionId::from_raw(row.get(1)?),
            urgency: urgency(row, 2)?,
            expires_at: UnixMs::from_millis(row.get(3)?),
            size: row.get(4)?,
        })
    })
}

pub(super) fn message(row: &Row<'_>) -> Read<StoredMessage> {
    separate("message", row, |row| {
        Ok(StoredMessage {
            id: MessageId::from_raw(row.get(0)?),
            subscription: SubscriptionId::from_raw(row.get(1)?),
            urgency: urgency(row, 2)?,
            expires_at: UnixMs::from_millis(row.get(3)?),
            headers: row.get(4)?,
            body: Bytes::from(row.get::<_, Vec<u8>>(5)?),
        })
    })
}

pub(super) fn receipt(row: &Row<'_>) -> Read<Receipt> {
    separate("receipt", row, |row| {
        let code: u8 = row.get(3)?;
        let outcome = Outcome::from_code(code).ok_or(Error::IntegralValueOutOfRange(3, code.into()))?;
        Ok(Receipt {
            cell: 0,
            seq: row.get(0)?,
            message: MessageId::from_raw(row.get(1)?),
            agent: AgentId::from_raw(row.get(2)?),
            outcome,
            at: UnixMs::from_millis(row.get(4)?),
        })
    })
}

/// The column holds the urgency's place in [`Urgency::ALL`].
fn urgency(row: &Row<'_>, column: usize) -> rusqlite::Result<Urgency> {
    let place: i64 = row.get(column)?;
    let known = usize::try_from(place).ok().and_then(|place| Urgency::ALL.get(place));
    known.copied().ok_or(Error::IntegralValueOutOfRange(column, place))
}

/// Separates damage of the row from errors of the engine.
fn separate<T>(table: &'static str, row: &Row<'_>, read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>) -> Read<T> {
    let error = match read(row) {
        Ok(value) => return Ok(Ok(value)),
        Err(error) => error,
    };
    match error {
        Error::FromSqlConversionFailure(column, ..)
        | Error::IntegralValueOutOfRange(column, _)
        | Error::InvalidColumnType(column, ..)
        | Error::Utf8Error(column, _) => {
            Ok(Err(Damage { table, column: row.as_ref().column_name(column)?.to_owned() }))
        }
        error => Err(error),
    }
}

/// The damaged rows that one read found.
#[derive(Default)]
pub(super) struct Damages {
    rows: usize,
    first: Option<Damage>,
}

impl Damages {
    pub(super) fn add(&mut self, damage: Damage) {
        self.rows += 1;
        self.first.get_or_insert(damage);
    }

    /// Logs the first one, and how many there were since the last line. A client may read them as often as it likes. Ids
    /// stay out of the log, because an id is half of a URL.
    pub(super) fn log(self, all: &Seldom) {
        if let Some(Damage { table, column }) = self.first {
            all.log(self.rows, move |rows| tracing::error!(table, column, rows, "a read left out damaged rows"));
        }
    }
}
