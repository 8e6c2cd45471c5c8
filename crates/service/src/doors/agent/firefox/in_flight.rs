//! The messages in flight on one socket, and when to check by a ping whether they have arrived. No IO.
//!
//! Some clients never acknowledge, and they must not delay messages. Every client answers a WebSocket ping, and only
//! after it has read everything before it: messages before an answered ping need no place in the window.

use std::collections::VecDeque;

use doorbell_protocol::id::MessageId;

/// The messages that one socket has sent, without those that were acknowledged or have arrived.
#[derive(Debug)]
pub(super) struct InFlight {
    window: u16,
    /// `None` while it is empty: an idle socket holds no memory for this.
    flight: Option<Box<Flight>>,
}

#[derive(Debug, Default)]
struct Flight {
    sent: VecDeque<MessageId>,
    /// The ping that is not answered yet.
    ping: Option<PingInFlight>,
    pings: u64,
}

#[derive(Debug)]
struct PingInFlight {
    payload: [u8; 8],
    /// How many of `sent` were sent before it.
    covers: usize,
}

impl InFlight {
    pub(super) fn new(window: u16) -> Self {
        Self { window, flight: None }
    }

    /// A message was sent. Returns the payload of the ping that must follow, if one must.
    pub(super) fn sent(&mut self, id: MessageId) -> Option<[u8; 8]> {
        // Half of the window, so that it never closes.
        let ask_at = usize::from(self.window / 2).max(1);
        // A client may neither acknowledge nor answer pings; then only time-outs end its messages, and this type does
        // not see them. So it drops the oldest message above this number.
        let most = 2 * usize::from(self.window.max(1));
        let flight = self.flight.get_or_insert_default();
        flight.sent.push_back(id);
        if flight.sent.len() > most {
            flight.remove(0);
        }
        if flight.sent.len() < ask_at || flight.ping.is_some() {
            return None;
        }
        flight.pings += 1;
        let payload = flight.pings.to_be_bytes();
        flight.ping = Some(PingInFlight { payload, covers: flight.sent.len() });
        Some(payload)
    }

    /// The client acknowledged a message.
    pub(super) fn acknowledged(&mut self, id: MessageId) {
        let Some(flight) = &mut self.flight else { return };
        let Some(place) = flight.sent.iter().position(|sent| *sent == id) else { return };
        flight.remove(place);
        if flight.sent.is_empty() {
            flight.sent = VecDeque::new();
        }
        self.free_if_empty();
    }

    /// A pong arrived: returns the messages that it confirms. An unknown payload confirms nothing.
    pub(super) fn ponged(&mut self, payload: &[u8]) -> Vec<MessageId> {
        let Some(flight) = &mut self.flight else { return Vec::new() };
        let Some(ping) = flight.ping.take_if(|ping| ping.payload == payload) else { return Vec::new() };
        let arrived = flight.sent.drain(..ping.covers.min(flight.sent.len())).collect();
        self.free_if_empty();
        arrived
    }

    /// Frees the memory. The ping numbers start again: no ping is in flight.
    fn free_if_empty(&mut self) {
        self.flight.take_if(|flight| flight.sent.is_empty() && flight.ping.is_none());
    }
}

impl Flight {
    fn remove(&mut self, place: usize) {
        self.sent.remove(place);
        if let Some(ping) = self.ping.as_mut().filter(|ping| place < ping.covers) {
            ping.covers -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: i64) -> MessageId {
        MessageId::from_raw(n)
    }

    /// Sends `count` messages, beginning with `first`; returns the pings that follow.
    fn send(flight: &mut InFlight, first: i64, count: i64) -> Vec<[u8; 8]> {
        (first..first + count).filter_map(|n| flight.sent(id(n))).collect()
    }

    #[test]
    fn one_ping_asks_at_half_the_window_and_its_pong_confirms_what_went_before_it() {
        let mut flight = InFlight::new(10);
        assert!(send(&mut flight, 1, 4).is_empty());
        let pings = send(&mut flight, 5, 3);
        assert_eq!(pings.len(), 1, "the fifth message asks, and nothing asks again before the answer");
        assert_eq!(flight.ponged(b"stranger"), []);
        assert_eq!(flight.ponged(&pings[0]), (1..=5).map(id).collect::<Vec<_>>());
        assert_eq!(flight.ponged(&pings[0]), [], "an answer counts once");
        assert_eq!(send(&mut flight, 8, 3).len(), 1);
    }

    #[test]
    fn what_is_acknowledged_meanwhile_is_not_confirmed_again() {
        let mut flight = InFlight::new(4);
        let pings = send(&mut flight, 1, 3);
        flight.acknowledged(id(1));
        flight.acknowledged(id(3));
        flight.acknowledged(id(99));
        assert_eq!(flight.ponged(&pings[0]), [id(2)]);
        assert!(flight.flight.is_none(), "an idle socket holds nothing");
    }

    #[test]
    fn a_client_that_answers_nothing_is_remembered_within_bounds() {
        let mut flight = InFlight::new(10);
        let pings = send(&mut flight, 1, 1000);
        assert_eq!((pings.len(), flight.flight.as_ref().unwrap().sent.len()), (1, 20));
        assert_eq!(flight.ponged(&pings[0]), [], "what the ping was about is forgotten");
    }

    #[test]
    fn a_client_that_acknowledges_is_never_asked() {
        let mut flight = InFlight::new(10);
        for n in 0..1000 {
            assert_eq!(flight.sent(id(n)), None);
            flight.acknowledged(id(n));
        }
    }
}
