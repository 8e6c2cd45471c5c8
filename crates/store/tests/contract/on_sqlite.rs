//! The suite on the engine on SQLite.

use doorbell_store::Limits;

use crate::bed::Bed;

fn open(limits: Limits) -> Bed {
    Bed::sqlite(limits)
}

#[path = "cases/agents.rs"]
mod agents;
#[path = "cases/expiry.rs"]
mod expiry;
#[path = "cases/messages.rs"]
mod messages;
#[path = "cases/quota.rs"]
mod quota;
#[path = "cases/topics.rs"]
mod topics;
