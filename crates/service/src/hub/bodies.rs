//! Bodies of messages in memory, counted until no part of the service holds them: neither a mailbox, nor a queue, nor a
//! connection that waits for its client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// What a message takes in addition to its body: its headers, and its places in a mailbox and in queues.
const MESSAGE_OVERHEAD: usize = 512;

/// The part of the free room that one agent may have. It is small, so that agents that take nothing leave room for
/// others, and large enough for a full window of messages while there is no flood.
const SHARE: usize = 64;

/// The bodies of one kind.
#[derive(Debug)]
pub(super) struct Bodies {
    held: AtomicUsize,
    max: usize,
}

/// All bodies in memory.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// Of messages with TTL 0, which no store has.
    pub(super) transients: Arc<Bodies>,
    /// Of stored messages, which can be read again.
    pub(super) copies: Arc<Bodies>,
}

/// A body that counts.
struct Held {
    body: Bytes,
    bodies: Arc<Bodies>,
}

impl Bodies {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), max })
    }

    /// The memory of a message with this body.
    pub(super) fn size(body: &Bytes) -> usize {
        body.len() + MESSAGE_OVERHEAD
    }

    /// Counts a body for an agent that has `own` bytes already; `None` if there is no room for it.
    pub(super) fn admit(self: &Arc<Self>, body: Bytes, own: usize) -> Option<Bytes> {
        let (size, free) = (Self::size(&body), self.max.saturating_sub(self.held.load(Ordering::Relaxed)));
        // The first message of an agent needs no share.
        let has_room = size <= free && (own == 0 || own + size <= free / SHARE);
        has_room.then(|| self.hold(body))
    }

    /// Counts a body in any case.
    pub(super) fn hold(self: &Arc<Self>, body: Bytes) -> Bytes {
        self.held.fetch_add(Self::size(&body), Ordering::Relaxed);
        Bytes::from_owner(Held { body, bodies: self.clone() })
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether half of the room is in use: what can be read again later should not be kept now.
    pub(super) fn is_scarce(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.max / 2
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.held.fetch_sub(Bodies::size(&self.body), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: Bytes = Bytes::from_static(&[7; 4096]);

    #[test]
    fn a_body_counts_as_long_as_any_part_of_it_is_held() {
        let bodies = Bodies::new(1 << 20);
        let mut held = bodies.hold(BODY);
        let part = held.split_to(10);
        drop(held);
        assert_eq!(bodies.held.load(Ordering::Relaxed), 4096 + MESSAGE_OVERHEAD);
        drop(part);
        assert_eq!(bodies.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn agents_that_take_nothing_leave_room_for_the_first_message_of_another() {
        let bodies = Bodies::new(32 << 20);
        let mut stuck: Vec<Vec<Bytes>> = vec![Vec::new(); 2000];
        for _ in 0..100 {
            for own in &mut stuck {
                let size = own.iter().map(Bodies::size).sum();
                own.extend(bodies.admit(BODY, size));
            }
        }
        assert!(bodies.held.load(Ordering::Relaxed) <= 32 << 20);
        assert!(bodies.admit(BODY, 0).is_some());
    }

    #[test]
    fn one_agent_gets_a_full_window_while_there_is_no_flood() {
        let bodies = Bodies::new(32 << 20);
        let mut own: Vec<Bytes> = Vec::new();
        for _ in 0..100 {
            let size = own.iter().map(Bodies::size).sum();
            own.push(bodies.admit(BODY, size).expect("there is room"));
        }
    }
}
