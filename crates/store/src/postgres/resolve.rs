//! What became of a batch whose answer was lost: the database is asked, and the batch is barred if it did not happen.

use tokio_postgres::Error;

use super::connection::text;
use super::fence::NODE;
use super::sql;
use super::writer::{Failure, Flight, Writer};
use crate::error::CommitError;

impl Writer {
    /// Returns the batch in flight if it happened.
    ///
    /// The statement waits for the row lock of the batch, if that is still under way, and its own commit for the same
    /// standbys. After it the batch has happened, or its number is barred: then it cannot happen any more, even if it
    /// lies in a buffer of the server. `batch` and `barred` are two columns, because this statement's own answer may be
    /// lost too: the next one must not take its mark for that of the batch.
    pub(super) async fn resolve(&mut self) -> Result<Option<Flight>, Failure> {
        let (Some(link), Some(flight)) = (&self.link, &self.flight) else { return Ok(None) };
        let number = flight.number;
        let ask = async {
            link.client.batch_execute(sql::BEGIN).await?;
            let rows = link.query(sql::RESOLVE, &[&NODE, &self.shared.life, &number]).await?;
            link.client.batch_execute("COMMIT").await?;
            Ok::<_, Error>(rows)
        };
        let rows = ask.await.map_err(|error| Failure::Again(text(&error)))?;
        if link.take_warning() {
            return Err(Failure::Again("the answer may be from one server alone".into()));
        }
        let Some(row) = rows.first() else {
            // The life that came after has overwritten the number.
            let reason = "another process has taken over the database while a batch was under way";
            return Err(Failure::Final(CommitError::Unknown(reason.into())));
        };
        let batch: i64 = row.try_get(0).map_err(|error| Failure::Again(text(&error)))?;
        let flight = self.flight.take();
        if batch < number {
            self.resolved.not_happened += 1;
            tracing::info!("a batch of unknown outcome had not been committed, and cannot be any more");
            return Ok(None);
        }
        self.resolved.happened += 1;
        tracing::info!("a batch of unknown outcome had been committed");
        self.shared.committed(number, std::mem::take(&mut self.is_new));
        self.sums = flight.as_ref().map_or(self.sums, |flight| flight.sums);
        Ok(flight)
    }
}
