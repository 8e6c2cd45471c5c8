//! The answers of several cells as one.

use crate::answer::Answer;
use crate::error::StoreError;
use crate::model::{IdleRemoved, ReceiptPage, Swept};

/// The outcome of a chore in all cells. What some have done counts although it failed in others, where it is done later:
/// it fails if it failed in all.
pub(crate) fn merged<T: Send + 'static>(
    mut answers: impl Iterator<Item = Answer<T>>,
    merge: fn(&mut T, T),
) -> Answer<T> {
    let first = answers.next().expect("there is a first cell");
    let others: Vec<_> = answers.collect();
    if others.is_empty() {
        return first;
    }
    Answer::joined(async move {
        let mut sum = first.await;
        for other in others {
            match (&mut sum, other.await) {
                (Ok(sum), Ok(other)) => merge(sum, other),
                (Ok(_), Err(error)) => tracing::debug!(%error, "a cell is left out of a chore"),
                (Err(_), outcome) => sum = outcome,
            }
        }
        sum
    })
}

/// The first `max` receipts of the cells' pages, oldest first. A page that cannot be read fails them all: its receipts
/// would be missed.
pub(crate) fn receipts(pages: Vec<Answer<ReceiptPage>>, max: u32) -> Answer<ReceiptPage> {
    Answer::joined(async move {
        let mut sources = Vec::with_capacity(pages.len());
        let mut merged = ReceiptPage::default();
        for page in pages {
            let page: ReceiptPage = page.await?;
            merged.more |= page.more;
            sources.push(page.receipts.into_iter().peekable());
        }
        while merged.receipts.len() < max as usize {
            let heads = sources.iter_mut().enumerate();
            let oldest = heads.filter_map(|(cell, source)| source.peek().map(|head| (head.at, cell))).min();
            let Some((_, cell)) = oldest else { return Ok(merged) };
            let mut receipt = sources[cell].next().expect("it has a head");
            receipt.cell = u8::try_from(cell).expect("there are few cells");
            merged.receipts.push(receipt);
        }
        merged.more |= sources.iter_mut().any(|source| source.peek().is_some());
        Ok::<_, StoreError>(merged)
    })
}

impl Swept {
    pub(crate) fn merge(&mut self, other: Self) {
        self.removed += other.removed;
        self.receipts.extend(other.receipts);
        once(&mut self.receipts);
        self.more |= other.more;
    }
}

impl IdleRemoved {
    pub(crate) fn merge(&mut self, other: Self) {
        self.agents.extend(other.agents);
        once(&mut self.agents);
        self.receipt_subscriptions.extend(other.receipt_subscriptions);
        once(&mut self.receipt_subscriptions);
        self.receipts.extend(other.receipts);
        once(&mut self.receipts);
        self.more |= other.more;
    }
}

fn once<T: Ord>(all: &mut Vec<T>) {
    all.sort_unstable();
    all.dedup();
}
