//! The events of the wake door: `text/event-stream` (WHATWG HTML, "Server-sent events"), as far as the door uses it.

use doorbell_protocol::headers::urgency::Urgency;
use serde::Deserialize;

use super::DoorEvent;
use crate::rules::Waiting;

/// An event is about a hundred bytes. A line or an event that is longer is no event of the wake door.
const EVENT_BYTES_MAX: usize = 4096;

/// Why the stream is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Cuts the bytes of a stream into events.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    name: String,
    data: String,
}

/// The data of `waiting`.
#[derive(Deserialize)]
struct WaitingJson {
    messages: u64,
    urgency: String,
    since: u64,
}

impl Parser {
    /// Adds received bytes: the events that are complete with them. Events that this client does not know are skipped.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<DoorEvent>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                events.extend(self.end_line(String::from_utf8_lossy(&line).trim_end_matches('\r')));
            } else {
                self.line.push(byte);
            }
            if self.line.len() + self.name.len() + self.data.len() > EVENT_BYTES_MAX {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn end_line(&mut self, line: &str) -> Option<DoorEvent> {
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            return read(&name, &data);
        }
        // A line that begins with a colon is a comment: its field has no name.
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            _ => {}
        }
        None
    }
}

fn read(name: &str, data: &str) -> Option<DoorEvent> {
    match name {
        "quiet" => Some(DoorEvent::Quiet),
        "waiting" => {
            let waiting = serde_json::from_str::<WaitingJson>(data);
            let parsed = waiting.ok().and_then(|json| {
                let urgency: Urgency = json.urgency.parse().ok()?;
                Some(Waiting { messages: json.messages, urgency, since_ms: json.since })
            });
            if parsed.is_none() {
                tracing::warn!("the service sends a `waiting` event that cannot be read");
            }
            parsed.map(DoorEvent::Waiting)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str = ": hello\n\nevent: waiting\ndata: {\"messages\":2,\"urgency\":\"high\",\"since\":5,\
        \"expires\":9}\n\nevent: news\ndata: x\n\nevent: quiet\ndata: {}\n\n";

    fn expected() -> [DoorEvent; 2] {
        [DoorEvent::Waiting(Waiting { messages: 2, urgency: Urgency::High, since_ms: 5 }), DoorEvent::Quiet]
    }

    #[test]
    fn events_are_read_however_the_bytes_are_cut_and_lines_end() {
        for text in [EVENTS.to_owned(), EVENTS.replace('\n', "\r\n")] {
            for size in [1, 7, text.len()] {
                let mut parser = Parser::default();
                let events: Vec<_> = text.as_bytes().chunks(size).flat_map(|cut| parser.feed(cut).unwrap()).collect();
                assert_eq!(events, expected(), "pieces of {size}");
            }
        }
    }

    #[test]
    fn data_that_cannot_be_read_is_no_event() {
        for data in ["", "[]", "{}", r#"{"messages":1,"urgency":"extreme","since":1}"#, r#"{"messages":-1}"#] {
            let text = format!("event: waiting\ndata: {data}\n\n");
            assert_eq!(Parser::default().feed(text.as_bytes()), Ok(Vec::new()), "{data}");
        }
    }

    #[test]
    fn a_stream_without_end_of_line_or_event_is_given_up() {
        assert_eq!(Parser::default().feed(&[b'x'; EVENT_BYTES_MAX + 1]), Err(TooLong));
        let lines = "data: 0123456789\n".repeat(EVENT_BYTES_MAX / 8);
        assert_eq!(Parser::default().feed(lines.as_bytes()), Err(TooLong));
    }
}
