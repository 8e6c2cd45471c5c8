//! Why a service rejects a request: no room on its disk or in an agent's share, a rate, a proxy.

use doorbell_protocol::problem::errno;
use doorbell_sender::client::Reply;

use super::report::Finding;

/// What a proxy must do, so that no user agent and no sender gives a subscription up.
pub(super) const AWAY: &str = "While the service is away, during a restart for example, a proxy must answer 502 or 503: \
    404 and 410 mean to user agents and senders that a subscription is gone";

/// A message that was not accepted.
pub(super) fn of(reply: &Reply) -> Finding {
    let why = &reply.explanation;
    let number = why.errno.and_then(|errno| u16::try_from(errno).ok());
    let words = if why.message.is_empty() { String::new() } else { format!(": {}", why.message) };
    let status = reply.status.as_u16();
    let code = match number {
        Some(number) => format!("{status}, errno {number}"),
        None => status.to_string(),
    };
    let (lack, fix) = lacking(status, number);
    Finding::failed(format!("{lack} ({code}){words}"), fix)
}

/// What an error answer means, and what to do.
pub(super) fn lacking(status: u16, number: Option<u16>) -> (&'static str, &'static str) {
    match (status, number) {
        (503, Some(errno::UNAVAILABLE)) => (
            "the disk or the database: the store cannot write, unless the service is just stopping",
            "see that the disk of the state directory (or the database that `doorbell status` names) is sound and that the \
             service may write there, and read its log",
        ),
        (502..=504, _) => (
            "the proxy does not reach the service",
            "start `doorbell serve`, compare its --listen with the proxy's upstream, and read the proxy's log",
        ),
        (429, Some(errno::QUOTA)) => (
            "the quota: a new subscription has no room for one message",
            "raise messages_per_agent_max and bytes_per_agent_max: they are meant for many messages",
        ),
        (429, Some(errno::STORE_FULL)) => (
            "the store is full: its disk has no room, or it holds as much as it may",
            "make room on the disk of the state directory or of the database, or raise the bound that its log or `serve --help` names \
             (agents_max, subscriptions_max, stored_bytes_max)",
        ),
        (429, Some(errno::RATE)) => (
            "a rate: one message, or one new agent or receipt subscription, was too many",
            "raise the limit that the answer names (rate_per_subscription, rate_per_key, new_agents_per_minute, \
             new_agents_per_source, and the same of receipt subscriptions), or wait a minute and try again",
        ),
        (429, Some(errno::CLOCK)) => (
            "the service's clock is wrong, or was set less than an hour ago",
            "set the clock of the service's machine (NTP), and compare it with the clock here",
        ),
        (429, _) => (
            "the service has more to do than it can",
            "try again later; if it stays so, give it more processor time or a faster disk",
        ),
        (401 | 403, _) => (
            "the signature is refused",
            "compare the clocks, and give the service the address that its users have with --public-url",
        ),
        (404 | 410, None) => ("a proxy answers in the service's place", AWAY),
        (404 | 410, Some(_)) => (
            "a new subscription is not known",
            "if several services share this address, give them one state directory, or keep to one service",
        ),
        _ => ("the message is refused", "read the logs of the proxy and of the service"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_full_share_differ() {
        assert!(lacking(503, Some(errno::UNAVAILABLE)).0.contains("disk"));
        assert!(lacking(503, None).0.contains("proxy"), "the service itself always sends a number");
        assert!(lacking(404, None).1.contains("502 or 503"), "only a proxy sends no number");
        assert!(!lacking(404, Some(errno::GONE)).1.contains("502"));
        assert!(lacking(429, Some(errno::STORE_FULL)).1.contains("disk"));
        assert!(lacking(429, Some(errno::QUOTA)).0.contains("quota"));
        assert!(lacking(429, Some(errno::UNAVAILABLE)).0.contains("more to do"));
        assert!(lacking(429, Some(errno::CLOCK)).1.contains("NTP"));
        assert!(lacking(429, Some(errno::RATE)).1.contains("rate_per_subscription"));
    }
}
