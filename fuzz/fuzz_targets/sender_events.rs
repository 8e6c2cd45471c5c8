//! Streams of receipts: wherever the network cuts one, the same events come out, bounded, and a receipt names a URL.
//!
//! The first byte is the length of the pieces.
#![no_main]

use std::collections::VecDeque;
use std::sync::LazyLock;

use doorbell_sender::endpoint::{ENDPOINT_MAX, Endpoint};
use doorbell_sender::receipts::events::{EVENT_MAX, Event, LINE_MAX, Parser};
use doorbell_sender::receipts::receipt::Receipt;
use libfuzzer_sys::fuzz_target;

static SOURCE: LazyLock<Endpoint> = LazyLock::new(|| Endpoint::parse("https://push.example.net/r/1").expect("a URL"));

fuzz_target!(|data: &[u8]| {
    let Some((&piece, stream)) = data.split_first() else { return };
    let whole = events([stream].into_iter());
    assert_eq!(events(stream.chunks(usize::from(piece).max(1))), whole);
    for event in &whole {
        // Bytes that are not UTF-8 become three each.
        assert!(event.kind.len() + event.data.len() <= EVENT_MAX);
        assert!(event.id.as_ref().is_none_or(|id| id.len() <= 3 * LINE_MAX && !id.contains(['\r', '\n', '\0'])));
        if let Some(receipt) = Receipt::read(event, &SOURCE) {
            assert!(receipt.message.len() <= ENDPOINT_MAX && receipt.status == receipt.outcome.status());
            assert!(receipt.message.contains(':'), "{:?}", receipt.message);
        }
    }
});

fn events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> VecDeque<Event> {
    let (mut parser, mut events) = (Parser::new(), VecDeque::new());
    for piece in pieces {
        parser.feed(piece, &mut events);
    }
    events
}
