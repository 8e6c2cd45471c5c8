-- Format 1: agents, their subscriptions and the messages that wait for them. Ids are minted by the service, and
-- times are milliseconds since 1970.

CREATE TABLE agent (
    id INTEGER PRIMARY KEY,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE subscription (
    id INTEGER PRIMARY KEY,
    agent INTEGER NOT NULL,
    vapid_key BLOB,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX subscription_by_agent ON subscription (agent);

CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    agent INTEGER NOT NULL,
    subscription INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    urgency INTEGER NOT NULL,
    size INTEGER NOT NULL,
    topic TEXT,
    headers BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
-- Lists what waits for an agent, and counts its quota, without touching the rows and their bodies.
CREATE INDEX message_by_agent ON message (agent, id, subscription, expires_at, urgency, size);
-- RFC 8030 s5.4: one outstanding message for each topic of a subscription.
CREATE UNIQUE INDEX message_by_topic ON message (subscription, topic) WHERE topic IS NOT NULL;
-- By ten-minute span, so that a new message lands among neighbours rather than on a page of its own.
CREATE INDEX message_by_expiry ON message (expires_at / 600000);

-- The greatest id ever kept, in one row: ids are not given out twice, even if the newest rows were deleted and the
-- clock stepped back.
CREATE TABLE mark (greatest_id INTEGER NOT NULL) STRICT;
INSERT INTO mark VALUES (0);
