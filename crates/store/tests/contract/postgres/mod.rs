//! What only the engine on PostgreSQL guarantees.

pub(crate) mod server;
