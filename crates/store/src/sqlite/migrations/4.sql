-- Format 4: what was ever used. Creating an agent or a receipt subscription needs no permission, so the unused ones have
-- a share of the store.

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
