//! The ids of requests, the access log, and the log of answers whose reason is the service.
//!
//! A line names a door, never a path: a path is a capability (invariant 8). For the same reason it has no field of the
//! request but its method, and no address. With the access log off, a request takes no memory for it.

use std::collections::hash_map::RandomState;
use std::fmt::{self, Display};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use doorbell_protocol::problem::{Problem, errno};
use doorbell_protocol::time::UnixMs;
use futures_util::future::BoxFuture;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use tracing::{Level, enabled, error, info, warn};

use crate::clock::Clock;
use crate::config::ACCESS_LOG;
use crate::counts::Door;
use crate::seldom::Seldom;
use crate::transport::Response;

/// The field with which a client and the operator name one request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of one request or socket. Two of one process are equal as seldom as two random numbers; from many of them
/// clients learn nothing about each other, as they would from a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestId(u64);

/// What all requests of the service share.
#[derive(Debug)]
pub(super) struct Requests {
    clock: Clock,
    /// It has a secret key of this process.
    ids: RandomState,
    made: AtomicU64,
    /// One line a minute for each door.
    failures: [Seldom; Door::ALL.len()],
    overloads: Seldom,
    doubts: Seldom,
}

impl Requests {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            ids: RandomState::new(),
            made: AtomicU64::default(),
            failures: Default::default(),
            overloads: Seldom::default(),
            doubts: Seldom::default(),
        }
    }

    fn id(&self) -> RequestId {
        RequestId(self.ids.hash_one(self.made.fetch_add(1, Ordering::Relaxed)))
    }

    /// The same answer, with a line in the access log if that is on.
    pub(super) fn logged<'a>(
        &'a self,
        door: Door,
        method: &Method,
        answer: BoxFuture<'a, Response>,
    ) -> BoxFuture<'a, Response> {
        if !is_on() {
            return answer;
        }
        let mut line = RequestLine {
            id: self.id(),
            door,
            method: name(method),
            started: self.clock.served(),
            clock: &self.clock,
            end: None,
        };
        Box::pin(async move {
            let mut response = answer.await;
            line.id.add_to(response.headers_mut());
            line.answered(&response);
            response
        })
    }

    /// Adds the id of a request to an answer that refuses it, and logs what an operator must know about it.
    pub(super) fn refused(&self, headers: &mut HeaderMap, door: Door, status: StatusCode, number: Option<u16>) {
        let id = headers.get(REQUEST_ID).and_then(RequestId::parse).unwrap_or_else(|| self.id());
        id.add_to(headers);
        self.log_refusal(id, door, status, number);
    }

    /// The same for a request that HTTP itself refuses, which has a line in the access log too.
    pub(super) fn refused_by_http(&self, headers: &mut HeaderMap, problem: &Problem) {
        let id = self.id();
        id.add_to(headers);
        let (status, number) = (problem.status.as_u16(), problem.errno);
        info!(target: ACCESS_LOG, %id, door = Door::Other.as_str(), status, errno = number, "request");
        self.log_refusal(id, Door::Other, problem.status, Some(number));
    }

    /// Logs that a request on a socket was refused, if an operator must know about it.
    pub(super) fn refused_on_socket(&self, door: Door, status: StatusCode, number: u16) {
        self.log_refusal(self.id(), door, status, Some(number));
    }

    fn log_refusal(&self, id: RequestId, door: Door, status: StatusCode, number: Option<u16>) {
        let now = self.clock.now();
        let (code, failures, door) = (status.as_u16(), &self.failures[door as usize], door.as_str());
        if status.is_server_error() {
            failures.log(now, move |times| {
                error!(%id, door, status = code, errno = number, times, "the service could not do its work");
            });
        } else if number == Some(errno::UNAVAILABLE) {
            self.overloads.log(now, move |times| {
                warn!(
                    %id, door, status = code, errno = number, times,
                    "the service is overloaded, and clients get 429: the disk is slow, or there are more messages than it \
                     takes"
                );
            });
        } else if number == Some(errno::CLOCK) {
            self.doubts.log(now, move |times| {
                warn!(
                    %id, door, status = code, errno = number, times,
                    "tokens do not fit the time and the clock may be the reason, so senders get 429: set it (NTP)"
                );
            });
        }
    }

    /// Logs the refusals that have had no line, where one is due.
    pub(super) fn flush_lines(&self, now: UnixMs) {
        self.failures.iter().chain([&self.overloads, &self.doubts]).for_each(|lines| lines.flush(now));
    }

    /// Logs that a socket was opened, if the access log is on.
    pub(super) fn socket(&self, door: Door) -> Option<Box<SocketLine>> {
        if !is_on() {
            return None;
        }
        let id = self.id();
        info!(target: ACCESS_LOG, %id, door = door.as_str(), "socket opened");
        let (opened, clock) = (self.clock.served(), self.clock.clone());
        Some(Box::new(SocketLine { id, door, opened, clock, sent: 0, acknowledged: 0, reason: "cut off" }))
    }
}

fn is_on() -> bool {
    enabled!(target: ACCESS_LOG, Level::INFO)
}

/// The method, if it has a meaning here: another word could be anything.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "other",
    }
}

impl RequestId {
    /// The id that an answer of ours has.
    fn parse(value: &HeaderValue) -> Option<Self> {
        u64::from_str_radix(value.to_str().ok()?, 16).ok().map(Self)
    }

    fn add_to(self, headers: &mut HeaderMap) {
        headers
            .insert(REQUEST_ID, HeaderValue::try_from(self.to_string()).expect("hexadecimal digits are visible ASCII"));
    }
}

impl Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One request's line in the access log. It is written at the end, also if the client leaves before.
struct RequestLine<'a> {
    id: RequestId,
    door: Door,
    method: &'static str,
    started: UnixMs,
    clock: &'a Clock,
    /// The status and the number of the problem.
    end: Option<(StatusCode, Option<u16>)>,
}

impl RequestLine<'_> {
    fn answered(&mut self, response: &Response) {
        let errno = response.extensions().get().map(|problem: &Problem| problem.errno);
        self.end = Some((response.status(), errno));
    }
}

impl Drop for RequestLine<'_> {
    fn drop(&mut self) {
        let Self { id, method, .. } = self;
        let millis = duration_ms(self.started, self.clock);
        match self.end {
            Some((status, errno)) => {
                // Only a WebSocket switches protocols.
                let door = if status == StatusCode::SWITCHING_PROTOCOLS { Door::Firefox } else { self.door };
                let (door, status) = (door.as_str(), status.as_u16());
                info!(target: ACCESS_LOG, %id, door, method, status, errno, duration_ms = millis, "request");
            }
            None => {
                let (door, reason) = (self.door.as_str(), "the client left");
                info!(target: ACCESS_LOG, %id, door, method, duration_ms = millis, reason, "request");
            }
        }
    }
}

/// The line about the end of a WebSocket or an MCS connection, and what it counts until then.
#[derive(Debug)]
pub(super) struct SocketLine {
    id: RequestId,
    door: Door,
    opened: UnixMs,
    clock: Clock,
    /// Messages that were sent to the client.
    pub(super) sent: u64,
    /// Messages that the client acknowledged.
    pub(super) acknowledged: u64,
    /// Why it ends.
    pub(super) reason: &'static str,
}

impl Drop for SocketLine {
    fn drop(&mut self) {
        let Self { id, sent, acknowledged, reason, .. } = self;
        let (door, millis) = (self.door.as_str(), duration_ms(self.opened, &self.clock));
        info!(target: ACCESS_LOG, %id, door, duration_ms = millis, sent, acknowledged, reason, "socket closed");
    }
}

fn duration_ms(from: UnixMs, clock: &Clock) -> u64 {
    u64::try_from(clock.served().since(from).as_millis()).expect("a process does not run for that long")
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn ids_differ_and_are_read_back_from_an_answer() {
        let requests = Requests::new(Clock::system());
        let (one, two) = (requests.id(), requests.id());
        assert_ne!(one, two);
        let mut headers = HeaderMap::new();
        one.add_to(&mut headers);
        assert_eq!(headers.get(REQUEST_ID).and_then(RequestId::parse), Some(one));
        requests.refused(&mut headers, Door::Push, StatusCode::NOT_FOUND, None);
        assert_eq!(headers.get_all(REQUEST_ID).iter().count(), 1);
        assert_eq!(headers.get(REQUEST_ID).and_then(RequestId::parse), Some(one), "the access log has the same id");
    }

    /// Counts the lines of this thread.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn answers_whose_reason_is_the_service_have_one_line_a_minute_for_each_kind_and_other_refusals_none() {
        let (lines, clock) = (Lines::default(), Clock::manual(UnixMs::from_secs(1_790_000_000)));
        let (writer, requests) = (lines.clone(), Requests::new(clock.clone()));
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let flood = || {
            for (status, number) in [
                (StatusCode::SERVICE_UNAVAILABLE, Some(errno::UNAVAILABLE)),
                (StatusCode::TOO_MANY_REQUESTS, Some(errno::UNAVAILABLE)),
                (StatusCode::TOO_MANY_REQUESTS, Some(errno::CLOCK)),
                (StatusCode::TOO_MANY_REQUESTS, Some(errno::RATE)),
                (StatusCode::NOT_FOUND, Some(errno::UNKNOWN_URL)),
                (StatusCode::BAD_REQUEST, None),
            ] {
                (0..50).for_each(|_| requests.refused(&mut HeaderMap::new(), Door::Push, status, number));
            }
        };
        tracing::subscriber::with_default(log, || {
            flood();
            clock.advance(crate::seldom::INTERVAL);
            flood();
            requests.flush_lines(clock.now());
            requests.flush_lines(crate::seldom::AT_THE_END);
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        for kind in ["could not do its work", "is overloaded", "tokens do not fit"] {
            let of_kind: Vec<_> = text.lines().filter(|line| line.contains(kind)).collect();
            assert_eq!(of_kind.len(), 3, "{kind}: {text}");
            let times = ["times=1", "times=50", "times=49"];
            assert!(of_kind.iter().zip(times).all(|(line, times)| line.contains(times)), "{text}");
        }
        assert_eq!(text.lines().count(), 9, "{text}");
    }

    #[test]
    fn with_the_access_log_off_the_answer_is_the_same_future_in_the_same_box() {
        let requests = Requests::new(Clock::system());
        let answer: BoxFuture<'_, Response> = Box::pin(std::future::ready(Response::default()));
        let at = std::ptr::from_ref(&*answer).cast::<()>();
        let logged = requests.logged(Door::Push, &Method::POST, answer);
        assert_eq!(std::ptr::from_ref(&*logged).cast::<()>(), at);
        assert!(requests.socket(Door::Firefox).is_none());
    }

    #[test]
    fn a_method_that_the_client_made_up_is_not_in_the_log() {
        assert_eq!(name(&Method::DELETE), "DELETE");
        assert_eq!(name(&Method::from_bytes(b"gAAAAABk-a-capability").unwrap()), "other");
    }
}
