//! Every statement of the SQLite engine. A test asks the planner that none of them walks through a whole table.

pub(super) const MARK: &str = "SELECT greatest_id FROM mark";
pub(super) const RAISE_MARK: &str = "UPDATE mark SET greatest_id = max(greatest_id, ?1)";

pub(super) const AGENT_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM agent WHERE id = ?1)";
pub(super) const INSERT_AGENT: &str = "INSERT INTO agent (id, created) VALUES (?1, ?2)";
pub(super) const DELETE_AGENT: &str = "DELETE FROM agent WHERE id = ?1";

pub(super) const SUBSCRIPTION: &str = "SELECT id, agent, vapid_key, created FROM subscription WHERE id = ?1";
pub(super) const SUBSCRIPTIONS_OF: &str =
    "SELECT id, agent, vapid_key, created FROM subscription WHERE agent = ?1 ORDER BY id";
pub(super) const SUBSCRIPTION_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM subscription WHERE id = ?1)";
pub(super) const SUBSCRIPTION_OF_AGENT_EXISTS: &str =
    "SELECT EXISTS (SELECT 1 FROM subscription WHERE id = ?1 AND agent = ?2)";
pub(super) const COUNT_SUBSCRIPTIONS: &str = "SELECT count(*) FROM subscription WHERE agent = ?1";
pub(super) const INSERT_SUBSCRIPTION: &str =
    "INSERT INTO subscription (id, agent, vapid_key, created) VALUES (?1, ?2, ?3, ?4)";
pub(super) const DELETE_SUBSCRIPTION: &str = "DELETE FROM subscription WHERE id = ?1 AND agent = ?2";
pub(super) const DELETE_SUBSCRIPTIONS_OF: &str = "DELETE FROM subscription WHERE agent = ?1";

pub(super) const MESSAGE_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM message WHERE id = ?1)";
pub(super) const MESSAGE_OF_TOPIC: &str = "SELECT id, size FROM message WHERE subscription = ?1 AND topic = ?2";
pub(super) const INSERT_MESSAGE: &str = "INSERT INTO message \
    (id, agent, subscription, expires_at, urgency, size, topic, headers, body) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
pub(super) const DELETE_MESSAGE: &str = "DELETE FROM message WHERE id = ?1 AND agent = ?2 RETURNING size";
pub(super) const DELETE_MESSAGES_OF_SUBSCRIPTION: &str = "DELETE FROM message WHERE agent = ?1 AND subscription = ?2";
pub(super) const DELETE_MESSAGES_OF_AGENT: &str = "DELETE FROM message WHERE agent = ?1";
pub(super) const DELETE_EXPIRED_OF_AGENT: &str = "DELETE FROM message WHERE agent = ?1 AND expires_at <= ?2";
pub(super) const USAGE: &str = "SELECT count(*), coalesce(sum(size), 0), min(expires_at) FROM message WHERE agent = ?1";

pub(super) const SWEEP: &str = "DELETE FROM message WHERE id IN (SELECT id FROM message \
    WHERE expires_at / 600000 < ?1 ORDER BY expires_at / 600000, id LIMIT ?2) RETURNING agent, size";
pub(super) const SWEEP_MORE: &str = "SELECT EXISTS (SELECT 1 FROM message WHERE expires_at / 600000 < ?1)";

/// One sweep gives back a MiB at most.
pub(super) const GIVE_BACK_PAGES: &str = "PRAGMA incremental_vacuum(256)";

pub(super) const PENDING: &str = "SELECT id, subscription, urgency, expires_at, size FROM message \
    WHERE agent = ?1 AND id > ?2 AND expires_at > ?3 ORDER BY id LIMIT ?4";
pub(super) const MESSAGE: &str = "SELECT id, subscription, urgency, expires_at, headers, body FROM message \
    WHERE id = ?1 AND expires_at > ?2";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[&str] = &[
        RAISE_MARK,
        AGENT_EXISTS,
        INSERT_AGENT,
        DELETE_AGENT,
        SUBSCRIPTION,
        SUBSCRIPTIONS_OF,
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
        DELETE_MESSAGES_OF_SUBSCRIPTION,
        DELETE_MESSAGES_OF_AGENT,
        DELETE_EXPIRED_OF_AGENT,
        USAGE,
        SWEEP,
        SWEEP_MORE,
        PENDING,
        MESSAGE,
    ];

    fn plan(conn: &rusqlite::Connection, sql: &str) -> String {
        let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let unbound = explain.parameter_count();
        let params = rusqlite::params_from_iter(std::iter::repeat_n(1, unbound));
        let steps = explain.query_map(params, |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn no_statement_walks_through_a_table_or_sorts() {
        let dir = tempfile::tempdir().unwrap();
        let (conn, _) = super::super::open::writer(dir.path(), None).unwrap();
        for sql in ALL {
            let plan = plan(&conn, sql);
            let walks = ["SCAN agent", "SCAN subscription", "SCAN message", "TEMP B-TREE"];
            assert!(!walks.iter().any(|step| plan.contains(step)), "{sql}\n{plan}");
        }
        assert!(plan(&conn, PENDING).contains("COVERING INDEX message_by_agent"));
        assert!(plan(&conn, USAGE).contains("COVERING INDEX message_by_agent"));
    }
}
