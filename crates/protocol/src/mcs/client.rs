//! What Chromium sends on the stream, as captured from Chromium 156: logins, acknowledgements, heartbeats.
//!
//! Each of these counts as one stanza in the implicit numbering of [`super::stream`], also those that we do not know.

use std::fmt;

use super::device::Device;
use super::frame::{Frame, tag};
use super::wire::{Fields, WireError};

/// The longest persistent id, in bytes. Ours have fewer; a longer one can only come from another push
/// service that the profile used before.
pub const PERSISTENT_ID_MAX: usize = 64;

/// How many of a login's persistent ids are kept, the first ones: the order does not show their age. What is left out
/// would be delivered again; [`super::stream::IN_FLIGHT_MAX`] keeps the list far shorter than this.
pub const RECEIVED_MAX: usize = 4096;

/// The longest name of a client, in bytes ("chrome-156.0.8078.108").
pub const CLIENT_NAME_MAX: usize = 64;

/// One stanza from Chromium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientStanza {
    /// The first: who it is and what it has.
    Login(LoginRequest),
    /// Wants a HeartbeatAck.
    HeartbeatPing(Acked),
    /// Answers our HeartbeatPing.
    HeartbeatAck(Acked),
    /// An IqStanza with the number that it received; Chromium sends one at once after each message that asks for it, else
    /// after ten messages.
    StreamAck(Acked),
    /// Any other IqStanza: nothing to do but to count it.
    Iq(Acked),
    /// A message from the device. It has no receiver; it is counted, and so acknowledged.
    DataMessage(Acked),
    /// It will go.
    Close,
    /// A kind that we do not know, with its tag; its body was not read.
    Unknown(u8),
}

/// How many of the server's stanzas have arrived: `last_stream_id_received`, if the stanza has it.
pub type Acked = Option<u32>;

/// Who logs in.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginRequest {
    /// The client's name and version. The answer must repeat it.
    pub client: String,
    /// The credentials.
    pub device: Device,
    /// Messages that arrived earlier and of which the client does not know whether we know: they must not be sent
    /// again. At most [`RECEIVED_MAX`], each of 1 to [`PERSISTENT_ID_MAX`] bytes; others are left out.
    pub received: Vec<String>,
}

impl ClientStanza {
    /// Reads a frame.
    pub fn parse(frame: &Frame) -> Result<Self, WireError> {
        let body = frame.body.as_ref();
        Ok(match frame.tag {
            tag::LOGIN_REQUEST => Self::Login(LoginRequest::parse(body)?),
            tag::HEARTBEAT_PING => Self::HeartbeatPing(acked(body, 2)?),
            tag::HEARTBEAT_ACK => Self::HeartbeatAck(acked(body, 2)?),
            tag::IQ_STANZA if is_stream_ack(body)? => Self::StreamAck(acked(body, 10)?),
            tag::IQ_STANZA => Self::Iq(acked(body, 10)?),
            tag::DATA_MESSAGE_STANZA => Self::DataMessage(acked(body, 11)?),
            tag::CLOSE => Self::Close,
            other => Self::Unknown(other),
        })
    }

    /// How many of the server's stanzas have arrived, if it has that number. Any stanza with a number acknowledges.
    pub fn acked(&self) -> Acked {
        match self {
            Self::HeartbeatPing(acked)
            | Self::HeartbeatAck(acked)
            | Self::StreamAck(acked)
            | Self::Iq(acked)
            | Self::DataMessage(acked) => *acked,
            Self::Login(_) | Self::Close | Self::Unknown(_) => None,
        }
    }
}

impl LoginRequest {
    /// Fields: 1 client, 3 and 4 the id in decimal, 5 the secret in decimal, 6 "android-" and the id in hexadecimal,
    /// 10 a received persistent id (repeated); 16 means that 5 is a device's secret (2). All else is for statistics.
    fn parse(body: &[u8]) -> Result<Self, WireError> {
        const DECIMAL_MAX: usize = 20;
        let (mut client, mut id, mut secret) = ("", None, None);
        let mut received = Vec::new();
        for field in Fields::new(body) {
            let field = field?;
            match field.number {
                1 => client = field.text(CLIENT_NAME_MAX)?,
                3 => id = Some(field.text(DECIMAL_MAX)?),
                5 => secret = Some(field.text(DECIMAL_MAX)?),
                10 if received.len() < RECEIVED_MAX => received.extend(persistent_id(field.bytes()?)),
                _ => {}
            }
        }
        let (id, secret) = (id.ok_or(WireError::Missing(3))?, secret.ok_or(WireError::Missing(5))?);
        let device = Device::parse(id, secret).ok_or(WireError::Value(5))?;
        Ok(Self { client: client.to_owned(), device, received })
    }
}

/// The text of a persistent id that could be ours.
fn persistent_id(id: &[u8]) -> Option<String> {
    let id = std::str::from_utf8(id).ok().filter(|id| (1..=PERSISTENT_ID_MAX).contains(&id.len()));
    id.map(str::to_owned)
}

/// Field `number` of a stanza, the last one if it is repeated, as protobuf has it.
fn acked(body: &[u8], number: u32) -> Result<Acked, WireError> {
    let mut acked = None;
    for field in Fields::new(body) {
        let field = field?;
        if field.number == number {
            acked = Some(field.u32()?);
        }
    }
    // 0 would be "nothing yet"; Chromium leaves the field out then.
    Ok(acked.filter(|&n| n != 0))
}

/// Whether the extension of an IqStanza (field 7) is number 13, an acknowledgement of the stream.
fn is_stream_ack(body: &[u8]) -> Result<bool, WireError> {
    const STREAM_ACK: u64 = 13;
    let mut is_ack = false;
    for field in Fields::new(body) {
        let field = field?;
        if field.number == 7 {
            for inner in Fields::new(field.bytes()?) {
                let inner = inner?;
                if inner.number == 1 {
                    is_ack = inner.varint()? == STREAM_ACK;
                }
            }
        }
    }
    Ok(is_ack)
}

/// Shows how many messages it lists, and no secret.
impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginRequest({:?}, {} received)", self.client, self.received.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcs::frame::{Decoder, VERSION};
    use crate::mcs::hex;
    use crate::mcs::wire::Writer;
    use proptest::prelude::*;

    fn frame(bytes: &str) -> Frame {
        let mut decoder = Decoder::new();
        decoder.feed(&[VERSION]);
        decoder.feed(&hex(bytes));
        decoder.next_frame().unwrap().unwrap()
    }

    /// The first login of a new profile, and one after a connection on which "id-14" arrived; Chromium 156.0.8078.108.
    const LOGIN: &str = "\
        0298010a156368726f6d652d3135362e302e383037382e313038120f6d63732e616e64726f69642e636f6d1a1333353731\
        3235323535323133373936373336352213333537313235323535323133373936373336352a133335333535363635333538\
        39323732393234353218616e64726f69642d33313866613334363564363430373035420b0a066e65775f76631201316000\
        7001800102880101";
    const LOGIN_AGAIN: &str = "\
        02bf010a156368726f6d652d3135362e302e383037382e313038120f6d63732e616e64726f69642e636f6d1a1333353731\
        3235323535323133373936373336352213333537313235323535323133373936373336352a133335333535363635333538\
        39323732393234353218616e64726f69642d33313866613334363564363430373035420b0a066e65775f76631201315205\
        69642d313460007001800102880101b2011d0803c00c01d00c8094f3d5a134d80cb19af5d5a134e0129494f3d5a134";

    fn login(bytes: &str) -> LoginRequest {
        match ClientStanza::parse(&frame(bytes)) {
            Ok(ClientStanza::Login(login)) => login,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_logins_as_captured_have_the_device_and_its_messages() {
        let (first, again) = (login(LOGIN), login(LOGIN_AGAIN));
        assert_eq!(first.client, "chrome-156.0.8078.108");
        assert_eq!(
            (first.device.id.get(), first.device.secret.get()),
            (0x318f_a346_5d64_0705, 3_535_566_535_892_729_245)
        );
        assert_eq!((first.received.len(), again.received.as_slice()), (0, &["id-14".to_owned()][..]));
        assert_eq!(again.device, first.device);
        assert_eq!(format!("{again:?}"), "LoginRequest(\"chrome-156.0.8078.108\", 1 received)");
    }

    #[test]
    fn acknowledgements_as_captured_have_their_number() {
        for (bytes, stanza) in [
            ("070c10011a003a04080d12005002", ClientStanza::StreamAck(Some(2))),
            ("070c10011a003a04080d12005010", ClientStanza::StreamAck(Some(16))),
            ("00021002", ClientStanza::HeartbeatPing(Some(2))),
            ("0000", ClientStanza::HeartbeatPing(None)),
            ("0102100d", ClientStanza::HeartbeatAck(Some(13))),
            ("07061001 3a02080c", ClientStanza::Iq(None)),
            ("0802 5803", ClientStanza::DataMessage(Some(3))),
            ("0400", ClientStanza::Close),
            ("3c01ff", ClientStanza::Unknown(60)),
            ("0a020801", ClientStanza::Unknown(10)),
        ] {
            let stanza_read = ClientStanza::parse(&frame(bytes));
            assert_eq!(stanza_read, Ok(stanza), "{bytes}");
        }
    }

    #[test]
    fn a_login_cut_anywhere_is_an_error_or_lacks_what_follows_and_never_has_another_device() {
        let whole = frame(LOGIN_AGAIN);
        let device = login(LOGIN_AGAIN).device;
        for cut in 0..whole.body.len() {
            let cut = Frame { tag: whole.tag, body: whole.body.slice(..cut) };
            if let Ok(ClientStanza::Login(login)) = ClientStanza::parse(&cut) {
                assert_eq!(login.device, device);
            }
        }
    }

    #[test]
    fn logins_that_cannot_be_are_refused() {
        let parse = |message: Writer| LoginRequest::parse(&message.finish());
        let long = "9".repeat(21);
        for (message, error) in [
            (Writer::new().bytes(5, "2"), WireError::Missing(3)),
            (Writer::new().bytes(3, "1"), WireError::Missing(5)),
            (Writer::new().bytes(3, "1").bytes(5, "0"), WireError::Value(5)),
            (Writer::new().bytes(3, "-1").bytes(5, "2"), WireError::Value(5)),
            (Writer::new().bytes(3, &long).bytes(5, "2"), WireError::Value(3)),
            (Writer::new().varint(3, 1).bytes(5, "2"), WireError::Type(3)),
            (Writer::new().bytes(1, "c".repeat(CLIENT_NAME_MAX + 1)), WireError::Value(1)),
        ] {
            assert_eq!(parse(message), Err(error));
        }
        for ack in [1 << 32, u64::MAX] {
            let frame = Frame { tag: tag::HEARTBEAT_PING, body: Writer::new().varint(2, ack).finish().into() };
            assert_eq!(ClientStanza::parse(&frame), Err(WireError::Value(2)));
        }
    }

    #[test]
    fn ids_that_cannot_be_ours_are_left_out_and_their_number_is_bounded() {
        let ids = |ids: &[&[u8]]| {
            let start = Writer::new().bytes(3, "1").bytes(5, "2");
            LoginRequest::parse(&ids.iter().fold(start, |message, id| message.bytes(10, id)).finish()).unwrap().received
        };
        assert_eq!(
            ids(&[b"", b"a", b"\xff", &[b'x'; PERSISTENT_ID_MAX + 1], b"0:17%e60f", b"a"]),
            ["a", "0:17%e60f", "a"]
        );
        assert_eq!(ids(&vec![&b"x"[..]; RECEIVED_MAX + 9]).len(), RECEIVED_MAX);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            id in 1u64..,
            secret in 1u64..,
            received in prop::collection::vec("[!-~]{1,64}", 0..9),
        ) {
            let message = Writer::new().fixed64(99, 1).bytes(3, id.to_string()).bytes(5, secret.to_string());
            let message = received.iter().fold(message, |message, id| message.bytes(10, id));
            let login = LoginRequest::parse(&message.finish()).unwrap();
            prop_assert_eq!((login.device.id.get(), login.device.secret.get()), (id, secret));
            prop_assert_eq!(login.received, received);
        }

        #[test]
        fn no_bytes_make_it_panic(tag in 0u8..12, body: Vec<u8>) {
            if let Ok(stanza) = ClientStanza::parse(&Frame { tag, body: body.into() }) {
                prop_assert_ne!(stanza.acked(), Some(0));
            }
        }
    }
}
