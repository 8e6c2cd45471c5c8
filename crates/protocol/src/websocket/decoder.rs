//! Decodes the messages and control frames of a client.

use super::close::Close;
use super::frame::{FrameError, Head, Opcode, mask};

/// A message or control frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole text.
    Text(String),
    /// Bytes, as many.
    Binary(Vec<u8>),
    /// A ping, whose payload goes into the answer.
    Ping(Vec<u8>),
    /// The answer to a ping with this payload.
    Pong(Vec<u8>),
    /// The end.
    Close(Close),
}

/// Makes messages out of bytes, wherever they are cut. It has no memory allocated while it has no part of a message.
#[derive(Debug)]
pub struct Decoder {
    /// The payload of a message at most.
    most: usize,
    bytes: Vec<u8>,
    /// How many of them are processed.
    taken: usize,
    /// The message of which not all pieces have come. Boxed, because hardly any client sends one in pieces.
    begun: Option<Box<Begun>>,
}

#[derive(Debug)]
struct Begun {
    is_text: bool,
    payload: Vec<u8>,
}

impl Decoder {
    /// A decoder of messages of at most `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { most, bytes: Vec::new(), taken: 0, begun: None }
    }

    /// Adds bytes that were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.taken));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message or control frame; `None` if it is not all there.
    ///
    /// # Errors
    /// The client broke a rule; what follows on the connection means nothing.
    pub fn next_event(&mut self) -> Result<Option<Event>, FrameError> {
        while let Some((head, payload)) = self.next_frame()? {
            let event = match head.opcode {
                Opcode::Ping => Event::Ping(payload),
                Opcode::Pong => Event::Pong(payload),
                Opcode::Close => Event::Close(Close::parse(&payload)?),
                Opcode::Text | Opcode::Binary if self.begun.is_some() => return Err(FrameError::Order),
                Opcode::Text | Opcode::Binary => {
                    let message = Begun { is_text: head.opcode == Opcode::Text, payload };
                    if !head.is_last {
                        self.begun = Some(Box::new(message));
                        continue;
                    }
                    message.end()?
                }
                Opcode::Continuation => {
                    let mut message = self.begun.take().ok_or(FrameError::Order)?;
                    message.payload.extend(payload);
                    if !head.is_last {
                        self.begun = Some(message);
                        continue;
                    }
                    message.end()?
                }
            };
            return Ok(Some(event));
        }
        Ok(None)
    }

    /// The next frame and its payload without the mask. One that makes a message too long is refused by its head.
    fn next_frame(&mut self) -> Result<Option<(Head, Vec<u8>)>, FrameError> {
        debug_assert!(self.taken <= self.bytes.len(), "only what was read is taken");
        let unread = &self.bytes[self.taken..];
        let Some(head) = Head::parse(unread)? else { return Ok(None) };
        let before = self.begun.as_ref().map_or(0, |begun| begun.payload.len());
        debug_assert!(before <= self.most, "a message is bounded");
        // A control frame is no part of the message, and shorter than any bound.
        let room = if head.opcode == Opcode::Continuation { self.most - before } else { self.most };
        let size = usize::try_from(head.payload).ok().filter(|&size| size <= room).ok_or(FrameError::TooLong)?;
        let Some(payload) = unread.get(head.size..).and_then(|payload| payload.get(..size)) else { return Ok(None) };
        let mut payload = payload.to_vec();
        self.taken += head.size + size;
        if self.taken == self.bytes.len() {
            (self.bytes, self.taken) = (Vec::new(), 0);
        }
        mask(&mut payload, head.key);
        Ok(Some((head, payload)))
    }
}

impl Begun {
    fn end(self) -> Result<Event, FrameError> {
        if !self.is_text {
            return Ok(Event::Binary(self.payload));
        }
        String::from_utf8(self.payload).map(Event::Text).map_err(|_| FrameError::NotText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
        bytes.extend(KEY);
        let mut masked = payload.to_vec();
        mask(&mut masked, KEY);
        bytes.extend(masked);
        bytes
    }

    fn text(text: &str) -> Event {
        Event::Text(text.to_owned())
    }

    /// All events of `bytes` when they are fed `step` at a time, and the error at the end.
    fn decoded(bytes: &[u8], step: usize) -> (Vec<Event>, Option<FrameError>) {
        let (mut decoder, mut all) = (Decoder::new(100), Vec::new());
        for piece in bytes.chunks(step) {
            decoder.feed(piece);
            loop {
                match decoder.next_event() {
                    Ok(Some(event)) => all.push(event),
                    Ok(None) => break,
                    Err(error) => return (all, Some(error)),
                }
            }
        }
        (all, None)
    }

    #[test]
    fn messages_come_whole_however_they_are_cut_and_control_frames_come_between_their_pieces() {
        let bytes = [
            frame(0x81, b"one"),
            frame(0x01, b"tw"),
            frame(0x89, b"ping"),
            frame(0x00, b""),
            frame(0x80, b"o"),
            frame(0x8a, b"pong"),
            frame(0x82, &[0, 255]),
            frame(0x88, b"\x03\xe8bye"),
        ]
        .concat();
        let all = vec![
            text("one"),
            Event::Ping(b"ping".to_vec()),
            text("two"),
            Event::Pong(b"pong".to_vec()),
            Event::Binary(vec![0, 255]),
            Event::Close(Close { code: Some(1000) }),
        ];
        for step in 1..=bytes.len() {
            assert_eq!(decoded(&bytes, step), (all.clone(), None));
        }
    }

    #[test]
    fn what_breaks_a_rule_is_refused_fx_10() {
        for (bytes, error) in [
            (frame(0x80, b"x"), FrameError::Order),
            ([frame(0x01, b"x"), frame(0x81, b"y")].concat(), FrameError::Order),
            (frame(0x81, &[0xff]), FrameError::NotText),
            (frame(0x81, &[b'x'; 101]), FrameError::TooLong),
            ([frame(0x01, &[b'x'; 60]), frame(0x80, &[b'x'; 41])].concat(), FrameError::TooLong),
            (frame(0x88, b"x"), FrameError::Close),
        ] {
            assert_eq!(decoded(&bytes, bytes.len()), (Vec::new(), Some(error)));
            assert_eq!(decoded(&bytes, 1), (Vec::new(), Some(error)));
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_before_it_is_here() {
        let mut decoder = Decoder::new(100);
        decoder.feed(&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
        assert_eq!(decoder.next_event(), Err(FrameError::TooLong));
    }

    #[test]
    fn a_text_may_be_cut_in_the_middle_of_a_character() {
        let bytes = [frame(0x01, &[0xc3]), frame(0x80, &[0xa9])].concat();
        assert_eq!(decoded(&bytes, 3), (vec![text("é")], None));
    }

    #[test]
    fn between_two_messages_no_memory_is_held() {
        let mut decoder = Decoder::new(100);
        decoder.feed(&frame(0x81, b"one"));
        assert_eq!(decoder.next_event(), Ok(Some(text("one"))));
        assert_eq!(decoder.next_event(), Ok(None));
        assert_eq!(decoder.bytes.capacity(), 0);
    }
}
