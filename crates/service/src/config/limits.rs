//! The bounds of everything (invariant 7), each with its reason.

use std::time::Duration;

use http::StatusCode;

use super::error::ConfigError;
use super::settings::Settings;

/// More connections than any machine holds.
const CONNECTIONS_MAX: usize = 1 << 24;

/// How much of everything the service takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest TTL, in seconds: bounds how long a device that never comes back costs disk.
    pub ttl_max_secs: u32,
    /// The largest body, in octets; RFC 8030 s7.2 forbids less than 4096.
    pub body_max: usize,
    /// Stored messages per agent, of which one subscription has half: bounds what an agent's mailbox takes in memory.
    pub messages_per_agent_max: u32,
    /// Stored octets per agent.
    pub bytes_per_agent_max: u64,
    /// Subscriptions per agent: bounds a set.
    pub subscriptions_per_agent_max: u32,
    /// Open connections: each costs memory before it has said anything.
    pub connections_max: usize,
    /// An HTTP/2 connection without a request in progress is closed after this, and what is sent over HTTP/2, a WebSocket
    /// or MCS must be read within it.
    pub idle_timeout: Duration,
    /// TLS handshake, HTTP/1.1 request head (with the silence before it), request body, and the hello or login of a
    /// socket must each be complete within this: slow senders hold resources.
    pub request_timeout: Duration,
    /// The longest message that a WebSocket client may send, in octets: it is in memory until it is whole.
    pub websocket_frame_max: usize,
    /// Unacknowledged pushes on one delivery stream; less where the peer allows less.
    pub window: u16,
    /// An unacknowledged push is offered again after this.
    pub ack_timeout: Duration,
    /// Submissions in one shard that wait for the store; more get 429. As many acknowledgements may wait beside them.
    pub submissions_max: usize,
    /// Stopping takes no longer than this.
    pub drain_timeout: Duration,
    /// Messages that one subscription takes in a minute; 0: as many as come. Protects the device behind it.
    pub per_subscription_per_minute: u32,
    /// Messages that one application server key may send in a minute; 0: as many as come. Protects the service.
    pub per_key_per_minute: u32,
    /// Receipts that wait in one receipt subscription: bounds what an application server that never asks costs.
    pub receipts_per_subscription_max: u32,
    /// Agents and receipt subscriptions that nobody has used for this long are removed.
    /// A receipt subscription stays at least as long as a message may that names it.
    pub idle_expiry: Duration,
    /// An event stream on which nothing happens says so this often, or proxies take it for dead.
    pub keepalive: Duration,
    /// How often expired messages are removed from disk (they are never delivered, swept or not).
    pub sweep_interval: Duration,
    /// The answer for a subscription that is gone: 404, or 410 for parity with Mozilla's service.
    pub gone_status: StatusCode,
}

impl Limits {
    pub(super) fn from_settings(s: &Settings) -> Result<Self, ConfigError> {
        let unfit = |text: &str| Err(ConfigError::Unfit(text.into()));
        let body_max = s.body_max.unwrap_or(4096);
        if !(4096..=1 << 20).contains(&body_max) {
            return unfit("body_max must be between 4096 (RFC 8030 s7.2 asks that much of a push service) and 1048576");
        }
        let gone_status = match s.gone_status.unwrap_or(404) {
            404 => StatusCode::NOT_FOUND,
            410 => StatusCode::GONE,
            _ => return unfit("gone_status must be 404 (RFC 8030) or 410 (as Mozilla, Google and Apple answer)"),
        };
        let ttl_max_secs = s.ttl_max_secs.unwrap_or(2_592_000);
        if ttl_max_secs > 1 << 31 {
            return unfit("ttl_max_secs must be at most 2147483648 (RFC 8030 s5.2)");
        }
        let connections_max = s.connections_max.unwrap_or(16_384);
        if !(1..=CONNECTIONS_MAX).contains(&connections_max) {
            return unfit("connections_max must be between 1 and 16777216");
        }
        let ack_timeout = Duration::from_secs(s.ack_timeout_secs.unwrap_or(30));
        if ack_timeout.is_zero() {
            return unfit("ack_timeout_secs must be at least 1: agents need time to acknowledge");
        }
        Ok(Self {
            ttl_max_secs,
            body_max,
            messages_per_agent_max: s.messages_per_agent_max.unwrap_or(20_000),
            bytes_per_agent_max: s.bytes_per_agent_max.unwrap_or(32 << 20),
            subscriptions_per_agent_max: s.subscriptions_per_agent_max.unwrap_or(1000),
            connections_max,
            idle_timeout: Duration::from_secs(s.idle_timeout_secs.unwrap_or(120).max(1)),
            request_timeout: Duration::from_secs(10),
            websocket_frame_max: doorbell_protocol::firefox::FRAME_MAX,
            window: 100,
            ack_timeout,
            submissions_max: 8192,
            drain_timeout: Duration::from_secs(s.drain_timeout_secs.unwrap_or(10)),
            per_subscription_per_minute: s.rate_per_subscription.unwrap_or(1200),
            per_key_per_minute: s.rate_per_key.unwrap_or(120_000),
            receipts_per_subscription_max: s.receipts_per_subscription_max.unwrap_or(10_000).max(1),
            idle_expiry: Duration::from_secs(u64::from(s.idle_expiry_days.unwrap_or(90).max(1)) * 24 * 3600),
            keepalive: Duration::from_secs(s.keepalive_secs.unwrap_or(30).max(1)),
            // Often, because an expired message may have a receipt to give; a sweep that finds nothing costs nothing.
            sweep_interval: Duration::from_secs(1),
            gone_status,
        })
    }
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
