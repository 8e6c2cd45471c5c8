//! What the service counts while it works: plain numbers, which every task changes without a lock. `metrics` shows them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use doorbell_protocol::problem::errno;
use doorbell_protocol::receipt::Outcome;
use http::StatusCode;

/// The bounds of the buckets of [`Counts::acknowledged`], in milliseconds: the first ones are for agents that are
/// connected, the last ones for those that come back.
pub(crate) const ACKNOWLEDGED_MS: [u64; 16] =
    [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 600_000, 3_600_000, 86_400_000];

/// Everything that is counted, since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Messages that were accepted.
    pub(crate) accepted: Counter,
    /// Messages that were offered to a subscriber; some are offered again.
    pub(crate) offered: Counter,
    /// Messages with TTL 0 that ended, in the order of [`Outcome::ALL`]. The store counts the others.
    transient_ended: [Counter; Outcome::ALL.len()],
    /// From the acceptance of a message to its acknowledgement.
    pub(crate) acknowledged: Histogram<{ ACKNOWLEDGED_MS.len() }>,
    connected: [Gauge; AgentDoor::ALL.len()],
    /// Stored messages that are damaged.
    pub(crate) damaged_messages: Counter,
    /// Stored keys of subscriptions that are damaged.
    pub(crate) damaged_keys: Counter,
    /// In the order of [`errno::ALL`].
    refused: [Counter; errno::ALL.len()],
    /// By the first digit of the status.
    answered: [[Counter; CLASSES.len()]; Door::ALL.len()],
    /// Reports to desktops that messages wait.
    pub(crate) wakes: Counter,
    handshakes: [Counter; Handshake::ALL.len()],
    /// Connections that are open.
    pub(crate) connections: Gauge,
    /// Connections that got a place.
    pub(crate) entered: Counter,
    /// Connections that were closed because their source has too many.
    pub(crate) refused_of_source: Counter,
    /// Idle connections that were closed to make room for others.
    pub(crate) closed_for_room: Counter,
}

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// How many there are now.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

/// Durations, counted in buckets.
#[derive(Debug)]
pub(crate) struct Histogram<const BUCKETS: usize> {
    bounds_ms: &'static [u64; BUCKETS],
    /// Durations up to the bound of each bucket and above that of the one before.
    buckets: [Counter; BUCKETS],
    /// Those above the last bound.
    rest: Counter,
    sum_ms: Counter,
}

/// The way by which an agent receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgentDoor {
    /// Server pushes.
    Http2,
    /// Server-sent events.
    Events,
    /// WebSocket.
    Firefox,
    /// MCS.
    Chromium,
    /// A desktop, which is offered no message.
    Wake,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Push,
    Message,
    Receipts,
    Subscribe,
    Receive,
    Wake,
    Firefox,
    Chromium,
    Other,
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    Full,
    Resumed,
    Failed,
}

/// The classes of a status.
pub(crate) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Counts {
    /// A message with TTL 0 ended.
    pub(crate) fn transient_ended(&self, outcome: Outcome) {
        self.transient_ended[usize::from(outcome.code()) - 1].add();
    }

    /// The messages with TTL 0 that ended with this outcome.
    pub(crate) fn transients_ended(&self, outcome: Outcome) -> u64 {
        self.transient_ended[usize::from(outcome.code()) - 1].get()
    }

    /// The subscribers of this kind.
    pub(crate) fn connected(&self, door: AgentDoor) -> &Gauge {
        &self.connected[door as usize]
    }

    /// A request was answered.
    pub(crate) fn answered(&self, door: Door, status: StatusCode) {
        // A status has three digits, and the service answers with none above 5xx.
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.answered[door as usize][class].add();
    }

    /// The answers of a door, in the order of [`CLASSES`].
    pub(crate) fn answers(&self, door: Door) -> [u64; CLASSES.len()] {
        self.answered[door as usize].each_ref().map(Counter::get)
    }

    /// A request was refused with this number.
    pub(crate) fn refused(&self, number: u16) {
        let place = errno::ALL.binary_search(&number);
        debug_assert!(place.is_ok(), "errno {number} is not in `errno::ALL`");
        if let Ok(place) = place {
            self.refused[place].add();
        }
    }

    /// How often requests were refused, by number.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (u16, u64)> {
        errno::ALL.into_iter().zip(self.refused.iter().map(Counter::get))
    }

    /// A TLS handshake ended.
    pub(crate) fn handshake(&self, how: Handshake) {
        self.handshakes[how as usize].add();
    }

    /// The TLS handshakes that ended so.
    pub(crate) fn handshakes(&self, how: Handshake) -> u64 {
        self.handshakes[how as usize].get()
    }
}

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    pub(crate) fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a gauge never falls below zero");
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    fn new(bounds_ms: &'static [u64; BUCKETS]) -> Self {
        let buckets = std::array::from_fn(|_| Counter::default());
        Self { bounds_ms, buckets, rest: Counter::default(), sum_ms: Counter::default() }
    }

    pub(crate) fn add(&self, took: Duration) {
        let millis = u64::try_from(took.as_millis()).expect("times of messages are milliseconds in 64 bits");
        self.buckets.get(self.bounds_ms.partition_point(|bound| *bound < millis)).unwrap_or(&self.rest).add();
        self.sum_ms.0.fetch_add(millis, Ordering::Relaxed);
    }

    /// The counts of the buckets, of all durations above the last bound, and the sum of all in milliseconds.
    pub(crate) fn read(&self) -> ([u64; BUCKETS], u64, u64) {
        (self.buckets.each_ref().map(Counter::get), self.rest.get(), self.sum_ms.get())
    }
}

impl Default for Histogram<{ ACKNOWLEDGED_MS.len() }> {
    fn default() -> Self {
        Self::new(&ACKNOWLEDGED_MS)
    }
}

impl AgentDoor {
    /// In the order of their numbers.
    pub(crate) const ALL: [Self; 5] = [Self::Http2, Self::Events, Self::Firefox, Self::Chromium, Self::Wake];

    /// Its name in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http2 => "http2",
            Self::Events => "events",
            Self::Firefox => "firefox",
            Self::Chromium => "chromium",
            Self::Wake => "wake",
        }
    }
}

impl Door {
    /// In the order of their numbers.
    pub(crate) const ALL: [Self; 9] = [
        Self::Push,
        Self::Message,
        Self::Receipts,
        Self::Subscribe,
        Self::Receive,
        Self::Wake,
        Self::Firefox,
        Self::Chromium,
        Self::Other,
    ];

    /// Its name in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Message => "message",
            Self::Receipts => "receipts",
            Self::Subscribe => "subscribe",
            Self::Receive => "receive",
            Self::Wake => "wake",
            Self::Firefox => "firefox",
            Self::Chromium => "chromium",
            Self::Other => "other",
        }
    }
}

impl Handshake {
    /// In the order of their numbers.
    pub(crate) const ALL: [Self; 3] = [Self::Full, Self::Resumed, Self::Failed];

    /// Its name in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_a_count_of_its_own() {
        assert!(AgentDoor::ALL.into_iter().enumerate().all(|(place, door)| door as usize == place));
        assert!(Door::ALL.into_iter().enumerate().all(|(place, door)| door as usize == place));
        assert!(Handshake::ALL.into_iter().enumerate().all(|(place, how)| how as usize == place));
    }

    #[test]
    fn a_refusal_and_an_answer_are_counted_where_they_belong() {
        let counts = Counts::default();
        errno::ALL.into_iter().for_each(|number| counts.refused(number));
        counts.refused(errno::RATE);
        assert!(counts.refusals().all(|(number, times)| times == if number == errno::RATE { 2 } else { 1 }));
        counts.answered(Door::Push, StatusCode::CREATED);
        counts.answered(Door::Push, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(counts.answers(Door::Push), [0, 1, 0, 1, 0]);
        assert_eq!(counts.answers(Door::Other), [0; 5]);
    }

    #[test]
    fn a_duration_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        for millis in [5, 6, 86_400_001] {
            histogram.add(Duration::from_millis(millis));
        }
        let (buckets, rest, sum_ms) = histogram.read();
        assert_eq!((buckets[0], buckets[1], rest, sum_ms), (1, 1, 1, 86_400_012));
    }
}
