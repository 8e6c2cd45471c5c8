//! What a client says, out of the octets that it sends.

use super::close::Close;
use super::frame::{FrameError, Head, Opcode, mask};

/// What a client said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A whole text.
    Text(String),
    /// Octets, as many.
    Binary(Vec<u8>),
    /// A ping, whose payload goes into the answer.
    Ping(Vec<u8>),
    /// The answer to a ping with this payload.
    Pong(Vec<u8>),
    /// The end.
    Close(Close),
}

/// Takes octets however they are cut and gives out messages. Holds no memory while there is no part of a message in it.
#[derive(Debug)]
pub struct Decoder {
    /// The payload of a message at most.
    most: usize,
    octets: Vec<u8>,
    /// How many of them are done with.
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
    /// One that takes messages of `most` octets.
    pub fn new(most: usize) -> Self {
        Self { most, octets: Vec::new(), taken: 0, begun: None }
    }

    /// Takes what was read.
    pub fn feed(&mut self, octets: &[u8]) {
        self.octets.drain(..std::mem::take(&mut self.taken));
        self.octets.extend_from_slice(octets);
    }

    /// The next message or control frame; `None` if it is not all there.
    ///
    /// # Errors
    /// The client broke a rule; what follows on the connection means nothing.
    pub fn next_heard(&mut self) -> Result<Option<Heard>, FrameError> {
        while let Some((head, payload)) = self.next_frame()? {
            let heard = match head.opcode {
                Opcode::Ping => Heard::Ping(payload),
                Opcode::Pong => Heard::Pong(payload),
                Opcode::Close => Heard::Close(Close::parse(&payload)?),
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
            return Ok(Some(heard));
        }
        Ok(None)
    }

    /// The next frame and its payload without the mask. One that makes a message too long is refused by its head.
    fn next_frame(&mut self) -> Result<Option<(Head, Vec<u8>)>, FrameError> {
        let unread = self.octets.get(self.taken..).unwrap_or_default();
        let Some(head) = Head::parse(unread)? else { return Ok(None) };
        let before = self.begun.as_ref().map_or(0, |begun| begun.payload.len());
        // A control frame is no part of the message, and shorter than any bound.
        let room = if head.opcode == Opcode::Continuation { self.most - before } else { self.most };
        let size = usize::try_from(head.payload).ok().filter(|&size| size <= room).ok_or(FrameError::TooLong)?;
        let Some(payload) = unread.get(head.size..).and_then(|payload| payload.get(..size)) else { return Ok(None) };
        let mut payload = payload.to_vec();
        self.taken += head.size + size;
        if self.taken == self.octets.len() {
            (self.octets, self.taken) = (Vec::new(), 0);
        }
        mask(&mut payload, head.key);
        Ok(Some((head, payload)))
    }
}

impl Begun {
    fn end(self) -> Result<Heard, FrameError> {
        if !self.is_text {
            return Ok(Heard::Binary(self.payload));
        }
        String::from_utf8(self.payload).map(Heard::Text).map_err(|_| FrameError::NotText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    /// A client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut octets = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
        octets.extend(KEY);
        let mut masked = payload.to_vec();
        mask(&mut masked, KEY);
        octets.extend(masked);
        octets
    }

    fn text(text: &str) -> Heard {
        Heard::Text(text.to_owned())
    }

    /// All that comes of `octets` when they are fed `step` at a time, and the error at the end.
    fn heard(octets: &[u8], step: usize) -> (Vec<Heard>, Option<FrameError>) {
        let (mut decoder, mut all) = (Decoder::new(100), Vec::new());
        for piece in octets.chunks(step) {
            decoder.feed(piece);
            loop {
                match decoder.next_heard() {
                    Ok(Some(heard)) => all.push(heard),
                    Ok(None) => break,
                    Err(error) => return (all, Some(error)),
                }
            }
        }
        (all, None)
    }

    #[test]
    fn messages_come_whole_however_they_are_cut_and_control_frames_come_between_their_pieces() {
        let octets = [
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
            Heard::Ping(b"ping".to_vec()),
            text("two"),
            Heard::Pong(b"pong".to_vec()),
            Heard::Binary(vec![0, 255]),
            Heard::Close(Close { code: Some(1000) }),
        ];
        for step in 1..=octets.len() {
            assert_eq!(heard(&octets, step), (all.clone(), None));
        }
    }

    #[test]
    fn what_breaks_a_rule_is_refused_fx_10() {
        for (octets, error) in [
            (frame(0x80, b"x"), FrameError::Order),
            ([frame(0x01, b"x"), frame(0x81, b"y")].concat(), FrameError::Order),
            (frame(0x81, &[0xff]), FrameError::NotText),
            (frame(0x81, &[b'x'; 101]), FrameError::TooLong),
            ([frame(0x01, &[b'x'; 60]), frame(0x80, &[b'x'; 41])].concat(), FrameError::TooLong),
            (frame(0x88, b"x"), FrameError::Close),
        ] {
            assert_eq!(heard(&octets, octets.len()), (Vec::new(), Some(error)));
            assert_eq!(heard(&octets, 1), (Vec::new(), Some(error)));
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_before_it_is_here() {
        let mut decoder = Decoder::new(100);
        decoder.feed(&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
        assert_eq!(decoder.next_heard(), Err(FrameError::TooLong));
    }

    #[test]
    fn a_text_may_be_cut_in_the_middle_of_a_character() {
        let octets = [frame(0x01, &[0xc3]), frame(0x80, &[0xa9])].concat();
        assert_eq!(heard(&octets, 3), (vec![text("é")], None));
    }

    #[test]
    fn between_two_messages_no_memory_is_held() {
        let mut decoder = Decoder::new(100);
        decoder.feed(&frame(0x81, b"one"));
        assert_eq!(decoder.next_heard(), Ok(Some(text("one"))));
        assert_eq!(decoder.next_heard(), Ok(None));
        assert_eq!(decoder.octets.capacity(), 0);
    }
}
