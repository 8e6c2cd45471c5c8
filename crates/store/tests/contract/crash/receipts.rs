//! Receipts after a crash: none is lost or doubled, and no message that still waits or was replaced has one.

use std::collections::{HashMap, HashSet};

use doorbell_protocol::id::{MessageId, ReceiptSubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_store::{Receipt, ReceiptPosition, Store};

use super::child::{AGENTS, Report, receipts_of};
use crate::bed::{ALICE, NOON, id};

/// What the application servers know, from the child's reports.
#[derive(Default)]
struct Known {
    /// Messages that certainly ended.
    ended: HashMap<MessageId, Outcome>,
    /// Messages that must have no receipt: they stay, or others of their topic replace them.
    unended: HashSet<MessageId>,
    /// Receipts that were read, by cell and number.
    read: HashMap<(u8, i64), MessageId>,
    /// By receipt subscription and cell.
    taken: HashMap<(ReceiptSubscriptionId, u8), i64>,
}

impl Known {
    fn from_reports(reports: &[Report]) -> Self {
        let mut known = Self::default();
        for report in reports {
            match *report {
                Report::Kept { id } | Report::OnTopic { id, .. } => drop(known.unended.insert(id)),
                Report::Ended { id, outcome } => drop(known.ended.insert(id, outcome)),
                Report::Read { cell, seq, id } => drop(known.read.insert((cell, seq), id)),
                Report::Taken { receipts, cell, up_to } => drop(known.taken.insert((receipts, cell), up_to)),
            }
        }
        known
    }

    /// What is wrong with a receipt that is in the store.
    fn fault(&self, receipt: &Receipt, of: ReceiptSubscriptionId) -> Option<&'static str> {
        if self.taken.get(&(of, receipt.cell)).is_some_and(|up_to| receipt.seq <= *up_to) {
            return Some("was taken and is back");
        }
        if self.read.get(&(receipt.cell, receipt.seq)).is_some_and(|id| *id != receipt.message) {
            return Some("has a number that another had");
        }
        if self.unended.contains(&receipt.message) {
            return Some("is for a message that stays or was replaced");
        }
        let known = self.ended.get(&receipt.message);
        known.is_some_and(|outcome| *outcome != receipt.outcome).then_some("has another outcome")
    }
}

/// Adds what is wrong with the receipts to `losses`.
pub(super) async fn check(store: &Store, reports: &[Report], losses: &mut Vec<String>) {
    let known = Known::from_reports(reports);
    // By message: the number of its receipt, read before the crash or found after it.
    let mut seqs: HashMap<MessageId, (u8, i64)> = HashMap::new();
    for (seq, id) in &known.read {
        if seqs.insert(*id, *seq).is_some() {
            losses.push(format!("{id:?} has two receipts"));
        }
    }
    for of in (0..AGENTS).map(receipts_of) {
        for receipt in all(store, of).await {
            losses.extend(known.fault(&receipt, of).map(|fault| format!("{receipt:?} {fault}")));
            let place = (receipt.cell, receipt.seq);
            let before = seqs.insert(receipt.message, place);
            if before.is_some_and(|before| before != place) {
                losses.push(format!("{receipt:?} is the second of its message"));
            }
            if super::is_there(store, receipt.message).await {
                losses.push(format!("{receipt:?} is for a message that still waits"));
            }
        }
    }
    let missing = known.ended.keys().filter(|id| !seqs.contains_key(id));
    losses.extend(missing.map(|id| format!("the receipt of {id:?} is lost")));
}

async fn all(store: &Store, of: ReceiptSubscriptionId) -> Vec<Receipt> {
    let (mut all, mut after) = (Vec::new(), ReceiptPosition::default());
    loop {
        let page = store.receipts(of, after.clone(), 1_000).await.unwrap();
        all.extend_from_slice(&page.receipts);
        page.receipts.iter().for_each(|receipt| after.pass(receipt));
        if !page.more {
            return all;
        }
    }
}

#[tokio::test]
async fn the_check_of_receipts_notices_each_kind_of_fault() {
    let store = Store::open_memory(super::limits()).unwrap();
    let of = receipts_of(0);
    store.create_receipt_subscription(of, NOON).await.unwrap();
    for raw in [101, 102, 102, 103, 104] {
        store.add_receipt(of, id(raw), ALICE, Outcome::Delivered, NOON).await.unwrap();
    }
    let fault = async |reports: &[Report]| {
        let mut losses = Vec::new();
        check(&store, reports, &mut losses).await;
        losses.join("\n")
    };
    let second = "is the second of its message";
    assert!(fault(&[]).await.contains(second));
    for (report, expected) in [
        (Report::Ended { id: id(105), outcome: Outcome::Delivered }, "the receipt of MessageId(105) is lost"),
        (Report::Ended { id: id(103), outcome: Outcome::Expired }, "has another outcome"),
        (Report::Kept { id: id(103) }, "is for a message that stays or was replaced"),
        (Report::Read { cell: 0, seq: 1, id: id(106) }, "has a number that another had"),
        (Report::Read { cell: 0, seq: 9, id: id(101) }, second),
        (Report::Taken { receipts: of, cell: 0, up_to: 1 }, "was taken and is back"),
    ] {
        let fault = fault(&[report]).await;
        assert!(fault.contains(expected), "{report:?}: {fault}");
    }
}
