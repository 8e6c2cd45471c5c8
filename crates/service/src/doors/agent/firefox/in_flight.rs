//! Which messages are on their way on one socket, and when to ask by a ping whether they have arrived. No IO.
//!
//! Some clients never acknowledge, and none of them may hold up the others' messages or its own. A WebSocket ping is
//! answered by every client, and only after all that was sent before it has been read: what came before an answered ping
//! needs no place in the window any more.

use std::collections::VecDeque;

use doorbell_protocol::id::MessageId;

/// The messages of one socket that were sent and neither acknowledged nor shown to have arrived.
#[derive(Debug)]
pub(super) struct InFlight {
    window: u16,
    /// None while there are none: an idle socket holds no memory for this.
    flight: Option<Box<Flight>>,
}

#[derive(Debug, Default)]
struct Flight {
    sent: VecDeque<MessageId>,
    /// The ping that is not answered yet.
    asked: Option<Asked>,
    pings: u64,
}

#[derive(Debug)]
struct Asked {
    payload: [u8; 8],
    /// How many of `sent` went out before it.
    covers: usize,
}

impl InFlight {
    pub(super) fn new(window: u16) -> Self {
        Self { window, flight: None }
    }

    /// A message went out; the payload of the ping that has to follow it, if one has to.
    pub(super) fn sent(&mut self, id: MessageId) -> Option<[u8; 8]> {
        // Half of the window, so that it never has to be shut.
        let ask_at = usize::from(self.window / 2).max(1);
        // A client that neither acknowledges nor answers pings is waited for by time alone, and what ended otherwise is
        // not told here: of more than this many the oldest is forgotten.
        let most = 2 * usize::from(self.window.max(1));
        let flight = self.flight.get_or_insert_default();
        flight.sent.push_back(id);
        if flight.sent.len() > most {
            flight.remove(0);
        }
        if flight.sent.len() < ask_at || flight.asked.is_some() {
            return None;
        }
        flight.pings += 1;
        let payload = flight.pings.to_be_bytes();
        flight.asked = Some(Asked { payload, covers: flight.sent.len() });
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
        self.rest();
    }

    /// A pong came: the messages that have arrived by it. One that answers no ping of ours says nothing.
    pub(super) fn ponged(&mut self, payload: &[u8]) -> Vec<MessageId> {
        let Some(flight) = &mut self.flight else { return Vec::new() };
        let Some(asked) = flight.asked.take_if(|asked| asked.payload == payload) else { return Vec::new() };
        let arrived = flight.sent.drain(..asked.covers.min(flight.sent.len())).collect();
        self.rest();
        arrived
    }

    /// Gives memory back; the numbers of pings begin anew, and none of them is on its way.
    fn rest(&mut self) {
        self.flight.take_if(|flight| flight.sent.is_empty() && flight.asked.is_none());
    }
}

impl Flight {
    fn remove(&mut self, place: usize) {
        self.sent.remove(place);
        if let Some(asked) = self.asked.as_mut().filter(|asked| place < asked.covers) {
            asked.covers -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: i64) -> MessageId {
        MessageId::from_raw(n)
    }

    /// Sends `count` messages from `first` on; the pings that follow.
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
