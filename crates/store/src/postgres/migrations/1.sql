-- Schema 1: the tables of SQLite's format 4, and who may write them. Ids are minted by the service, and times are
-- milliseconds since 1970, except lease_until, which is the database's own.

-- One row: which store this is, and which versions may use it.
CREATE TABLE cluster (
    id smallint PRIMARY KEY CHECK (id = 1),
    -- NULL: no service uses it yet.
    cluster_id text,
    cell smallint NOT NULL,
    -- The newest step that was run, and the oldest schema whose programs may still use the database.
    schema int NOT NULL,
    schema_min int NOT NULL,
    -- The newest step whose transaction was run; its indexes may be missing yet.
    expanded int NOT NULL
);
INSERT INTO cluster (id, cell, schema, schema_min, expanded) VALUES (1, 0, 1, 1, 1);

-- One row while an import is unfinished: where from, and the checksum of that source's record and counts.
CREATE TABLE transfer (
    id smallint PRIMARY KEY CHECK (id = 1),
    source text NOT NULL,
    checksum text NOT NULL
);

-- Who writes: one life at a time holds a number, and each of its batches begins with this row (doorbell_fence).
CREATE TABLE node (
    id smallint PRIMARY KEY CHECK (id BETWEEN 1 AND 1023),
    -- Rises with each stay of a process.
    life bigint NOT NULL,
    -- The last batch that was committed, and the last that may not be committed any more.
    batch bigint NOT NULL,
    barred bigint NOT NULL,
    lease_until timestamptz NOT NULL,
    -- No greater id, and no greater number of a receipt, was ever committed by this number.
    ids_until bigint NOT NULL,
    seq bigint NOT NULL,
    -- The process, for the operator.
    holder text NOT NULL,
    -- The newest schema that it knows.
    schema int NOT NULL,
    -- 0 up, 2 ended.
    state smallint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO node (id, life, batch, barred, lease_until, ids_until, seq, holder, schema, state)
    VALUES (1, 0, 0, 0, '-infinity', 0, 0, '', 0, 2);

-- Fence, lease and marker in one: a batch of a life that is over, or one that was given up, goes no further.
CREATE FUNCTION doorbell_fence(n smallint, l bigint, b bigint, ids bigint, s bigint) RETURNS void LANGUAGE plpgsql AS $f$
BEGIN
    UPDATE node SET batch = b, ids_until = greatest(ids_until, ids), seq = greatest(seq, s),
        lease_until = now() + interval '5 s'
        WHERE id = n AND life = l AND state < 2 AND batch < b AND barred < b;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this life is over' USING ERRCODE = 'DB001';
    END IF;
END $f$;

-- The clock of the service.
CREATE TABLE clock (
    id smallint PRIMARY KEY CHECK (id = 1),
    served bigint,
    time bigint,
    wall bigint,
    newest_wall bigint,
    boot bigint,
    boot_id text
);
INSERT INTO clock (id) VALUES (1);

CREATE TABLE agent (
    id bigint PRIMARY KEY,
    created bigint NOT NULL,
    last_seen bigint NOT NULL,
    used boolean NOT NULL,
    empty boolean NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX agent_by_last_seen ON agent (last_seen, id);
CREATE INDEX agent_unused ON agent (last_seen, id) WHERE NOT used;
CREATE INDEX agent_empty ON agent (last_seen, id) WHERE empty;

CREATE TABLE subscription (
    id bigint PRIMARY KEY,
    agent bigint NOT NULL,
    vapid_key bytea,
    -- UTF-8 of any characters: a text holds no NUL.
    channel bytea,
    created bigint NOT NULL
);
CREATE INDEX subscription_by_agent ON subscription (agent, id);
-- An index holds no row above 2,704 bytes.
CREATE UNIQUE INDEX subscription_by_channel ON subscription (agent, sha256(channel)) WHERE channel IS NOT NULL;

CREATE TABLE message (
    id bigint PRIMARY KEY,
    agent bigint NOT NULL,
    subscription bigint NOT NULL,
    expires_at bigint NOT NULL,
    urgency smallint NOT NULL CHECK (urgency BETWEEN 0 AND 3),
    size bigint NOT NULL CHECK (size BETWEEN 0 AND 4294967295),
    topic text,
    receipt bigint,
    headers bytea NOT NULL,
    body bytea NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_vacuum_cost_limit = 5000
);
-- They are encrypted: compressing them is in vain.
ALTER TABLE message ALTER COLUMN headers SET STORAGE EXTERNAL, ALTER COLUMN body SET STORAGE EXTERNAL;
-- Lists what waits for an agent, and counts its quota, without touching the rows and their bodies.
CREATE INDEX message_by_agent ON message (agent, id) INCLUDE (subscription, expires_at, urgency, size);
CREATE UNIQUE INDEX message_by_topic ON message (subscription, topic) WHERE topic IS NOT NULL;
CREATE INDEX message_by_expiry ON message ((expires_at / 600000), id);
CREATE INDEX message_by_exact_expiry ON message (expires_at, id) WHERE receipt IS NOT NULL;

CREATE TABLE receipt_subscription (
    id bigint PRIMARY KEY,
    last_used bigint NOT NULL,
    used boolean NOT NULL,
    -- How many receipts it has.
    untaken bigint NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX receipt_subscription_by_use ON receipt_subscription (last_used, id);
CREATE INDEX receipt_subscription_unused ON receipt_subscription (last_used, id) WHERE NOT used;

CREATE TABLE receipt (
    receipt_subscription bigint NOT NULL,
    seq bigint NOT NULL,
    message bigint NOT NULL,
    agent bigint NOT NULL,
    outcome smallint NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (receipt_subscription, seq)
);
