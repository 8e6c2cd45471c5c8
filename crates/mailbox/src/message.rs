//! One message in a mailbox's memory, and where it stands.

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::SubscriptionId;
use doorbell_protocol::time::UnixMs;

use crate::input::{Entry, SubscriberId};

/// A message that the mailbox knows. Its id is the key under which the queue holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub(crate) subscription: SubscriptionId,
    pub(crate) urgency: Urgency,
    pub(crate) expires_at: UnixMs,
    /// Not in the store: it has one chance.
    pub(crate) transient: bool,
    /// How often it was sent since the last subscriber that carried it closed.
    pub(crate) offers: u8,
    pub(crate) sent: Sent,
    pub(crate) place: Place,
}

/// Under which version a message was sent, as far as memory goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Not at all; perhaps before memory was filled.
    No,
    /// Once, under its first version.
    Once,
    /// Under its first version, and more than once: the agent may have had it before.
    Often,
    /// The agent did not pass it on: it goes under its second version from now on.
    Second,
}

/// Where a message stands. The ready queue, the windows and the alarms all follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The store is asked to commit it; no agent may see it yet.
    Storing,
    /// Waits for a subscriber with room.
    Ready,
    /// Was refused on `subscriber`; ready again at `until`, or when that subscriber closes.
    Delayed { subscriber: SubscriberId, until: UnixMs },
    /// Sent on `subscriber`, where it occupies a place of the window until it is acknowledged, but no longer than `until`.
    Held { subscriber: SubscriberId, until: UnixMs },
    /// Sent on `subscriber` and over since: only its place in the window is left.
    Tombstone { subscriber: SubscriberId, until: UnixMs },
    /// Was on `subscriber` often enough without success; ready again when that subscriber closes.
    Parked { subscriber: SubscriberId },
}

impl Message {
    pub(crate) fn new(entry: &Entry, transient: bool, place: Place) -> Self {
        Self {
            subscription: entry.subscription,
            urgency: entry.urgency,
            expires_at: entry.expires_at,
            transient,
            offers: 0,
            sent: Sent::No,
            place,
        }
    }

    /// Whether it must not be sent any more (PS-8030-5.2-7).
    pub(crate) fn is_expired(&self, now: UnixMs) -> bool {
        self.expires_at <= now
    }

    /// When something happens to it if nothing happens before: its place times out, or it expires.
    pub(crate) fn alarm(&self) -> Option<UnixMs> {
        match self.place {
            // The store decides what becomes of it, and it is looked at then.
            Place::Storing => None,
            Place::Ready | Place::Parked { .. } => Some(self.expires_at),
            // What is on its way cannot be called back, what waits is not sent: when the wait ends is soon enough.
            Place::Delayed { until, .. } | Place::Held { until, .. } | Place::Tombstone { until, .. } => Some(until),
        }
    }
}

impl Sent {
    /// After one more time.
    pub(crate) fn again(self) -> Self {
        match self {
            Self::No => Self::Once,
            Self::Once | Self::Often => Self::Often,
            Self::Second => Self::Second,
        }
    }
}

impl Place {
    /// The subscriber whose closing moves it.
    pub(crate) fn bound_to(self) -> Option<SubscriberId> {
        match self {
            Self::Delayed { subscriber, .. }
            | Self::Held { subscriber, .. }
            | Self::Tombstone { subscriber, .. }
            | Self::Parked { subscriber } => Some(subscriber),
            Self::Storing | Self::Ready => None,
        }
    }

    /// The subscriber in whose window it occupies a place.
    pub(crate) fn occupies(self) -> Option<SubscriberId> {
        match self {
            Self::Held { subscriber, .. } | Self::Tombstone { subscriber, .. } => Some(subscriber),
            _ => None,
        }
    }

    pub(crate) fn is_tombstone(self) -> bool {
        matches!(self, Self::Tombstone { .. })
    }

    /// When it ends by itself.
    pub(crate) fn until(self) -> Option<UnixMs> {
        match self {
            Self::Delayed { until, .. } | Self::Held { until, .. } | Self::Tombstone { until, .. } => Some(until),
            Self::Storing | Self::Ready | Self::Parked { .. } => None,
        }
    }
}
