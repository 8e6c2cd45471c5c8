//! Server-sent events: the same deliveries for clients that cannot take server pushes (WHATWG HTML s9.2).

use std::str::FromStr;

use bytes::Bytes;
use futures_util::stream;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::wire;
use crate::transport::{Payload, Pieces, Response};

/// The media type.
const EVENT_STREAM: &str = "text/event-stream";

/// The last event that a returning client has.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Whether the client asks for an event stream.
pub(super) fn is_requested(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok());
    let mut types = values
        .flat_map(|v| v.split(','))
        .map(|t| t.split(';').next().expect("`split` returns at least one part").trim());
    types.any(|t| t.eq_ignore_ascii_case(EVENT_STREAM))
}

/// The id of the last event that the client has, if it sends one in our format.
pub(super) fn last_event_id<T: FromStr>(headers: &HeaderMap) -> Option<T> {
    headers.get(LAST_EVENT_ID)?.to_str().ok()?.trim().parse().ok()
}

/// The answer whose body is a stream, which ends by itself if it is a poll.
pub(super) fn answer(events: Pieces, is_poll: bool) -> Response {
    let mut response = Response::new(if is_poll { Payload::Stream(events) } else { Payload::Held(events) });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that buffers an answer would delay every event.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// The answer to HEAD of a resource whose GET is a stream; `None` if the client can receive neither events nor, by
/// `takes_pushes`, pushes. Nothing is opened: HEAD is safe.
pub(super) fn head(request: &HeaderMap, takes_pushes: bool) -> Option<Response> {
    if is_requested(request) {
        return Some(answer(Box::pin(stream::empty()), true));
    }
    takes_pushes.then(|| wire::empty(StatusCode::NO_CONTENT))
}

/// One event. JSON has no line breaks of its own, so the data is one line.
pub(super) fn event(name: &str, id: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("an event has only text and numbers");
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n").into()
}

/// One event without an id, for a stream that a returning client cannot continue.
pub(super) fn event_without_id(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("an event has only text and numbers");
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// An empty comment: proxies and clients see that the stream is alive.
pub(super) fn comment() -> Bytes {
    Bytes::from_static(b":\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stream_is_wanted_when_accept_names_it_ps_8030_6_3_7() {
        for (accept, wanted) in
            [("text/event-stream", true), ("text/html, Text/Event-Stream;q=0.5", true), ("*/*", false), ("", false)]
        {
            let headers: HeaderMap = [(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
            assert_eq!(is_requested(&headers), wanted, "{accept}");
        }
    }

    #[test]
    fn an_event_is_one_line_of_data_whatever_the_text() {
        let event = event("x", "7", &serde_json::json!({"text": "a\nb\r\nc"}));
        assert_eq!(&event[..], b"id: 7\nevent: x\ndata: {\"text\":\"a\\nb\\r\\nc\"}\n\n");
    }
}
