//! Every bound of the agent, each with its reason.

use std::time::Duration;

use crate::backoff::Backoff;

/// The bounds of one agent; [`Limits::default`] suits a desktop or a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Name lookup, TCP, TLS and the HTTP/2 preface together. A mobile network that needs longer is not usable.
    pub connect_timeout: Duration,
    /// From a request to its answer (except the held GET, which has no end).
    pub answer_timeout: Duration,
    /// From a promise to the last byte of its message. Pushes are read in turn, so one that stalls delays the others.
    pub push_timeout: Duration,
    /// How often a PING tests whether the peer still answers. Two minutes: below the four after which some balancers
    /// and home routers forget a quiet connection, and rare enough to let a phone's radio sleep.
    pub ping_interval: Duration,
    /// How long the answer to a PING may take before the connection counts as dead.
    pub ping_timeout: Duration,
    /// How long an old connection may finish what it carries after its replacement was asked for.
    pub leaving_grace: Duration,
    /// A connection that lasted this long was a good one: the next failure is again the first.
    pub steady_after: Duration,
    /// The largest body that is read. RFC 8030 s7.2 guarantees 4,096 bytes; some services carry more.
    pub body_bytes_max: usize,
    /// Pushed streams that the service may have open at a time (SETTINGS_MAX_CONCURRENT_STREAMS).
    pub pushes_max: u32,
    /// Messages that wait for the app's next attempt. Over it the agent stops reading, and the service sees that.
    pub waiting_max: usize,
    /// DELETE requests in flight at a time; many servers allow 100 streams, and the held GET is one of them.
    pub acknowledging_max: usize,
    /// Answers to one DELETE that are 404 or 410 and not in the form of Doorbell, before they are believed. A proxy gives
    /// some while the service behind it restarts, which do not count while the held GET fails too; another service may know
    /// no other form.
    pub doubts_max: u32,
    /// How long messages are received as events before pushes are tried again: what stands between may have changed.
    pub pushes_again: Duration,
    /// How long events may bring nothing, no comment either, before they count as broken. A proxy answers the PINGs of a
    /// connection whose service is gone. Ten times the service's `keepalive_secs` (30 s).
    pub silence_max: Duration,
    /// DELETE requests owed, including those in flight. Over it nothing more is handed over or subscribed.
    pub owed_max: usize,
    /// URIs of settled messages kept in memory, against a redelivery that crossed its acknowledgement.
    pub remembered_max: usize,
    /// Attempts at handing a message to the app before it is given up. At least 3: a failure may be a passing one.
    pub attempts_max: u32,
    /// Redirects followed while subscribing (RFC 8030 s7.1).
    pub redirects_max: u32,
    /// Subscriptions in one profile.
    pub subscriptions_max: usize,
    /// Waits between connections.
    pub reconnect: Backoff,
    /// Waits between attempts at handing over one message.
    pub redeliver: Backoff,
    /// Waits between attempts at one DELETE.
    pub acknowledge: Backoff,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect_timeout: seconds(15),
            answer_timeout: seconds(30),
            push_timeout: seconds(30),
            ping_interval: seconds(120),
            ping_timeout: seconds(20),
            leaving_grace: seconds(10),
            steady_after: seconds(60),
            body_bytes_max: 64 * 1024,
            pushes_max: 100,
            waiting_max: 100,
            acknowledging_max: 32,
            doubts_max: 20,
            pushes_again: seconds(3600),
            silence_max: seconds(300),
            owed_max: 1024,
            remembered_max: 1024,
            attempts_max: 3,
            redirects_max: 5,
            subscriptions_max: 1000,
            reconnect: Backoff { first: seconds(1), longest: seconds(300) },
            redeliver: Backoff { first: seconds(2), longest: seconds(30) },
            acknowledge: Backoff { first: seconds(1), longest: seconds(60) },
        }
    }
}
