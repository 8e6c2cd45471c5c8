//! All statements of the PostgreSQL engine. A test checks with the planner that none of them scans a table.

/// What each session sets. The generic plans, which walk indexes, spare the planning of each batch.
pub(super) const SESSION: &str = "SET synchronous_commit = on; SET jit = off; SET lock_timeout = '2s'; \
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = '2s'; \
    SET default_transaction_isolation = 'read committed'; SET plan_cache_mode = force_generic_plan; \
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET client_min_messages = warning";

/// What is sent behind a [`begin`] that failed, and behind nothing else, must not be written without the fence.
pub(super) const READ_ONLY: &str = "SET default_transaction_read_only = on";

/// Whether a connection sees the last batch: a primary that was replaced still answers reads.
pub(super) const LAST_BATCH: &str = "SELECT batch FROM node WHERE id = $1 AND life = $2";

pub(super) const MARK: &str =
    "UPDATE node SET ids_until = greatest(ids_until, $2), seq = greatest(seq, $3) WHERE id = $1";
pub(super) const RESOLVE: &str = "UPDATE node SET barred = greatest(barred, $3), lease_until = now() + interval '5 s' \
    WHERE id = $1 AND life = $2 AND state < 2 RETURNING batch";
pub(super) const BEGIN_LIFE: &str = "UPDATE node SET life = life + 1, batch = 0, barred = 0, state = 0, holder = $2, \
    schema = $3, lease_until = now() + interval '5 s' WHERE id = $1 AND (state = 2 OR lease_until < now()) \
    RETURNING life";
/// A life after a connection that was lost: it waits for the transaction there, and what may still arrive of it fails.
pub(super) const NEXT_LIFE: &str = "UPDATE node SET life = life + 1, batch = 0, barred = 0, \
    lease_until = now() + interval '5 s' WHERE id = $1 AND life >= $2 AND holder = $3 AND state < 2 RETURNING life";
pub(super) const HOLDER: &str = "SELECT holder, lease_until::text FROM node WHERE id = $1";
pub(super) const RENEW: &str =
    "UPDATE node SET lease_until = now() + interval '5 s' WHERE id = $1 AND life = $2 AND state < 2";
pub(super) const END_LIFE: &str =
    "UPDATE node SET state = 2, lease_until = now(), holder = '' WHERE id = $1 AND life = $2 AND state < 2";

pub(super) const CLOCK: &str = "SELECT served, time, wall, newest_wall, boot, boot_id FROM clock WHERE id = 1";
pub(super) const NOTE_CLOCK: &str =
    "UPDATE clock SET served = $1, time = $2, wall = $3, newest_wall = $4, boot = $5, boot_id = $6 WHERE id = 1";

// What is read before a batch is decided.
pub(super) const LOAD_AGENTS: &str = "SELECT a.id, a.last_seen, a.used, \
    (SELECT count(*) FROM subscription s WHERE s.agent = a.id), u.messages, u.bytes, u.first FROM agent a \
    CROSS JOIN LATERAL (SELECT count(*) AS messages, coalesce(sum(m.size), 0)::int8 AS bytes, min(m.expires_at) AS first \
    FROM message m WHERE m.agent = a.id) u WHERE a.id = ANY ($1)";
pub(super) const LOAD_SUBSCRIPTIONS: &str = "SELECT id, agent, channel FROM subscription WHERE id = ANY ($1)";
pub(super) const LOAD_SUBSCRIPTIONS_OF: &str =
    "SELECT id, agent, channel FROM subscription WHERE agent = ANY ($1) ORDER BY id";
pub(super) const LOAD_CHANNELS: &str = "SELECT s.agent, s.channel FROM unnest($1::int8[], $2::bytea[]) AS t(agent, channel) \
    JOIN subscription s ON s.agent = t.agent AND sha256(s.channel) = sha256(t.channel) AND s.channel IS NOT NULL";
pub(super) const LOAD_MESSAGES: &str =
    "SELECT id, agent, subscription, size, expires_at, topic, receipt FROM message WHERE id = ANY ($1)";
pub(super) const LOAD_MESSAGES_OF: &str =
    "SELECT id, agent, subscription, size, expires_at, topic, receipt FROM message WHERE agent = ANY ($1) ORDER BY id";
pub(super) const LOAD_TOPICS: &str = "SELECT m.id, m.agent, m.subscription, m.size, m.expires_at, m.topic, m.receipt \
    FROM unnest($1::int8[], $2::text[]) AS t(subscription, topic) \
    JOIN message m ON m.subscription = t.subscription AND m.topic = t.topic AND m.topic IS NOT NULL";
pub(super) const LOAD_RECEIPT_SUBSCRIPTIONS: &str =
    "SELECT id, last_used, used, untaken FROM receipt_subscription WHERE id = ANY ($1)";
pub(super) const LOAD_RECEIPTS_UP_TO: &str = "SELECT t.receipt_subscription, t.up_to, (SELECT count(*) FROM receipt r \
    WHERE r.receipt_subscription = t.receipt_subscription AND r.seq <= t.up_to) \
    FROM unnest($1::int8[], $2::int8[]) AS t(receipt_subscription, up_to)";
pub(super) const IDLE_AGENTS: &str = "SELECT id FROM agent WHERE last_seen < $1 ORDER BY last_seen, id LIMIT $2";
pub(super) const EMPTY_AGENTS: &str =
    "SELECT id FROM agent WHERE empty AND last_seen < $1 ORDER BY last_seen, id LIMIT $2";
pub(super) const UNUSED_AGENTS: &str =
    "SELECT id FROM agent WHERE NOT used AND last_seen < $1 ORDER BY last_seen, id LIMIT $2";
pub(super) const IDLE_RECEIPT_SUBSCRIPTIONS: &str =
    "SELECT id FROM receipt_subscription WHERE last_used < $1 ORDER BY last_used, id LIMIT $2";
pub(super) const UNUSED_RECEIPT_SUBSCRIPTIONS: &str =
    "SELECT id FROM receipt_subscription WHERE NOT used AND last_used < $1 ORDER BY last_used, id LIMIT $2";
pub(super) const EXPIRED_EXACTLY: &str = "SELECT id, agent, subscription, size, expires_at, topic, receipt FROM message \
    WHERE receipt IS NOT NULL AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2";
pub(super) const EXPIRED_SPANS: &str = "SELECT id, agent, subscription, size, expires_at, topic, receipt FROM message \
    WHERE expires_at / 600000 < $1 ORDER BY expires_at / 600000, id LIMIT $2";

// What a batch writes.
pub(super) const DELETE_MESSAGES: &str = "DELETE FROM message WHERE id = ANY ($1)";
pub(super) const DELETE_SUBSCRIPTIONS: &str = "DELETE FROM subscription WHERE id = ANY ($1)";
pub(super) const DELETE_AGENTS: &str = "DELETE FROM agent WHERE id = ANY ($1)";
pub(super) const DELETE_RECEIPTS_OF: &str = "DELETE FROM receipt WHERE receipt_subscription = ANY ($1)";
pub(super) const DELETE_RECEIPT_SUBSCRIPTIONS: &str = "DELETE FROM receipt_subscription WHERE id = ANY ($1)";
pub(super) const DELETE_RECEIPTS_UP_TO: &str = "DELETE FROM receipt r \
    USING unnest($1::int8[], $2::int8[]) AS t(receipt_subscription, up_to) \
    WHERE r.receipt_subscription = t.receipt_subscription AND r.seq <= t.up_to";
pub(super) const INSERT_AGENTS: &str = "INSERT INTO agent (id, created, last_seen, used, empty) \
    SELECT t.id, t.seen, t.seen, t.used, t.empty \
    FROM unnest($1::int8[], $2::int8[], $3::bool[], $4::bool[]) AS t(id, seen, used, empty)";
pub(super) const UPDATE_AGENTS: &str = "UPDATE agent a SET last_seen = t.seen, used = t.used, empty = t.empty \
    FROM unnest($1::int8[], $2::int8[], $3::bool[], $4::bool[]) AS t(id, seen, used, empty) WHERE a.id = t.id";
pub(super) const INSERT_SUBSCRIPTIONS: &str = "INSERT INTO subscription (id, agent, vapid_key, channel, created) \
    SELECT * FROM unnest($1::int8[], $2::int8[], $3::bytea[], $4::bytea[], $5::int8[])";
pub(super) const INSERT_RECEIPT_SUBSCRIPTIONS: &str = "INSERT INTO receipt_subscription (id, last_used, used, untaken) \
    SELECT * FROM unnest($1::int8[], $2::int8[], $3::bool[], $4::int8[])";
pub(super) const UPDATE_RECEIPT_SUBSCRIPTIONS: &str = "UPDATE receipt_subscription s \
    SET last_used = t.last_used, used = t.used, untaken = t.untaken \
    FROM unnest($1::int8[], $2::int8[], $3::bool[], $4::int8[]) AS t(id, last_used, used, untaken) WHERE s.id = t.id";
pub(super) const INSERT_MESSAGES: &str = "INSERT INTO message \
    (id, agent, subscription, expires_at, urgency, size, topic, receipt, headers, body) SELECT * FROM unnest($1::int8[], \
    $2::int8[], $3::int8[], $4::int8[], $5::int2[], $6::int8[], $7::text[], $8::int8[], $9::bytea[], $10::bytea[])";
pub(super) const INSERT_RECEIPTS: &str = "INSERT INTO receipt (receipt_subscription, seq, message, agent, outcome, at) \
    SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::int2[], $6::int8[])";

// What readers read.
pub(super) const AGENT_EXISTS: &str = "SELECT 1 FROM agent WHERE id = $1";
pub(super) const SUBSCRIPTION: &str = "SELECT id, agent, vapid_key, channel, created FROM subscription WHERE id = $1";
pub(super) const SUBSCRIPTION_OF_CHANNEL: &str = "SELECT id, agent, vapid_key, channel, created FROM subscription WHERE agent = $1 AND sha256(channel) = sha256($2::bytea) \
    AND channel IS NOT NULL";
pub(super) const SUBSCRIPTIONS_OF: &str =
    "SELECT id, agent, vapid_key, channel, created FROM subscription WHERE agent = $1 ORDER BY id";
pub(super) const PENDING: &str = "SELECT id, subscription, urgency, expires_at, size FROM message \
    WHERE agent = $1 AND id > $2 AND expires_at > $3 ORDER BY id LIMIT $4";
pub(super) const MESSAGES: &str = "SELECT id, subscription, urgency, expires_at, headers, body FROM message \
    WHERE id = ANY ($1) AND expires_at > $2";
pub(super) const RECEIPT_SUBSCRIPTION_EXISTS: &str = "SELECT 1 FROM receipt_subscription WHERE id = $1";
pub(super) const RECEIPTS: &str = "SELECT seq, message, agent, outcome, at FROM receipt \
    WHERE receipt_subscription = $1 AND seq > $2 ORDER BY seq LIMIT $3";

/// Begins a transaction on a connection for batches.
pub(super) const BEGIN: &str = "BEGIN READ WRITE";

/// What each batch begins with: one message to the server instead of two. Its answer also shows which standbys the server
/// waits for.
pub(super) fn begin(node: i16, life: i64, batch: i64, id: i64, seq: i64) -> String {
    format!(
        "{BEGIN}; SELECT current_setting('synchronous_standby_names') \
         FROM doorbell_fence({node}::smallint, {life}, {batch}, {id}, {seq})"
    )
}

/// The statements of the connection that writes.
pub(super) const WRITER: &[&str] = &[
    MARK,
    RESOLVE,
    NOTE_CLOCK,
    LOAD_AGENTS,
    LOAD_SUBSCRIPTIONS,
    LOAD_SUBSCRIPTIONS_OF,
    LOAD_CHANNELS,
    LOAD_MESSAGES,
    LOAD_MESSAGES_OF,
    LOAD_TOPICS,
    LOAD_RECEIPT_SUBSCRIPTIONS,
    LOAD_RECEIPTS_UP_TO,
    IDLE_AGENTS,
    EMPTY_AGENTS,
    UNUSED_AGENTS,
    IDLE_RECEIPT_SUBSCRIPTIONS,
    UNUSED_RECEIPT_SUBSCRIPTIONS,
    EXPIRED_EXACTLY,
    EXPIRED_SPANS,
    DELETE_MESSAGES,
    DELETE_SUBSCRIPTIONS,
    DELETE_AGENTS,
    DELETE_RECEIPTS_OF,
    DELETE_RECEIPT_SUBSCRIPTIONS,
    DELETE_RECEIPTS_UP_TO,
    INSERT_AGENTS,
    UPDATE_AGENTS,
    INSERT_SUBSCRIPTIONS,
    INSERT_RECEIPT_SUBSCRIPTIONS,
    UPDATE_RECEIPT_SUBSCRIPTIONS,
    INSERT_MESSAGES,
    INSERT_RECEIPTS,
];

/// The statements of a connection that reads.
pub(super) const READER: &[&str] = &[
    LAST_BATCH,
    AGENT_EXISTS,
    SUBSCRIPTION,
    SUBSCRIPTION_OF_CHANNEL,
    SUBSCRIPTIONS_OF,
    PENDING,
    MESSAGES,
    RECEIPT_SUBSCRIPTION_EXISTS,
    RECEIPTS,
];

// Only when the store is opened: they walk through whole indexes.
pub(super) const TOTALS: &str = "SELECT (SELECT count(*) FROM agent), (SELECT count(*) FROM agent WHERE NOT used), \
    (SELECT count(*) FROM subscription), (SELECT count(*) FROM message), \
    (SELECT coalesce(sum(size), 0)::int8 FROM message), (SELECT count(*) FROM receipt), \
    (SELECT count(*) FROM receipt_subscription), (SELECT count(*) FROM receipt_subscription WHERE NOT used)";
pub(super) const GREATEST: &str = "SELECT greatest((SELECT max(ids_until) FROM node), (SELECT max(id) FROM message), \
    (SELECT max(id) FROM agent), (SELECT max(id) FROM subscription), (SELECT max(id) FROM receipt_subscription)), \
    greatest((SELECT max(seq) FROM node), (SELECT max(seq) FROM receipt))";

#[cfg(test)]
mod tests {
    use doorbell_postgres_server::shared;

    use super::*;
    use crate::limits::Limits;
    use crate::postgres::{PostgresEngine, PostgresOptions};

    #[test]
    fn no_statement_walks_through_a_table() {
        let Some(server) = shared() else { return };
        let name = server.create_database();
        let options =
            PostgresOptions { url: server.url(&name), password: None, allow_single_copy: true, cluster: None };
        drop(PostgresEngine::open(&options, Limits::default()).unwrap());
        for statement in WRITER.iter().chain(READER) {
            let params = (1..).take_while(|n| statement.contains(&format!("${n}"))).count();
            let nulls = vec!["NULL"; params].join(", ");
            let plan = server
                .sql(&name, &format!("{SESSION}; PREPARE it AS {statement}; EXPLAIN (COSTS OFF) EXECUTE it ({nulls})"));
            assert!(!plan.contains("Seq Scan"), "{statement}\n{plan}");
            // What is read as a whole index would not be in the condition of it.
            let scans = plan.matches("Index").count();
            assert!(scans == 0 || plan.contains("Cond:") || plan.contains("Filter:"), "{statement}\n{plan}");
        }
    }
}
