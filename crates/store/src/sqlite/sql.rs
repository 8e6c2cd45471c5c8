//! All statements of the SQLite engine. A test checks with the planner that none of them scans a table.

pub(super) const MARK: &str = "SELECT greatest_id, greatest_seq FROM mark";
pub(super) const GREATEST_MESSAGE: &str = "SELECT max(id) FROM message";
pub(super) const RAISE_MARK: &str =
    "UPDATE mark SET greatest_id = max(greatest_id, ?1), greatest_seq = max(greatest_seq, ?2)";
pub(super) const CLOCK: &str = "SELECT served, time, wall, newest_wall, boot, boot_id FROM mark";
pub(super) const NOTE_CLOCK: &str =
    "UPDATE mark SET served = ?1, time = ?2, wall = ?3, newest_wall = ?4, boot = ?5, boot_id = ?6";

pub(super) const AGENT_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM agent WHERE id = ?1)";
pub(super) const FIRST_AGENTS: &str = "SELECT id FROM agent WHERE id >= ?1 ORDER BY id LIMIT ?2";
pub(super) const LAST_AGENTS: &str = "SELECT id FROM agent WHERE id <= ?1 ORDER BY id DESC LIMIT ?2";
pub(super) const INSERT_AGENT: &str =
    "INSERT INTO agent (id, created, last_seen, used, empty) VALUES (?1, ?2, ?2, 0, 1)";
pub(super) const AGENT_LAST_SEEN: &str = "SELECT last_seen FROM agent WHERE id = ?1";
pub(super) const SEE_AGENT: &str = "UPDATE agent SET last_seen = ?2 WHERE id = ?1";
pub(super) const USE_AGENT: &str = "UPDATE agent SET used = 1 WHERE id = ?1 AND used = 0";
pub(super) const FILL_AGENT: &str = "UPDATE agent SET empty = 0 WHERE id = ?1 AND empty = 1";
pub(super) const EMPTY_AGENT: &str = "UPDATE agent SET empty = 1, last_seen = max(last_seen, ?2) WHERE id = ?1 \
    AND NOT EXISTS (SELECT 1 FROM subscription WHERE subscription.agent = ?1)";
pub(super) const UNUSED_AGENTS: &str =
    "SELECT id FROM agent WHERE used = 0 AND last_seen < ?1 ORDER BY last_seen, id LIMIT ?2";
pub(super) const EMPTY_AGENTS: &str =
    "SELECT id FROM agent WHERE empty = 1 AND last_seen < ?1 ORDER BY last_seen, id LIMIT ?2";
pub(super) const IDLE_AGENTS: &str = "SELECT id FROM agent WHERE last_seen < ?1 ORDER BY last_seen, id LIMIT ?2";
pub(super) const DELETE_AGENT: &str = "DELETE FROM agent WHERE id = ?1 RETURNING used";

pub(super) const SUBSCRIPTION: &str = "SELECT id, agent, vapid_key, channel, created FROM subscription WHERE id = ?1";
pub(super) const SUBSCRIPTIONS_OF: &str =
    "SELECT id, agent, vapid_key, channel, created FROM subscription WHERE agent = ?1 ORDER BY id";
pub(super) const SUBSCRIPTION_OF_CHANNEL: &str =
    "SELECT id, agent, vapid_key, channel, created FROM subscription WHERE agent = ?1 AND channel = ?2";
pub(super) const CHANNEL_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM subscription WHERE agent = ?1 AND channel = ?2)";
pub(super) const SUBSCRIPTION_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM subscription WHERE id = ?1)";
pub(super) const SUBSCRIPTION_OF_AGENT_EXISTS: &str =
    "SELECT EXISTS (SELECT 1 FROM subscription WHERE id = ?1 AND agent = ?2)";
pub(super) const COUNT_SUBSCRIPTIONS: &str = "SELECT count(*) FROM subscription WHERE agent = ?1";
pub(super) const INSERT_SUBSCRIPTION: &str =
    "INSERT INTO subscription (id, agent, vapid_key, channel, created) VALUES (?1, ?2, ?3, ?4, ?5)";
pub(super) const DELETE_SUBSCRIPTION: &str = "DELETE FROM subscription WHERE id = ?1 AND agent = ?2";
pub(super) const DELETE_SUBSCRIPTIONS_OF: &str = "DELETE FROM subscription WHERE agent = ?1";

pub(super) const MESSAGE_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM message WHERE id = ?1)";
pub(super) const MESSAGE_OF_TOPIC: &str = "SELECT size, expires_at FROM message WHERE subscription = ?1 AND topic = ?2";
pub(super) const INSERT_MESSAGE: &str = "INSERT INTO message \
    (id, agent, subscription, expires_at, urgency, size, topic, receipt, headers, body) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
// A damaged size counts for no bytes: see `counted_size`.
pub(super) const USAGE: &str = "SELECT count(*), \
    coalesce(sum(size) FILTER (WHERE size BETWEEN 0 AND 4294967295), 0), min(expires_at) FROM message \
    WHERE agent = ?1 AND expires_at > ?2";

pub(super) const USAGE_OF_SUBSCRIPTION: &str = "SELECT count(*), \
    coalesce(sum(size) FILTER (WHERE size BETWEEN 0 AND 4294967295), 0), min(expires_at) FROM message \
    WHERE agent = ?1 AND expires_at > ?2 AND subscription = ?3";

// Every statement that deletes messages returns the fields of `DeletedMessage`.
pub(super) const DELETE_MESSAGE: &str = "DELETE FROM message WHERE id = ?1 AND agent = ?2 \
    RETURNING id, agent, size, expires_at, receipt";
pub(super) const DELETE_MESSAGE_OF_TOPIC: &str = "DELETE FROM message WHERE subscription = ?1 AND topic = ?2 \
    RETURNING id, agent, size, expires_at, receipt";
pub(super) const DELETE_MESSAGES_OF_SUBSCRIPTION: &str = "DELETE FROM message WHERE agent = ?1 AND subscription = ?2 \
    RETURNING id, agent, size, expires_at, receipt";
pub(super) const DELETE_MESSAGES_OF_AGENT: &str = "DELETE FROM message WHERE agent = ?1 \
    RETURNING id, agent, size, expires_at, receipt";
pub(super) const DELETE_EXPIRED_OF_AGENT: &str = "DELETE FROM message WHERE agent = ?1 AND expires_at <= ?2 \
    RETURNING id, agent, size, expires_at, receipt";

pub(super) const SWEEP: &str = "DELETE FROM message WHERE id IN (SELECT id FROM message \
    WHERE expires_at / 600000 < ?1 ORDER BY expires_at / 600000, id LIMIT ?2) \
    RETURNING id, agent, size, expires_at, receipt";
pub(super) const SWEEP_MORE: &str = "SELECT EXISTS (SELECT 1 FROM message WHERE expires_at / 600000 < ?1)";
pub(super) const SWEEP_EXACTLY: &str = "DELETE FROM message WHERE id IN (SELECT id FROM message \
    WHERE receipt IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2) \
    RETURNING id, agent, size, expires_at, receipt";
pub(super) const SWEEP_EXACTLY_MORE: &str =
    "SELECT EXISTS (SELECT 1 FROM message WHERE receipt IS NOT NULL AND expires_at <= ?1)";

// Only when the store is opened: they walk through whole indexes.
pub(super) const TOTAL_AGENTS: &str = "SELECT count(*), (SELECT count(*) FROM agent WHERE used = 0) FROM agent";
pub(super) const TOTAL_SUBSCRIPTIONS: &str = "SELECT count(*) FROM subscription";
pub(super) const TOTAL_MESSAGES: &str = "SELECT count(*), \
    coalesce(sum(size) FILTER (WHERE size BETWEEN 0 AND 4294967295), 0) FROM message INDEXED BY message_by_agent";
pub(super) const TOTAL_RECEIPTS: &str = "SELECT count(*) FROM receipt";
pub(super) const TOTAL_RECEIPT_SUBSCRIPTIONS: &str =
    "SELECT count(*), (SELECT count(*) FROM receipt_subscription WHERE used = 0) FROM receipt_subscription";

pub(super) const FREE_PAGES: &str = "PRAGMA freelist_count";

/// One sweep returns at most a MiB.
pub(super) const RETURN_FREE_PAGES: &str = "PRAGMA incremental_vacuum(256)";

pub(super) const PENDING: &str = "SELECT id, subscription, urgency, expires_at, size FROM message \
    WHERE agent = ?1 AND id > ?2 AND expires_at > ?3 ORDER BY id";
pub(super) const MESSAGE: &str = "SELECT id, subscription, urgency, expires_at, headers, body FROM message \
    WHERE id = ?1 AND expires_at > ?2";

pub(super) const RECEIPT_SUBSCRIPTION_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM receipt_subscription WHERE id = ?1)";
pub(super) const INSERT_RECEIPT_SUBSCRIPTION: &str =
    "INSERT INTO receipt_subscription (id, last_used, used) VALUES (?1, ?2, 0)";
pub(super) const DELETE_RECEIPT_SUBSCRIPTION: &str = "DELETE FROM receipt_subscription WHERE id = ?1 RETURNING used";
pub(super) const RECEIPT_SUBSCRIPTION_IS_TAKEN: &str =
    "UPDATE receipt_subscription SET used = 1 WHERE id = ?1 AND used = 0";
pub(super) const UNUSED_RECEIPT_SUBSCRIPTIONS: &str =
    "SELECT id FROM receipt_subscription WHERE used = 0 AND last_used < ?1 ORDER BY last_used, id LIMIT ?2";
pub(super) const USE_RECEIPT_SUBSCRIPTION: &str = "UPDATE receipt_subscription SET last_used = ?2 WHERE id = ?1";
pub(super) const IDLE_RECEIPT_SUBSCRIPTIONS: &str =
    "SELECT id FROM receipt_subscription WHERE last_used < ?1 ORDER BY last_used, id LIMIT ?2";
pub(super) const UNTAKEN: &str = "SELECT last_used, (SELECT count(*) FROM receipt WHERE receipt_subscription = ?1 \
    AND seq > coalesce((SELECT up_to FROM taken WHERE receipt_subscription = ?1), 0)) \
    FROM receipt_subscription WHERE id = ?1";

pub(super) const INSERT_RECEIPT: &str =
    "INSERT INTO receipt (seq, receipt_subscription, message, agent, outcome, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
pub(super) const DELETE_RECEIPTS: &str = "DELETE FROM receipt WHERE seq IN (SELECT seq FROM receipt \
    WHERE receipt_subscription = ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3)";
pub(super) const NOTE_TAKEN: &str = "INSERT INTO taken (receipt_subscription, up_to) VALUES (?1, ?2) \
    ON CONFLICT (receipt_subscription) DO UPDATE SET up_to = max(up_to, excluded.up_to)";
pub(super) const FIRST_TAKEN: &str = "SELECT receipt_subscription, up_to FROM taken WHERE receipt_subscription >= 0 ORDER BY receipt_subscription LIMIT 1";
pub(super) const FORGET_TAKEN: &str = "DELETE FROM taken WHERE receipt_subscription = ?1";
pub(super) const RECEIPTS: &str = "SELECT seq, message, agent, outcome, at FROM receipt \
    WHERE receipt_subscription = ?1 AND seq > ?2 \
    AND seq > coalesce((SELECT up_to FROM taken WHERE receipt_subscription = ?1), 0) \
    ORDER BY seq";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[&str] = &[
        GREATEST_MESSAGE,
        RAISE_MARK,
        AGENT_EXISTS,
        FIRST_AGENTS,
        LAST_AGENTS,
        INSERT_AGENT,
        DELETE_AGENT,
        AGENT_LAST_SEEN,
        SEE_AGENT,
        IDLE_AGENTS,
        USE_AGENT,
        FILL_AGENT,
        EMPTY_AGENT,
        UNUSED_AGENTS,
        EMPTY_AGENTS,
        RECEIPT_SUBSCRIPTION_IS_TAKEN,
        UNUSED_RECEIPT_SUBSCRIPTIONS,
        DELETE_RECEIPT_SUBSCRIPTION,
        SUBSCRIPTION,
        SUBSCRIPTIONS_OF,
        SUBSCRIPTION_OF_CHANNEL,
        CHANNEL_EXISTS,
        SUBSCRIPTION_EXISTS,
        SUBSCRIPTION_OF_AGENT_EXISTS,
        COUNT_SUBSCRIPTIONS,
        INSERT_SUBSCRIPTION,
        DELETE_SUBSCRIPTION,
        DELETE_SUBSCRIPTIONS_OF,
        MESSAGE_EXISTS,
        MESSAGE_OF_TOPIC,
        INSERT_MESSAGE,
        DELETE_MESSAGE,
        DELETE_MESSAGE_OF_TOPIC,
        DELETE_MESSAGES_OF_SUBSCRIPTION,
        DELETE_MESSAGES_OF_AGENT,
        DELETE_EXPIRED_OF_AGENT,
        USAGE,
        USAGE_OF_SUBSCRIPTION,
        SWEEP,
        SWEEP_MORE,
        SWEEP_EXACTLY,
        SWEEP_EXACTLY_MORE,
        PENDING,
        MESSAGE,
        RECEIPT_SUBSCRIPTION_EXISTS,
        INSERT_RECEIPT_SUBSCRIPTION,
        DELETE_RECEIPT_SUBSCRIPTION,
        USE_RECEIPT_SUBSCRIPTION,
        IDLE_RECEIPT_SUBSCRIPTIONS,
        UNTAKEN,
        INSERT_RECEIPT,
        DELETE_RECEIPTS,
        NOTE_TAKEN,
        FIRST_TAKEN,
        FORGET_TAKEN,
        RECEIPTS,
    ];

    fn plan(conn: &rusqlite::Connection, sql: &str) -> String {
        let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let unbound = explain.parameter_count();
        let params = rusqlite::params_from_iter(std::iter::repeat_n(1, unbound));
        let steps = explain.query_map(params, |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn no_statement_scans_a_table_or_sorts() {
        let dir = tempfile::tempdir().unwrap();
        let (conn, _, _file) = super::super::open::writer(dir.path(), None).unwrap();
        for sql in ALL {
            let plan = plan(&conn, sql);
            let scans =
                ["SCAN agent", "SCAN subscription", "SCAN message", "SCAN receipt", "SCAN taken", "TEMP B-TREE"];
            assert!(!scans.iter().any(|step| plan.contains(step)), "{sql}\n{plan}");
        }
        assert!(plan(&conn, PENDING).contains("COVERING INDEX message_by_agent"));
        assert!(plan(&conn, USAGE).contains("COVERING INDEX message_by_agent"));
        assert!(plan(&conn, USAGE_OF_SUBSCRIPTION).contains("COVERING INDEX message_by_agent"));
        assert!(plan(&conn, SWEEP_EXACTLY).contains("INDEX message_by_exact_expiry"));
        assert!(plan(&conn, UNUSED_AGENTS).contains("INDEX agent_unused"));
        assert!(plan(&conn, EMPTY_AGENTS).contains("INDEX agent_empty"));
        assert!(plan(&conn, TOTAL_MESSAGES).contains("COVERING INDEX message_by_agent"));
        assert!(plan(&conn, SUBSCRIPTION_OF_CHANNEL).contains("INDEX subscription_by_channel"));
        assert!(plan(&conn, RECEIPTS).contains("INDEX receipt_by_subscription"));
    }
}
