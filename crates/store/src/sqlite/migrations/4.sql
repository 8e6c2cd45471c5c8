-- Format 4: the service's clock, so that it continues after a restart whatever the wall clock shows then; and what was
-- ever used: creating an agent or a receipt subscription needs no permission, so the unused ones have a share of the store.

-- Its time, the wall clock and the boot clock at the last record, and the machine's run that the boot clock counts.
ALTER TABLE mark ADD COLUMN time INTEGER;
ALTER TABLE mark ADD COLUMN wall INTEGER;
ALTER TABLE mark ADD COLUMN newest_wall INTEGER;
ALTER TABLE mark ADD COLUMN boot INTEGER;
ALTER TABLE mark ADD COLUMN boot_id TEXT;

-- Ids were never given out twice: after a wall clock that was ahead for a moment they stayed ahead, while messages went on
-- to expire by the wall clock. The clock of this format continues after the newest id, and these moments go with it. Ids
-- are milliseconds since 2026 above 22 other bits. A step below the second that unixepoch() cuts off is none, and a wall
-- clock before the release of this format (2026-09-01) shows nothing.
CREATE TEMP TABLE ahead AS
    SELECT (max(greatest_id, (SELECT coalesce(max(id), 0) FROM message)) >> 22) + 1767225600000 - unixepoch() * 1000 AS ms
    FROM mark WHERE unixepoch() >= 1788220800;
UPDATE message SET expires_at = expires_at + ahead.ms FROM temp.ahead WHERE ahead.ms > 1000;
UPDATE receipt SET at = at + ahead.ms FROM temp.ahead WHERE ahead.ms > 1000;
DROP TABLE temp.ahead;

-- How long the service has run, by which agents and receipt subscriptions age. It begins at the last use of any of them,
-- and not after the present: so no one is older by this step, also if one of the two was recorded by a wrong clock. A wall
-- clock before the release of this format counts as that moment: were it 1970, no one would age for decades.
ALTER TABLE mark ADD COLUMN served INTEGER;
UPDATE mark SET served = (
    SELECT min(max(last), max(unixepoch() * 1000, 1788220800000))
    FROM (SELECT max(last_seen) AS last FROM agent UNION ALL SELECT max(last_used) FROM receipt_subscription)
);

-- Whether a message was sent to the agent, or it was seen again. The old ones count as used.
ALTER TABLE agent ADD COLUMN used INTEGER NOT NULL DEFAULT 1;
CREATE INDEX agent_unused ON agent (last_seen) WHERE used = 0;

-- Whether the agent has no subscription.
ALTER TABLE agent ADD COLUMN empty INTEGER NOT NULL DEFAULT 0;
UPDATE agent SET empty = 1 WHERE NOT EXISTS (SELECT 1 FROM subscription WHERE subscription.agent = agent.id);
CREATE INDEX agent_empty ON agent (last_seen) WHERE empty = 1;

-- Whether its application server ever took a receipt.
ALTER TABLE receipt_subscription ADD COLUMN used INTEGER NOT NULL DEFAULT 1;
CREATE INDEX receipt_subscription_unused ON receipt_subscription (last_used) WHERE used = 0;
