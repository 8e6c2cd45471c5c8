-- Format 4: the service's clock, so that it continues after a restart whatever the wall clock shows then.

-- Its time, the wall clock and the boot clock at the last record, and the machine's run that the boot clock counts.
ALTER TABLE mark ADD COLUMN time INTEGER;
ALTER TABLE mark ADD COLUMN wall INTEGER;
ALTER TABLE mark ADD COLUMN newest_wall INTEGER;
ALTER TABLE mark ADD COLUMN boot INTEGER;
ALTER TABLE mark ADD COLUMN boot_id TEXT;

-- How long the service has run, by which agents and receipt subscriptions age. It begins at the last use of any of them,
-- and not after the present: so no one is older by this step, also if one of the two was recorded by a wrong clock.
ALTER TABLE mark ADD COLUMN served INTEGER;
UPDATE mark SET served = (
    SELECT min(max(last), unixepoch() * 1000)
    FROM (SELECT max(last_seen) AS last FROM agent UNION ALL SELECT max(last_used) FROM receipt_subscription)
);
