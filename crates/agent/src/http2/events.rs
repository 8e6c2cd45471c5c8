//! Messages as events: `text/event-stream` (WHATWG HTML s9.2) as Doorbell sends it where pushes cannot pass. A message is
//! the same as a pushed one: its fields and its body are members of a JSON object.

use std::collections::BTreeMap;

use doorbell_protocol::base64url;
use doorbell_protocol::headers::link::{Link, REL_PUSH};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Deserialize;
use url::Url;

use crate::http2::held_get::Push;
use crate::message::Pushed;

/// The media type.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
/// Room in a line for what surrounds a body: two URLs, and the fields of an `aesgcm` message.
const SURROUNDINGS_MAX: usize = 16 * 1024;

/// Cuts the bytes of a stream into messages.
pub(crate) struct Parser {
    resource: Url,
    body_bytes_max: usize,
    /// As much of the line as fits.
    line: Vec<u8>,
    line_is_too_long: bool,
    after_cr: bool,
    event: Event,
}

/// An event of which some lines have come.
#[derive(Default)]
struct Event {
    id: String,
    kind: String,
    /// `None` if it is longer than the agent reads.
    data: Option<String>,
    has_data: bool,
}

/// The data of `message`.
#[derive(Deserialize)]
struct Message {
    message: String,
    push: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Parser {
    /// For the messages of `resource`, with bodies of this length at most.
    pub(crate) fn new(resource: Url, body_bytes_max: usize) -> Self {
        let event = Event::default();
        Self { resource, body_bytes_max, line: Vec::new(), line_is_too_long: false, after_cr: false, event }
    }

    /// Adds received bytes: the messages that are complete with them.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Push> {
        let mut pushes = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                // The CR before it has ended the line.
                b'\n' if after_cr => {}
                b'\r' | b'\n' => pushes.extend(self.end_line()),
                _ if self.line.len() < self.line_bytes_max() => self.line.push(byte),
                _ => self.line_is_too_long = true,
            }
        }
        pushes
    }

    /// Whether no event is incomplete.
    pub(crate) fn is_between_events(&self) -> bool {
        self.line.is_empty() && !self.event.has_data
    }

    /// Base64url makes four bytes of three.
    fn line_bytes_max(&self) -> usize {
        self.body_bytes_max / 3 * 4 + SURROUNDINGS_MAX
    }

    fn end_line(&mut self) -> Option<Push> {
        let line = std::mem::take(&mut self.line);
        let is_too_long = std::mem::take(&mut self.line_is_too_long);
        if line.is_empty() {
            return self.dispatch();
        }
        // JSON is UTF-8; what is not cannot be read as a message either.
        let line = String::from_utf8_lossy(&line);
        // A line that begins with a colon is a comment: its field has no name.
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !is_too_long => value.clone_into(&mut self.event.id),
            "event" if !is_too_long => value.clone_into(&mut self.event.kind),
            // Doorbell sends one line of data.
            "data" => {
                let fits = !is_too_long && !self.event.has_data;
                self.event.data = fits.then(|| value.to_owned());
                self.event.has_data = true;
            }
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Push> {
        let event = std::mem::take(&mut self.event);
        if event.kind != "message" || !event.has_data {
            return None;
        }
        let Some(data) = event.data else {
            let uri = self.resource.join(&event.id).ok();
            return Some(uri.map_or(Push::Unusable("an event without an id"), |uri| self.message(uri, None)));
        };
        let Ok(read) = serde_json::from_str::<Message>(&data) else {
            return Some(Push::Unusable("an event that is no message"));
        };
        let Ok(uri) = self.resource.join(&read.message) else {
            return Some(Push::Unusable("an event whose message is no URL"));
        };
        Some(self.message(uri, Some(read)))
    }

    /// The message at `uri`; `None` if it was too long to be read.
    fn message(&self, uri: Url, read: Option<Message>) -> Push {
        // The DELETE goes to the origin of this URI.
        if uri.origin() != self.resource.origin() {
            return Push::Unusable("an event for another origin");
        }
        let (mut promise, mut headers) = (HeaderMap::new(), HeaderMap::new());
        let Some(Message { push, headers: fields, body, .. }) = read else {
            return Push::TooLong(Box::new(Pushed { uri, promise, headers, body: Vec::new().into() }));
        };
        for (name, value) in fields {
            let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::try_from(value)) else {
                return Push::Unusable("an event with a field that is none of HTTP");
            };
            headers.append(name, value);
        }
        let (Some(link), Ok(body)) = (Link::new(push, REL_PUSH).to_value(), base64url::decode(&body)) else {
            return Push::Unusable("an event whose body or push resource cannot be read");
        };
        promise.insert(header::LINK, link);
        let kind = if body.len() > self.body_bytes_max { Push::TooLong } else { Push::Complete };
        kind(Box::new(Pushed { uri, promise, headers, body: body.into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ":\n\nid: /m/1\nevent: message\ndata: {\"message\":\"https://p.example/m/1\",\
        \"push\":\"https://p.example/p/1\",\"headers\":{\"content-encoding\":\"aes128gcm\"},\"body\":\"AQID\"}\n\n:\n\n\
        id: /m/2\nevent: message\ndata: {\"message\":\"/m/2\",\"push\":\"/p/1\",\"headers\":{},\"body\":\"\"}\n\n";

    fn parser(body_bytes_max: usize) -> Parser {
        Parser::new(Url::parse("https://p.example/s/1").unwrap(), body_bytes_max)
    }

    /// A message by its URI and body, or why it is none.
    fn shown(push: Push) -> String {
        match push {
            Push::Complete(pushed) => {
                let endpoints = pushed.endpoints();
                let endpoint = endpoints.first().map_or("none", Url::as_str);
                format!("{} {:?} for {endpoint}", pushed.uri, pushed.body)
            }
            Push::TooLong(pushed) => format!("{} is too long", pushed.uri),
            Push::Unusable(why) => why.to_owned(),
        }
    }

    #[test]
    fn messages_are_read_however_the_bytes_are_cut_and_lines_end() {
        let expected = [
            "https://p.example/m/1 b\"\\x01\\x02\\x03\" for https://p.example/p/1",
            "https://p.example/m/2 b\"\" for https://p.example/p/1",
        ];
        for text in [STREAM.to_owned(), STREAM.replace('\n', "\r\n"), STREAM.replace('\n', "\r")] {
            for size in [1, 7, text.len()] {
                let mut parser = parser(3);
                let read: Vec<_> = text.as_bytes().chunks(size).flat_map(|cut| parser.feed(cut)).map(shown).collect();
                assert_eq!(read, expected, "pieces of {size}");
                assert!(parser.is_between_events());
            }
        }
    }

    #[test]
    fn what_is_too_long_is_named_and_the_stream_goes_on() {
        let long = format!("id: /m/9\nevent: message\ndata: {}\n\n", "x".repeat(3 * SURROUNDINGS_MAX));
        let read: Vec<_> = parser(2).feed(format!("{long}{STREAM}").as_bytes()).into_iter().map(shown).collect();
        let too_long = |n| format!("https://p.example/m/{n} is too long");
        assert_eq!(read[..2], [too_long(9), too_long(1)]);
        assert_eq!(read.len(), 3);
    }

    #[test]
    fn what_is_no_message_of_this_service_is_refused_and_other_events_are_skipped() {
        let read = |data: &str| parser(9).feed(format!("event: message\ndata: {data}\n\n").as_bytes());
        let good = r#"{"message":"/m/1","push":"/p/1","headers":{},"body":""}"#;
        assert!(matches!(read(good)[..], [Push::Complete(_)]));
        for (from, to) in [
            ("/m/1", "https://elsewhere.example/m/1"),
            ("/m/1", "https://"),
            (r#""body":"""#, r#""body":"?""#),
            (r#""headers":{}"#, r#""headers":{"a b":"c"}"#),
            (r#""headers":{}"#, r#""headers":{"a":"c\n"}"#),
            (good, "[]"),
        ] {
            assert!(matches!(read(&good.replace(from, to))[..], [Push::Unusable(_)]), "{to}");
        }
        assert!(parser(9).feed(b"event: news\ndata: x\n\nevent: message\n\ndata: x\n\n").is_empty());
    }

    #[test]
    fn a_stream_with_any_byte_changed_is_read_the_same_however_it_is_cut() {
        let read = |stream: &[u8], size| {
            let mut parser = parser(3);
            let pushes: Vec<_> = stream.chunks(size).flat_map(|cut| parser.feed(cut)).map(shown).collect();
            (pushes, parser.is_between_events())
        };
        for place in 0..STREAM.len() {
            for byte in *b"\r\n: \0{\"\xff" {
                let mut stream = STREAM.as_bytes().to_vec();
                stream[place] = byte;
                let whole = read(&stream, stream.len());
                assert!(whole.0.len() <= 3, "{place} {byte}");
                assert_eq!(read(&stream, 1), whole, "{place} {byte}");
                assert_eq!(read(&stream, 5), whole, "{place} {byte}");
            }
        }
    }

    #[test]
    fn an_incomplete_event_is_detected() {
        for (cut, is_between) in [("", true), (":\n\n", true), ("id: 1", false), ("id: 1\ndata: x\n", false)] {
            let mut parser = parser(9);
            parser.feed(cut.as_bytes());
            assert_eq!(parser.is_between_events(), is_between, "{cut:?}");
        }
    }
}
