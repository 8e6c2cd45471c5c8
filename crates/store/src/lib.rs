//! The durable memory of the push service: one batched trait, an engine in memory and one on SQLite.
