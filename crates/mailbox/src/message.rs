//! One message in a mailbox's memory, and where it stands.

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::SubscriptionId;
use doorbell_protocol::time::UnixMs;

use crate::input::{Entry, LinkId};

/// A message that the mailbox knows. Its id is the key under which the queue holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub(crate) subscription: SubscriptionId,
    pub(crate) urgency: Urgency,
    pub(crate) expires_at: UnixMs,
    /// Not in the store: it has one chance.
    pub(crate) transient: bool,
    /// How often it was sent since the last link that carried it closed.
    pub(crate) offers: u8,
    pub(crate) place: Place,
}

/// Where a message stands. The ready queue, the windows and the alarms all follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The store is asked to commit it; no agent may see it yet.
    Storing,
    /// Waits for a link with room.
    Ready,
    /// Was refused on `link`; ready again at `until`, or when that link closes.
    Delayed { link: LinkId, until: UnixMs },
    /// Sent on `link`, where it occupies a place of the window until it is acknowledged, but no longer than `until`.
    Held { link: LinkId, until: UnixMs },
    /// Sent on `link` and over since: only its place in the window is left.
    Tombstone { link: LinkId, until: UnixMs },
    /// Was on `link` often enough without success; ready again when that link closes.
    Parked { link: LinkId },
}

impl Message {
    pub(crate) fn new(entry: &Entry, transient: bool, place: Place) -> Self {
        Self {
            subscription: entry.subscription,
            urgency: entry.urgency,
            expires_at: entry.expires_at,
            transient,
            offers: 0,
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

impl Place {
    /// The link whose closing moves it.
    pub(crate) fn bound_to(self) -> Option<LinkId> {
        match self {
            Self::Delayed { link, .. }
            | Self::Held { link, .. }
            | Self::Tombstone { link, .. }
            | Self::Parked { link } => Some(link),
            Self::Storing | Self::Ready => None,
        }
    }

    /// The link in whose window it occupies a place.
    pub(crate) fn occupies(self) -> Option<LinkId> {
        match self {
            Self::Held { link, .. } | Self::Tombstone { link, .. } => Some(link),
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

    /// The same place, ending at another time.
    pub(crate) fn moved(self, to: impl Fn(UnixMs) -> UnixMs) -> Self {
        match self {
            Self::Delayed { link, until } => Self::Delayed { link, until: to(until) },
            Self::Held { link, until } => Self::Held { link, until: to(until) },
            Self::Tombstone { link, until } => Self::Tombstone { link, until: to(until) },
            Self::Storing | Self::Ready | Self::Parked { .. } => self,
        }
    }
}
