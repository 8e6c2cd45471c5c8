//! The suite on two cells of different kinds.

use doorbell_store::Limits;

use crate::bed::Bed;

fn open(limits: Limits) -> Bed {
    Bed::cells(limits)
}

#[path = "cases/agents.rs"]
mod agents;
#[path = "cases/bounds.rs"]
mod bounds;
#[path = "cases/expiry.rs"]
mod expiry;
#[path = "cases/idle.rs"]
mod idle;
#[path = "cases/messages.rs"]
mod messages;
#[path = "cases/quota.rs"]
mod quota;
#[path = "cases/receipt_subscriptions.rs"]
mod receipt_subscriptions;
#[path = "cases/receipts.rs"]
mod receipts;
#[path = "cases/topics.rs"]
mod topics;
