//! The limits of everything (invariant 7), each with its reason.

use std::time::Duration;

use http::StatusCode;

use super::error::ConfigError;
use super::settings::Settings;

/// More connections than any machine holds.
const CONNECTIONS_MAX: usize = 1 << 24;

/// How much of everything the service accepts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest TTL, in seconds: it limits how long a device that never returns uses disk space.
    pub ttl_max_secs: u32,
    /// The largest body, in bytes; RFC 8030 s7.2 forbids less than 4096.
    pub body_max: usize,
    /// Stored messages per agent; one subscription gets half. Limits the memory of an agent's mailbox.
    pub messages_per_agent_max: u32,
    /// Stored bytes per agent.
    pub bytes_per_agent_max: u64,
    /// Subscriptions per agent: limits a set.
    pub subscriptions_per_agent_max: u32,
    /// Agents in the whole store: each takes some hundred bytes of disk, and anybody may create one.
    pub agents_max: u32,
    /// Agents that were never used: they may not take the places of all others.
    pub unused_agents_max: u32,
    /// New agents per minute from all clients together, 0 for no limit. Limits how fast the store can be filled.
    pub new_agents_per_minute: u32,
    /// The same from one source, so that it does not keep all others out.
    pub new_agents_per_source: u32,
    /// Subscriptions in the whole store.
    pub subscriptions_max: u32,
    /// Bytes of messages and receipts in the whole store: agents are many, and each may store some MiB.
    pub stored_bytes_max: u64,
    /// Receipt subscriptions in the whole store.
    pub receipt_subscriptions_max: u32,
    /// Receipt subscriptions from which no receipt was ever taken.
    pub unused_receipt_subscriptions_max: u32,
    /// New receipt subscriptions per minute from all senders together, 0 for no limit.
    pub new_receipt_subscriptions_per_minute: u32,
    /// The same from one source.
    pub new_receipt_subscriptions_per_source: u32,
    /// The file that is given up when the disk is full: to free room needs some room.
    pub disk_reserve_bytes: u64,
    /// Free disk below which the store does not grow: other programs need some too.
    pub disk_floor_bytes: u64,
    /// Open connections: each uses memory before its first request.
    pub connections_max: usize,
    /// Of these, the ones that clients without a subscription may have: they can open connections without end, and
    /// must not keep out the agents that are waited for.
    pub strangers_max: usize,
    /// An HTTP/2 connection without a request in progress is closed after this. Clients must read what is sent over
    /// HTTP/2, a WebSocket or MCS within it.
    pub idle_timeout: Duration,
    /// The time limit of each of these: TLS handshake, HTTP/1.1 request head (with the silence before it), request
    /// body, and the hello or login of a socket. Slow senders hold resources.
    pub request_timeout: Duration,
    /// The longest message that a WebSocket client may send, in bytes: it stays in memory until it is complete.
    pub websocket_frame_max: usize,
    /// Unacknowledged pushes on one delivery stream; fewer if the peer allows fewer.
    pub window: u16,
    /// An unacknowledged push is offered again after this.
    pub ack_timeout: Duration,
    /// Submissions of one shard that wait for the store; more get 429. The same number of acknowledgements may wait.
    pub submissions_max: usize,
    /// Memory of messages with TTL 0, which no store has: those above it are dropped. Agents that take nothing must not
    /// use up the memory of the service.
    pub transient_bytes_max: usize,
    /// Memory of copies of stored messages that wait for their agents to take them: near it, the service reads them
    /// from the store one by one.
    pub copied_bytes_max: usize,
    /// Stopping takes no longer than this.
    pub drain_timeout: Duration,
    /// Messages to one subscription per minute, 0 for no limit. Protects the device.
    pub per_subscription_per_minute: u32,
    /// Messages from one application server key per minute, 0 for no limit. Protects the service.
    pub per_key_per_minute: u32,
    /// Receipts that wait in one receipt subscription: limits the cost of an application server that never fetches
    /// them.
    pub receipts_per_subscription_max: u32,
    /// Agents and receipt subscriptions are removed after this time without use. A receipt subscription stays at least
    /// as long as a message that names it may.
    pub idle_expiry: Duration,
    /// An idle event stream sends a comment at this interval: otherwise proxies close it.
    pub keepalive: Duration,
    /// Reports of waiting messages for one agent in an hour, over all its wake streams: each may start a browser, and a
    /// site that sends every minute must not start it every minute.
    pub wakes_per_hour: usize,
    /// How often expired messages are removed from disk (they are never delivered, removed or not).
    pub sweep_interval: Duration,
    /// The answer for a removed subscription: 404, or 410 like Mozilla's service.
    pub gone_status: StatusCode,
    /// The answer to wrong VAPID credentials: 403, or 401 like Mozilla's service.
    pub vapid_status: StatusCode,
}

impl Limits {
    pub(super) fn from_settings(s: &Settings) -> Result<Self, ConfigError> {
        let unfit = |text: &str| Err(ConfigError::Unfit(text.into()));
        let compat = s.compat();
        let body_max = s.body_max.unwrap_or_else(|| compat.body_max());
        if !(4096..=1 << 20).contains(&body_max) {
            return unfit("body_max must be between 4096 (the minimum of RFC 8030 s7.2) and 1048576");
        }
        let gone_status = match s.gone_status {
            None => compat.gone_status(),
            Some(404) => StatusCode::NOT_FOUND,
            Some(410) => StatusCode::GONE,
            Some(_) => return unfit("gone_status must be 404 (RFC 8030) or 410 (as Mozilla, Google and Apple answer)"),
        };
        let vapid_status = match s.vapid_status {
            None => compat.vapid_status(),
            Some(403) => StatusCode::FORBIDDEN,
            Some(401) => StatusCode::UNAUTHORIZED,
            Some(_) => return unfit("vapid_status must be 403 (RFC 8292) or 401 (as Mozilla answers)"),
        };
        let ttl_max_secs = s.ttl_max_secs();
        if ttl_max_secs > 1 << 31 {
            return unfit("ttl_max_secs must be at most 2147483648 (RFC 8030 s5.2)");
        }
        let connections_max = s.connections_max();
        if !(1..=CONNECTIONS_MAX).contains(&connections_max) {
            return unfit("connections_max must be between 1 and 16777216");
        }
        let disk_reserve_bytes = s.disk_reserve_bytes();
        if disk_reserve_bytes != 0 && !(2 << 20..=4 << 30).contains(&disk_reserve_bytes) {
            return unfit("disk_reserve_bytes must be 0 or between 2097152 (2 MiB) and 4294967296 (4 GiB)");
        }
        let ack_timeout = Duration::from_secs(s.ack_timeout_secs());
        if ack_timeout.is_zero() {
            return unfit("ack_timeout_secs must be at least 1: agents need time to acknowledge");
        }
        Ok(Self {
            ttl_max_secs,
            body_max,
            messages_per_agent_max: s.messages_per_agent_max(),
            bytes_per_agent_max: s.bytes_per_agent_max(),
            subscriptions_per_agent_max: s.subscriptions_per_agent_max(),
            agents_max: s.agents_max(),
            unused_agents_max: s.unused_agents_max(),
            new_agents_per_minute: s.new_agents_per_minute(),
            new_agents_per_source: s.new_agents_per_source(),
            subscriptions_max: s.subscriptions_max(),
            stored_bytes_max: s.stored_bytes_max(),
            receipt_subscriptions_max: s.receipt_subscriptions_max(),
            unused_receipt_subscriptions_max: s.unused_receipt_subscriptions_max(),
            new_receipt_subscriptions_per_minute: s.new_receipt_subscriptions_per_minute(),
            new_receipt_subscriptions_per_source: s.new_receipt_subscriptions_per_source(),
            disk_reserve_bytes,
            disk_floor_bytes: s.disk_floor_bytes(),
            connections_max,
            // A quarter is kept for agents with a subscription.
            strangers_max: strangers_of(connections_max),
            idle_timeout: Duration::from_secs(s.idle_timeout_secs().max(1)),
            request_timeout: Duration::from_secs(10),
            websocket_frame_max: doorbell_protocol::firefox::FRAME_MAX,
            window: 100,
            ack_timeout,
            submissions_max: 8192,
            transient_bytes_max: 32 << 20,
            copied_bytes_max: 32 << 20,
            drain_timeout: Duration::from_secs(s.drain_timeout_secs()),
            per_subscription_per_minute: s.rate_per_subscription(),
            per_key_per_minute: s.rate_per_key(),
            receipts_per_subscription_max: s.receipts_per_subscription_max().max(1),
            idle_expiry: Duration::from_secs(u64::from(s.idle_expiry_days().max(1)) * 24 * 3600),
            keepalive: Duration::from_secs(s.keepalive_secs().max(1)),
            wakes_per_hour: 12,
            // Often, because an expired message may owe a receipt; a sweep that finds nothing costs nothing.
            sweep_interval: Duration::from_secs(1),
            gone_status,
            vapid_status,
        })
    }
}

/// Of so many connections, those that clients without a subscription may have.
pub(super) fn strangers_of(connections_max: usize) -> usize {
    (connections_max - connections_max / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_cannot_be_kept_is_an_error_and_not_a_panic_later() {
        for connections_max in [0, usize::MAX] {
            let settings = Settings { connections_max: Some(connections_max), ..Settings::default() };
            assert!(Limits::from_settings(&settings).is_err(), "{connections_max}");
        }
    }
}
