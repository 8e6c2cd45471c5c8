-- Format 2: receipts (RFC 8030 s5.1), and when agents were last seen.

-- Where an application server hears what became of its messages.
CREATE TABLE receipt_subscription (
    id INTEGER PRIMARY KEY,
    last_used INTEGER NOT NULL
) STRICT;
CREATE INDEX receipt_subscription_by_use ON receipt_subscription (last_used);

-- What became of a message, until its application server has taken it. The numbers rise from commit to commit and
-- none is given twice (mark.greatest_seq).
CREATE TABLE receipt (
    seq INTEGER PRIMARY KEY,
    receipt_subscription INTEGER NOT NULL,
    message INTEGER NOT NULL,
    agent INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX receipt_by_subscription ON receipt (receipt_subscription, seq);

-- Receipts up to a number that count as taken and whose rows are still to be deleted, because they were too many for
-- one transaction.
CREATE TABLE taken (
    receipt_subscription INTEGER PRIMARY KEY,
    up_to INTEGER NOT NULL
) STRICT;

ALTER TABLE mark ADD COLUMN greatest_seq INTEGER NOT NULL DEFAULT 0;

-- The receipt subscription that hears of a message. It may be gone by then: that is looked up when the time comes.
ALTER TABLE message ADD COLUMN receipt INTEGER;
-- Only messages that want a receipt are in it; the others are swept by message_by_expiry.
CREATE INDEX message_by_exact_expiry ON message (expires_at) WHERE receipt IS NOT NULL;

-- Nobody noted so far when an agent was seen, so that its time starts now.
ALTER TABLE agent ADD COLUMN last_seen INTEGER NOT NULL DEFAULT 0;
UPDATE agent SET last_seen = max(created, unixepoch() * 1000);
CREATE INDEX agent_by_last_seen ON agent (last_seen);
