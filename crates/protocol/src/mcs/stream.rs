//! The rules of one MCS connection, found by experiment with Chromium 156.
//!
//! * No stanza contains its own number. Each side counts what it sends and what arrives, from 1; the login is 1 in both
//!   directions.
//! * A number of the other side acknowledges everything up to it, in any kind of stanza.
//! * Chromium does not detect a message that comes twice on a connection: the page would get both. After a break it lists
//!   what it has, so the rest can be sent again on the new connection.
//! * Its acknowledgement means that the browser process has the message, not that the page has it: it is sent while the
//!   browser writes the message to its disk, and also for messages that it cannot deliver.
//! * Its next login still lists what it acknowledged, until a stanza of ours confirms that we received the
//!   acknowledgement.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

use thiserror::Error;

use super::client::{ClientStanza, LoginRequest, PERSISTENT_ID_MAX};
use super::frame::{BODY_MAX, Frame};
use super::server::{DataMessage, LoginAccepted, LoginRefused, ServerStanza};
use crate::time::UnixMs;

/// How many messages may be unacknowledged on one connection.
///
/// The next login may list these, and as many again that were acknowledged without a confirmation of ours. A list that
/// does not fit into a frame would lock the device out forever.
pub const IN_FLIGHT_MAX: usize = 500;

const _: () = {
    let list = 2 * IN_FLIGHT_MAX * (PERSISTENT_ID_MAX + 2);
    let all_else = 16 * 1024;
    assert!(list + all_else <= BODY_MAX, "the longest login fits into a frame");
};

/// Chromium counts stanzas in 31 bits.
const STREAM_ID_MAX: u32 = i32::MAX as u32;

/// One connection; `Id` is whatever the caller calls its messages.
pub struct Stream<Id> {
    state: State,
    /// How many stanzas came from the client.
    received: u32,
    /// How many stanzas went to the client.
    sent: u32,
    /// Unacknowledged messages with their stanzas' numbers, in order.
    in_flight: VecDeque<(u32, Id)>,
    /// What must not be sent (again): the messages in flight, and those that the login listed.
    there: HashSet<Id>,
}

enum State {
    /// Nothing has come.
    New,
    /// The login waits for its answer.
    LoggingIn { client: String },
    /// Messages may go.
    Open,
    /// No stanza may go or come.
    Ended,
}

/// What the caller must do, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect<Id> {
    /// Check the credentials, then call [`Stream::accept`] or [`Stream::refuse`].
    LogIn(LoginRequest),
    /// The device has this message: forget it.
    Confirmed(Id),
    /// Write the frame.
    Write(Frame),
    /// Write what is to be written, then close the connection.
    End,
}

/// What a client did that no client may do; the connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StreamError {
    /// Something before the login, or before it was answered.
    #[error("the client sent something before it was logged in")]
    NotLoggedIn,
    /// A second login.
    #[error("the client logged in twice on one connection")]
    LoggedInTwice,
    /// A number that no stanza of ours had.
    #[error("the client acknowledged what was never sent")]
    NeverSent,
    /// The numbers of a connection are used up.
    #[error("the connection has had as many stanzas as can be counted")]
    Exhausted,
}

/// Why a message was not sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The client is not logged in, or the connection is closing.
    NotOpen,
    /// [`IN_FLIGHT_MAX`] are unacknowledged. Try again after the next [`Effect::Confirmed`].
    Full,
    /// It was sent on this connection, or the device listed it at login.
    AlreadyThere,
}

impl<Id: Copy + Eq + Hash> Stream<Id> {
    /// A new connection.
    pub fn new() -> Self {
        Self { state: State::New, received: 0, sent: 0, in_flight: VecDeque::new(), there: HashSet::new() }
    }

    /// Processes a stanza. After an error no further stanza is processed, and the connection must be closed.
    pub fn receive(&mut self, stanza: ClientStanza, effects: &mut Vec<Effect<Id>>) -> Result<(), StreamError> {
        if matches!(self.state, State::Ended) {
            return Ok(());
        }
        self.take(stanza, effects).inspect_err(|_| self.state = State::Ended)
    }

    fn take(&mut self, stanza: ClientStanza, effects: &mut Vec<Effect<Id>>) -> Result<(), StreamError> {
        if self.received >= STREAM_ID_MAX {
            return Err(StreamError::Exhausted);
        }
        self.received += 1;
        if let Some(acked) = stanza.acked() {
            self.confirm(acked, effects)?;
        }
        match (stanza, &self.state) {
            (ClientStanza::Login(login), State::New) => {
                self.state = State::LoggingIn { client: login.client.clone() };
                effects.push(Effect::LogIn(login));
            }
            (ClientStanza::Login(_), _) => return Err(StreamError::LoggedInTwice),
            (ClientStanza::Close, _) => {
                self.state = State::Ended;
                effects.push(Effect::End);
            }
            (_, State::New | State::LoggingIn { .. }) => return Err(StreamError::NotLoggedIn),
            (ClientStanza::HeartbeatPing(_), _) => {
                effects.extend(self.encode(&ServerStanza::HeartbeatAck).map(Effect::Write))
            }
            // The number was all there is to them.
            (_, _) => {}
        }
        Ok(())
    }

    /// Lets the client in. `there` are the messages that its login listed, as far as they are the caller's.
    ///
    /// They are confirmed before the answer is written, for with the answer the client forgets its list: if they are
    /// still in the store after a crash, they are delivered twice.
    pub fn accept(
        &mut self,
        there: impl IntoIterator<Item = Id>,
        heartbeat_ms: u32,
        now: UnixMs,
        effects: &mut Vec<Effect<Id>>,
    ) {
        let State::LoggingIn { client } = &mut self.state else { return };
        let client = std::mem::take(client);
        self.state = State::Open;
        for id in there {
            if self.there.insert(id) {
                effects.push(Effect::Confirmed(id));
            }
        }
        let login = LoginAccepted { client: &client, heartbeat_ms, now };
        effects.extend(self.encode(&ServerStanza::LoginAccepted(login)).map(Effect::Write));
    }

    /// Turns the client away.
    pub fn refuse(&mut self, code: u32, message: &str, effects: &mut Vec<Effect<Id>>) {
        let State::LoggingIn { client } = &mut self.state else { return };
        let client = std::mem::take(client);
        let refusal = LoginRefused { client: &client, code, message };
        effects.extend(self.encode(&ServerStanza::LoginRefused(refusal)).map(Effect::Write));
        self.state = State::Ended;
        effects.push(Effect::End);
    }

    /// The frame of a message, which counts as sent: the caller must write it before any later frame.
    pub fn send(&mut self, id: Id, message: DataMessage<'_>) -> Result<Frame, NotSent> {
        if !matches!(self.state, State::Open) {
            return Err(NotSent::NotOpen);
        }
        if self.there.contains(&id) {
            return Err(NotSent::AlreadyThere);
        }
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            return Err(NotSent::Full);
        }
        let frame = self.encode(&ServerStanza::DataMessage(message)).ok_or(NotSent::NotOpen)?;
        self.in_flight.push_back((self.sent, id));
        self.there.insert(id);
        Ok(frame)
    }

    /// A heartbeat of ours, to see whether the client is there; its answer acknowledges all that it has.
    pub fn ping(&mut self) -> Option<Frame> {
        if matches!(self.state, State::Open) { self.encode(&ServerStanza::HeartbeatPing) } else { None }
    }

    /// Our last frame. Chromium comes back by itself.
    pub fn close(&mut self) -> Option<Frame> {
        let frame = if matches!(self.state, State::Open) { self.encode(&ServerStanza::Close) } else { None };
        self.state = State::Ended;
        frame
    }

    /// How many messages may be sent now.
    pub fn room(&self) -> usize {
        if matches!(self.state, State::Open) { IN_FLIGHT_MAX.saturating_sub(self.in_flight.len()) } else { 0 }
    }

    /// What was sent and not acknowledged, in order. When the connection is over it must be offered to the next one,
    /// which drops what the device has after all.
    pub fn unconfirmed(&self) -> impl Iterator<Item = Id> + '_ {
        self.in_flight.iter().map(|&(_, id)| id)
    }

    /// Everything up to our stanza number `acked` has arrived.
    fn confirm(&mut self, acked: u32, effects: &mut Vec<Effect<Id>>) -> Result<(), StreamError> {
        if acked > self.sent {
            return Err(StreamError::NeverSent);
        }
        while let Some(&(number, id)) = self.in_flight.front() {
            if number > acked {
                break;
            }
            self.in_flight.pop_front();
            // The caller forgets it now and will not offer it again, so that this set stays small.
            self.there.remove(&id);
            effects.push(Effect::Confirmed(id));
        }
        Ok(())
    }

    /// Counts a stanza of ours; `None` once the numbers are used up: the connection is then useless.
    fn encode(&mut self, stanza: &ServerStanza<'_>) -> Option<Frame> {
        if self.sent >= STREAM_ID_MAX {
            self.state = State::Ended;
            return None;
        }
        self.sent += 1;
        debug_assert!(self.sent <= STREAM_ID_MAX, "a stanza has a number that Chromium can count");
        Some(stanza.to_frame(self.received))
    }
}

impl<Id: Copy + Eq + Hash> Default for Stream<Id> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcs::client::{Acked, PERSISTENT_ID_MAX};
    use crate::mcs::device::Device;
    use crate::mcs::frame::tag;
    use crate::mcs::wire::Fields;
    use proptest::prelude::*;

    const NOW: UnixMs = UnixMs::from_millis(1_795_743_702_537);
    const MESSAGE: DataMessage<'_> = DataMessage {
        persistent_id: "1",
        from: "s",
        category: "app",
        subtype: "wp:",
        app_data: &[],
        body: None,
        ttl_s: 60,
        sent: NOW,
        immediate_ack: true,
    };

    fn login(received: &[&str]) -> ClientStanza {
        ClientStanza::Login(LoginRequest {
            client: "chrome-156".to_owned(),
            device: Device::parse("1", "2").unwrap(),
            received: received.iter().map(|&id| id.to_owned()).collect(),
        })
    }

    /// A stream that is logged in, on which the messages 1 to `sent` went out as the stanzas from 2 on.
    fn open(sent: u32) -> Stream<u32> {
        let mut stream = Stream::new();
        stream.receive(login(&[]), &mut Vec::new()).unwrap();
        stream.accept([], 60_000, NOW, &mut Vec::new());
        for id in 1..=sent {
            stream.send(id, MESSAGE).unwrap();
        }
        stream
    }

    fn recv(stream: &mut Stream<u32>, stanza: ClientStanza) -> Result<Vec<Effect<u32>>, StreamError> {
        let mut effects = Vec::new();
        stream.receive(stanza, &mut effects).map(|()| effects)
    }

    fn number(frame: &Frame, field: u32) -> u64 {
        let fields: Vec<_> = Fields::new(&frame.body).map(Result::unwrap).collect();
        fields.iter().find(|f| f.number == field).unwrap().varint().unwrap()
    }

    #[test]
    fn a_login_is_checked_and_what_it_lists_is_confirmed_before_the_answer_and_never_sent() {
        let mut stream = Stream::new();
        let asked = recv(&mut stream, login(&["7", "8", "7"])).unwrap();
        assert!(matches!(&asked[..], [Effect::LogIn(login)] if login.received == ["7", "8", "7"]));
        assert_eq!(stream.send(9, MESSAGE), Err(NotSent::NotOpen));
        let mut effects = Vec::new();
        stream.accept([7, 8, 7], 60_000, NOW, &mut effects);
        let [Effect::Confirmed(7), Effect::Confirmed(8), Effect::Write(frame)] = &effects[..] else {
            panic!("{effects:?}");
        };
        assert_eq!((frame.tag, number(frame, 5), number(frame, 6)), (tag::LOGIN_RESPONSE, 1, 1));
        assert_eq!(stream.send(7, MESSAGE), Err(NotSent::AlreadyThere));
        assert_eq!(stream.send(9, MESSAGE).map(|frame| number(&frame, 11)), Ok(1));
    }

    #[test]
    fn a_refused_login_ends_the_stream() {
        let mut stream = Stream::new();
        recv(&mut stream, login(&[])).unwrap();
        let mut effects = Vec::new();
        stream.refuse(401, "no", &mut effects);
        assert!(matches!(&effects[..], [Effect::Write(frame), Effect::End] if frame.tag == tag::LOGIN_RESPONSE));
        assert_eq!(stream.send(1, MESSAGE), Err(NotSent::NotOpen));
        assert_eq!(recv(&mut stream, ClientStanza::HeartbeatPing(None)), Ok(vec![]));
        stream.accept([1], 1, NOW, &mut effects);
        assert_eq!(effects.len(), 2);
    }

    #[test]
    fn a_number_confirms_all_before_it_whatever_it_stands_in() {
        let kinds: [fn(Acked) -> ClientStanza; 5] = [
            ClientStanza::StreamAck,
            ClientStanza::Iq,
            ClientStanza::HeartbeatAck,
            ClientStanza::HeartbeatPing,
            ClientStanza::DataMessage,
        ];
        for kind in kinds {
            let mut stream = open(3);
            let confirmed = recv(&mut stream, kind(Some(3))).unwrap();
            assert_eq!(confirmed[..2], [Effect::Confirmed(1), Effect::Confirmed(2)]);
            assert_eq!(stream.unconfirmed().collect::<Vec<_>>(), [3]);
            assert!(!recv(&mut stream, kind(Some(3))).unwrap().contains(&Effect::Confirmed(2)));
        }
        // The login's answer was the first; only the second carried a message.
        assert_eq!(recv(&mut open(1), ClientStanza::StreamAck(Some(1))), Ok(vec![]));
        assert_eq!(recv(&mut open(1), ClientStanza::StreamAck(None)), Ok(vec![]));
    }

    #[test]
    fn every_stanza_counts_and_ours_have_the_number_received() {
        let mut stream = open(0);
        for stanza in [ClientStanza::Unknown(60), ClientStanza::DataMessage(None), ClientStanza::Iq(None)] {
            assert_eq!(recv(&mut stream, stanza), Ok(vec![]));
        }
        let answer = recv(&mut stream, ClientStanza::HeartbeatPing(Some(1))).unwrap();
        let [Effect::Write(frame)] = &answer[..] else { panic!("{answer:?}") };
        assert_eq!((frame.tag, number(frame, 2)), (tag::HEARTBEAT_ACK, 5));
        // The answer was stanza 2, so that the message is 3 and the heartbeat 4.
        stream.send(1, MESSAGE).unwrap();
        assert_eq!(number(&stream.ping().unwrap(), 2), 5);
        assert_eq!(recv(&mut stream, ClientStanza::StreamAck(Some(2))), Ok(vec![]));
        assert_eq!(recv(&mut stream, ClientStanza::HeartbeatAck(Some(4))), Ok(vec![Effect::Confirmed(1)]));
    }

    #[test]
    fn a_message_goes_once_and_no_more_than_the_bound_wait() {
        let mut stream = open(0);
        for id in 0..IN_FLIGHT_MAX as u32 {
            stream.send(id, MESSAGE).unwrap();
            assert_eq!(stream.send(id, MESSAGE), Err(NotSent::AlreadyThere));
        }
        assert_eq!((stream.room(), stream.send(9999, MESSAGE)), (0, Err(NotSent::Full)));
        assert_eq!(recv(&mut stream, ClientStanza::StreamAck(Some(2))), Ok(vec![Effect::Confirmed(0)]));
        assert_eq!(stream.room(), 1);
        assert!(stream.send(9999, MESSAGE).is_ok());
    }

    #[test]
    fn what_no_client_may_do_ends_the_stream() {
        use StreamError::{LoggedInTwice, NeverSent, NotLoggedIn};
        let mut early = Stream::new();
        assert_eq!(recv(&mut early, ClientStanza::HeartbeatPing(None)), Err(NotLoggedIn));
        assert_eq!(recv(&mut early, login(&[])), Ok(vec![]));
        let mut unanswered = Stream::new();
        recv(&mut unanswered, login(&[])).unwrap();
        assert_eq!(recv(&mut unanswered, ClientStanza::StreamAck(None)), Err(NotLoggedIn));
        assert_eq!(recv(&mut open(0), login(&[])), Err(LoggedInTwice));
        let mut ahead = open(2);
        assert_eq!(recv(&mut ahead, ClientStanza::StreamAck(Some(4))), Err(NeverSent));
        assert_eq!((ahead.unconfirmed().count(), ahead.room()), (2, 0));
    }

    #[test]
    fn either_side_can_close() {
        let mut stream = open(1);
        assert_eq!(recv(&mut stream, ClientStanza::Close), Ok(vec![Effect::End]));
        assert_eq!((stream.close(), stream.ping()), (None, None));
        assert_eq!(stream.unconfirmed().collect::<Vec<_>>(), [1]);
        let mut stream = open(0);
        assert_eq!(stream.close().map(|frame| frame.tag), Some(tag::CLOSE));
        assert_eq!((stream.close(), stream.send(1, MESSAGE)), (None, Err(NotSent::NotOpen)));
    }

    #[test]
    fn the_longest_list_that_a_login_can_have_fits_into_a_frame() {
        let mut body = crate::mcs::wire::Writer::new().bytes(3, "1").bytes(5, "2");
        for n in 0..2 * IN_FLIGHT_MAX {
            body = body.bytes(10, format!("{n:0>width$}", width = PERSISTENT_ID_MAX));
        }
        let body = body.finish();
        assert!(body.len() <= BODY_MAX);
        let frame = Frame { tag: tag::LOGIN_REQUEST, body: body.into() };
        let Ok(ClientStanza::Login(login)) = ClientStanza::parse(&frame) else { panic!("no login") };
        assert_eq!(login.received.len(), 2 * IN_FLIGHT_MAX);
    }

    fn confirmations(effects: &[Effect<u32>]) -> impl Iterator<Item = u32> + '_ {
        effects.iter().filter_map(|effect| if let Effect::Confirmed(id) = effect { Some(*id) } else { None })
    }

    /// What may happen after the login.
    #[derive(Clone, Debug)]
    enum Step {
        Send(u8),
        /// The client acknowledges what has arrived, in one kind of stanza or another.
        Ack(u8),
        Ping,
        Break(bool),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => any::<u8>().prop_map(Step::Send),
            2 => any::<u8>().prop_map(Step::Ack),
            1 => Just(Step::Ping),
            1 => any::<bool>().prop_map(Step::Break),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        /// A client after Chromium's rules, which fires an event for everything that comes and lists after a break what
        /// it had: however it acknowledges, no message comes to it twice, and what is confirmed did come.
        #[test]
        fn nothing_comes_twice_and_nothing_is_confirmed_that_did_not_come(steps in steps()) {
            let mut stream = open(0);
            // The client's side: the ids that it ever had, and how many stanzas came on this connection.
            let (mut had, mut arrived) = (Vec::new(), 1);
            let mut confirmed = Vec::new();
            for step in steps {
                match step {
                    Step::Send(id) if confirmed.contains(&u32::from(id)) => {}
                    Step::Send(id) => if stream.send(id.into(), MESSAGE).is_ok() {
                        prop_assert!(!had.contains(&u32::from(id)), "{id} came twice");
                        had.push(id.into());
                        arrived += 1;
                    },
                    Step::Ack(kind) => {
                        let stanza = if kind & 1 == 0 { ClientStanza::StreamAck } else { ClientStanza::HeartbeatPing };
                        let effects = recv(&mut stream, stanza(Some(arrived))).unwrap();
                        arrived += effects.iter().filter(|e| matches!(e, Effect::Write(_))).count() as u32;
                        confirmed.extend(confirmations(&effects));
                        prop_assert_eq!(stream.unconfirmed().count(), 0);
                    }
                    Step::Ping => arrived += u32::from(stream.ping().is_some()),
                    Step::Break(politely) => {
                        if politely {
                            recv(&mut stream, ClientStanza::Close).unwrap();
                        }
                        stream = Stream::new();
                        recv(&mut stream, login(&[])).unwrap();
                        let mut effects = Vec::new();
                        stream.accept(had.iter().copied(), 60_000, NOW, &mut effects);
                        confirmed.extend(confirmations(&effects));
                        arrived = 1;
                    }
                }
                prop_assert!(confirmed.iter().all(|id| had.contains(id)));
            }
        }
    }
}
