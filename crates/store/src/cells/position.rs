//! How far the receipts of a receipt subscription were read: each cell numbers its own.

use std::fmt;
use std::str::FromStr;

use super::plan::CELLS_MAX;
use crate::model::Receipt;

/// The last receipt that was read, in each cell. In a store of one cell it is one number.
///
/// As text it has the numbers of the cells with points between them: `12`, or `12.0.7`. The first number alone is also the
/// position before other cells were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiptPosition {
    first: i64,
    others: Vec<i64>,
}

impl ReceiptPosition {
    /// `receipt` was read too, and so were those before it in its cell.
    pub fn pass(&mut self, receipt: &Receipt) {
        match usize::from(receipt.cell).checked_sub(1) {
            None => self.first = receipt.seq,
            Some(other) => {
                if self.others.len() <= other {
                    self.others.resize(other + 1, 0);
                }
                self.others[other] = receipt.seq;
            }
        }
    }

    /// The number of the last receipt that was read in a cell; receipts are numbered from 1, so 0 is before all.
    pub(crate) fn in_cell(&self, cell: usize) -> i64 {
        let Some(other) = cell.checked_sub(1) else { return self.first };
        match self.others.get(other) {
            Some(last) => *last,
            None => 0,
        }
    }

    /// Whether nothing was read.
    pub(crate) fn is_start(&self) -> bool {
        self.first <= 0 && self.others.iter().all(|seq| *seq <= 0)
    }
}

/// The position in the first cell, with which every store begins.
impl From<i64> for ReceiptPosition {
    fn from(first: i64) -> Self {
        Self { first, others: Vec::new() }
    }
}

impl fmt::Display for ReceiptPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.others.iter().try_for_each(|seq| write!(f, ".{seq}"))
    }
}

/// The text is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position has numbers with points between them")]
pub struct NoPosition;

impl FromStr for ReceiptPosition {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let mut numbers = text.split('.').map(|number| number.parse::<i64>().map_err(|_| NoPosition));
        let first = numbers.next().ok_or(NoPosition)??;
        let others: Vec<_> = numbers.by_ref().take(CELLS_MAX - 1).collect::<Result<_, _>>()?;
        if numbers.next().is_some() { Err(NoPosition) } else { Ok(Self { first, others }) }
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::id::{AgentId, MessageId};
    use doorbell_protocol::receipt::Outcome;
    use doorbell_protocol::time::UnixMs;

    use super::*;

    fn receipt(cell: u8, seq: i64) -> Receipt {
        let (message, agent, at) = (MessageId::from_raw(1), AgentId::from_raw(2), UnixMs::from_millis(3));
        Receipt { seq, cell, message, agent, outcome: Outcome::Delivered, at }
    }

    #[test]
    fn a_position_moves_in_the_cell_of_each_receipt_and_is_read_as_it_was_written() {
        let mut position = ReceiptPosition::default();
        assert!(position.is_start());
        for (cell, seq, text) in [(0, 4, "4"), (2, 7, "4.0.7"), (1, 3, "4.3.7"), (0, 5, "5.3.7")] {
            position.pass(&receipt(cell, seq));
            assert_eq!(position.in_cell(cell.into()), seq);
            assert_eq!(position.to_string(), text);
            assert_eq!(text.parse(), Ok(position.clone()));
        }
        assert_eq!(position.in_cell(9), 0);
        assert!(!position.is_start());
    }

    #[test]
    fn a_text_of_a_client_is_a_position_or_nothing() {
        assert_eq!("12".parse(), Ok(ReceiptPosition::from(12)));
        for text in ["", ".", "1.", ".1", "1..2", "a", "1.b", "99999999999999999999"] {
            assert_eq!(text.parse::<ReceiptPosition>(), Err(NoPosition), "{text}");
        }
        let most = vec!["1"; CELLS_MAX].join(".");
        assert!(most.parse::<ReceiptPosition>().is_ok());
        assert_eq!(format!("{most}.1").parse::<ReceiptPosition>(), Err(NoPosition));
    }
}
