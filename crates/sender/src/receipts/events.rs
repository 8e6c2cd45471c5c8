//! A parser of `text/event-stream` (WHATWG HTML s9.2): bytes in, events out, wherever the network cuts them.
//!
//! The parser skips what is longer than the bounds and reads on: after an error each new connection would bring the same
//! event again, forever.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

/// The longest line that is read, in bytes. A receipt has one of about 300.
pub const LINE_MAX: usize = 16 * 1024;

/// The longest event that is read, in bytes of its type and data.
pub const EVENT_MAX: usize = 64 * 1024;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What to send as Last-Event-ID when everything up to this event was processed; `None` as long as the stream has no
    /// id. Empty: send none.
    pub id: Option<String>,
    /// Its type; empty means `message`.
    pub kind: String,
    /// Its lines of data, joined by line feeds.
    pub data: String,
}

/// The parser of one stream.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    line_is_too_long: bool,
    after_cr: bool,
    past_first_line: bool,
    id: Option<String>,
    kind: String,
    data: String,
    event_is_too_long: bool,
    reconnection_time: Option<Duration>,
}

impl Parser {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `bytes` and appends the events that they complete to `events`.
    pub fn feed(&mut self, bytes: &[u8], events: &mut VecDeque<Event>) {
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
            // The LF of a CRLF: its CR already ended the line.
            if mem::take(&mut self.after_cr) && part == b"\n" {
                continue;
            }
            match part.split_last() {
                Some((&end @ (b'\r' | b'\n'), line)) => {
                    self.gather(line);
                    self.after_cr = end == b'\r';
                    events.extend(self.end_line());
                }
                _ => self.gather(part),
            }
        }
    }

    /// How long the service wants a client to wait before it connects again (`retry`), if it sent that.
    pub fn reconnection_time(&self) -> Option<Duration> {
        self.reconnection_time
    }

    /// Whether no event is incomplete: a stream that ends here was not cut.
    pub fn is_between_events(&self) -> bool {
        self.line.is_empty() && self.kind.is_empty() && self.data.is_empty() && !self.event_is_too_long
    }

    fn gather(&mut self, bytes: &[u8]) {
        debug_assert!(self.line.len() <= LINE_MAX, "a line is bounded");
        let fitting = bytes.len().min(LINE_MAX - self.line.len());
        self.line_is_too_long |= bytes.len() > fitting;
        self.line.extend_from_slice(&bytes[..fitting]);
    }

    fn end_line(&mut self) -> Option<Event> {
        let bytes = mem::take(&mut self.line);
        let is_too_long = mem::take(&mut self.line_is_too_long);
        let text = String::from_utf8_lossy(&bytes);
        let is_first = !mem::replace(&mut self.past_first_line, true);
        let line = if is_first { without(&text, '\u{feff}') } else { &text };
        if line.is_empty() {
            return self.dispatch();
        }
        // A line without a colon is a name with an empty value (WHATWG HTML s9.2.6).
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name {
            // A comment of any length.
            "" => {}
            _ if is_too_long => self.event_is_too_long = true,
            _ => self.field(name, without(value, ' ')),
        }
        None
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" if self.data.len() + value.len() > EVENT_MAX => self.event_is_too_long = true,
            "event" => value.clone_into(&mut self.kind),
            "data" if self.kind.len() + self.data.len() + value.len() >= EVENT_MAX => self.event_is_too_long = true,
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.reconnection_time = value.parse().ok().map(Duration::from_millis).or(self.reconnection_time);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Event> {
        let (kind, mut data) = (mem::take(&mut self.kind), mem::take(&mut self.data));
        if mem::take(&mut self.event_is_too_long) || data.is_empty() {
            return None;
        }
        let line_feed = data.pop();
        debug_assert_eq!(line_feed, Some('\n'), "every line of data ends with a line feed");
        Some(Event { id: self.id.clone(), kind, data })
    }
}

/// The text without this character at its beginning, if it stands there.
fn without(text: &str, first: char) -> &str {
    text.strip_prefix(first).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(id: Option<&str>, kind: &str, data: &str) -> Event {
        Event { id: id.map(str::to_owned), kind: kind.to_owned(), data: data.to_owned() }
    }

    fn read(stream: &[u8]) -> Vec<Event> {
        let mut events = VecDeque::new();
        Parser::new().feed(stream, &mut events);
        events.into()
    }

    /// The examples of the standard, with the results of its steps.
    #[test]
    fn the_examples_of_the_standard_are_read() {
        assert_eq!(
            read(b"data: This is the first message.\n\ndata: This is the second message, it\ndata: has two lines.\n\n"),
            [
                event(None, "", "This is the first message."),
                event(None, "", "This is the second message, it\nhas two lines.")
            ]
        );
        assert_eq!(
            read(b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"),
            [
                event(Some("1"), "", "first event"),
                event(Some(""), "", "second event"),
                event(Some(""), "", " third event")
            ]
        );
        assert_eq!(read(b"data\n\ndata\ndata\n\ndata:"), [event(None, "", ""), event(None, "", "\n")]);
        assert_eq!(read(b"data:test\n\ndata: test\n\n"), [event(None, "", "test"), event(None, "", "test")]);
        assert_eq!(read(b"event: add\ndata: 73857293\n\n"), [event(None, "add", "73857293")]);
    }

    #[test]
    fn a_line_ends_with_cr_lf_or_both_also_across_reads() {
        let expected = [event(Some("1"), "receipt", "a\nb")];
        for stream in ["id:1\revent:receipt\rdata:a\rdata:b\r\r", "id:1\r\nevent:receipt\ndata:a\r\ndata:b\n\r\n"] {
            assert_eq!(read(stream.as_bytes()), expected, "{stream:?}");
        }
        let (mut parser, mut events) = (Parser::new(), VecDeque::new());
        for part in [&b"id:1\r"[..], b"", b"\nevent:receipt\ndata:a\ndata:b\r", b"\n\r"] {
            parser.feed(part, &mut events);
        }
        assert_eq!(events, expected);
    }

    #[test]
    fn a_byte_order_mark_counts_at_the_beginning_only() {
        assert_eq!(read("\u{feff}data:a\n\n\u{feff}data:b\n\n".as_bytes()), [event(None, "", "a")]);
    }

    #[test]
    fn ids_with_a_null_and_times_that_are_not_a_number_are_ignored() {
        assert_eq!(read(b"id:1\nid:2\0\ndata:x\n\n"), [event(Some("1"), "", "x")]);
        let mut parser = Parser::new();
        parser
            .feed(b"retry: 2500\nretry: 1.5\nretry:-1\nretry: 99999999999999999999999\nretry\n", &mut VecDeque::new());
        assert_eq!(parser.reconnection_time(), Some(Duration::from_millis(2500)));
    }

    #[test]
    fn an_event_without_data_is_skipped_and_its_id_counts_for_the_next() {
        assert_eq!(read(b"event:x\nid:7\n\ndata:y\n\n"), [event(Some("7"), "", "y")]);
    }

    #[test]
    fn an_incomplete_event_is_not_returned_and_is_detected() {
        for (cut, is_between) in [("", true), ("data: x", false), ("data: x\n", false), ("data: x\n\n: ok\n\n", true)] {
            let (mut parser, mut events) = (Parser::new(), VecDeque::new());
            parser.feed(cut.as_bytes(), &mut events);
            assert_eq!(parser.is_between_events(), is_between, "{cut:?}");
            assert_eq!(events.len(), usize::from(cut.contains("\n\n")), "{cut:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_skipped_and_the_stream_goes_on() {
        let line = |bytes: usize| format!("data:{}\n", "x".repeat(bytes));
        let last = "data:last\n\n";
        let longest = line(LINE_MAX - 5);
        assert_eq!(read(format!("{longest}\n{last}").as_bytes()).len(), 2);
        assert_eq!(read(format!("{}\n{last}", line(LINE_MAX - 4)).as_bytes()), [event(None, "", "last")]);
        assert_eq!(read(format!("{}\n{last}", longest.repeat(5)).as_bytes()), [event(None, "", "last")]);
        let kind = format!("event:{}\n", "x".repeat(LINE_MAX - 6));
        assert_eq!(read(format!("{}{kind}\n{last}", longest.repeat(4)).as_bytes()), [event(None, "", "last")]);
        assert_eq!(read(format!(":{}\n{last}", "x".repeat(LINE_MAX)).as_bytes()), [event(None, "", "last")]);
        let mut parser = Parser::new();
        parser.feed(&vec![b'x'; 10 * LINE_MAX], &mut VecDeque::new());
        assert_eq!(parser.line.len(), LINE_MAX);
    }

    proptest! {
        #[test]
        fn where_the_network_cuts_makes_no_difference(
            stream in proptest::collection::vec(proptest::sample::select(b"\r\n\r\n: daeitx\xef\xbb\xbf\0".to_vec()), 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..10),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.sort_unstable();
            let (mut parser, mut events, mut from) = (Parser::new(), VecDeque::new(), 0);
            for to in cuts.into_iter().chain([stream.len()]) {
                parser.feed(&stream[from..to], &mut events);
                from = to;
            }
            prop_assert_eq!(Vec::from(events), read(&stream));
        }

        #[test]
        fn what_is_written_is_read(
            id in "[^\r\n\0]{0,9}", kind in "[^\r\n]{0,9}", data in "[^\r]{0,40}", end in "\r\n|\r|\n",
        ) {
            let lines: String = data.split('\n').map(|line| format!("data: {line}{end}")).collect();
            let stream = format!("id: {id}{end}event: {kind}{end}{lines}{end}");
            prop_assert_eq!(read(stream.as_bytes()), [event(Some(&id), &kind, &data)]);
        }

        #[test]
        fn no_stream_makes_it_panic_or_grow(stream: Vec<u8>) {
            let mut parser = Parser::new();
            parser.feed(&stream, &mut VecDeque::new());
            prop_assert!(parser.line.len() <= LINE_MAX && parser.kind.len() + parser.data.len() <= EVENT_MAX);
        }
    }
}
