-- Format 3: the name that an agent gave to a subscription itself (Firefox's channelID), for the doors whose agents know
-- their subscriptions by such a name and not by our URLs. One agent uses a name once.
ALTER TABLE subscription ADD COLUMN channel TEXT;
CREATE UNIQUE INDEX subscription_by_channel ON subscription (agent, channel) WHERE channel IS NOT NULL;
