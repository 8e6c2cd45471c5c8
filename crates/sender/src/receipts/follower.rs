//! Reads a receipt subscription: connects, reads, and connects again where it stopped (RFC 8030 s6.3; WHATWG HTML s9.2).
//! The address policy is that of the client.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::prefer::{PREFER, Prefer};
use doorbell_protocol::time::UnixMs;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use thiserror::Error;
use tokio::time::{Sleep, sleep, timeout};

use super::events::{Event, Parser};
use super::progress::Progress;
use super::receipt::Receipt;
use crate::answer::Answer;
use crate::client::{Client, explanation, random};
use crate::endpoint::Endpoint;
use crate::error::SendError;
use crate::explanation::Explanation;
use crate::retry::{Retry, RetryPolicy};

const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How patient a follower is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowPolicy {
    /// When to connect again; counted anew after each connection that brought an event.
    pub retry: RetryPolicy,
    /// A connection without bytes for longer counts as dead. Push services send a comment about every half minute.
    pub silence_max: Duration,
}

impl FollowPolicy {
    /// Never gives up: waits from one second to one minute between connections.
    pub const PATIENT: Self = Self {
        retry: RetryPolicy { attempts_max: u32::MAX, total_max: Duration::MAX, ..RetryPolicy::BRIEF },
        silence_max: Duration::from_secs(120),
    };

    /// Gives up as soon as sending a message would.
    pub const BRIEF: Self = Self { retry: RetryPolicy::BRIEF, silence_max: Duration::from_secs(30) };
}

/// No connection is read for longer, so that the follower finds a push service that has moved.
const CONNECTION_MAX: Duration = Duration::from_secs(24 * 3600);

/// After so many receipts a follower connects anew: only Last-Event-ID acknowledges them, and the push service keeps some
/// thousands of others at most.
pub const RECEIPTS_PER_CONNECTION_MAX: u32 = 1000;

/// What a follower received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptEvent {
    /// A receipt that is new.
    Receipt(Receipt),
    /// There is no more now; only from a follower that does not wait.
    Nothing,
    /// The receipt subscription is gone: remove it from the book.
    Gone,
}

/// Why there will be no receipts. No text of these errors contains the path of the receipt subscription, which is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FollowError {
    /// The address policy forbids the push service, or its certificate is not trusted.
    #[error(transparent)]
    Send(SendError),
    /// It answers with a status that another attempt will not change.
    #[error("the push service refuses to send receipts: {status}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The reason that the push service gave.
        explanation: Explanation,
    },
    /// It answers with something other than a stream of events.
    #[error("the push service does not send receipts as text/event-stream")]
    NotEvents,
    /// The policy allows no further attempt; with the last error.
    #[error("no receipts can be received: {0}")]
    GaveUp(String),
}

/// A reader of one receipt subscription.
///
/// ```no_run
/// use doorbell_sender::{Client, Endpoint, Follower, ReceiptEvent};
///
/// # async fn f(client: &Client, receipts: Endpoint) -> Result<(), Box<dyn std::error::Error>> {
/// let mut follower = Follower::new(client, receipts);
/// while let ReceiptEvent::Receipt(receipt) = follower.next().await? {
///     println!("{} {:?}", receipt.message, receipt.outcome);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Follower {
    client: Client,
    receipts: Endpoint,
    policy: FollowPolicy,
    waits: bool,
    /// The failures since a connection last brought an event.
    retry: Option<Retry>,
    pause: Option<Pin<Box<Sleep>>>,
    stream: Option<Stream>,
    events: VecDeque<Event>,
    progress: Progress,
    reconnection_time: Duration,
}

#[derive(Debug)]
struct Stream {
    response: reqwest::Response,
    parser: Parser,
    opened_at: UnixMs,
    receipts: u32,
}

impl Follower {
    /// A reader that waits for receipts as long as the receipt subscription at `receipts` exists.
    pub fn new(client: &Client, receipts: Endpoint) -> Self {
        Self {
            client: client.clone(),
            receipts,
            policy: FollowPolicy::PATIENT,
            waits: true,
            retry: None,
            pause: None,
            stream: None,
            events: VecDeque::new(),
            progress: Progress::default(),
            reconnection_time: Duration::ZERO,
        }
    }

    /// A reader of the receipts that exist now (`Prefer: wait=0`). After [`ReceiptEvent::Nothing`] it may be asked again.
    pub fn not_waiting(client: &Client, receipts: Endpoint) -> Self {
        Self { waits: false, ..Self::new(client, receipts) }.with_policy(FollowPolicy::BRIEF)
    }

    /// The same with another policy.
    #[must_use]
    pub fn with_policy(self, policy: FollowPolicy) -> Self {
        Self { policy, ..self }
    }

    /// The same, but after the event that an earlier reader's [`Follower::last_event_id`] returned.
    #[must_use]
    pub fn after(self, last_event_id: &str) -> Self {
        Self { progress: Progress::after(last_event_id), ..self }
    }

    /// The last event that was processed. The push service deletes it, and all before it, on the next connection.
    pub fn last_event_id(&self) -> Option<&str> {
        self.progress.taken()
    }

    /// Waits for the next receipt. The call means that the previous one is processed.
    ///
    /// It is cancel-safe: nothing is lost.
    ///
    /// # Errors
    /// If the push service refuses, or the policy allows no further attempt.
    pub async fn next(&mut self) -> Result<ReceiptEvent, FollowError> {
        self.progress.settle();
        loop {
            while let Some(event) = self.events.pop_front() {
                if let Some(receipt) = self.progress.admit(event, &self.receipts) {
                    self.stream.iter_mut().for_each(|stream| stream.receipts += 1);
                    return Ok(ReceiptEvent::Receipt(receipt));
                }
            }
            if let Some(end) = self.advance().await? {
                return Ok(end);
            }
        }
    }

    /// One step: waits, connects, or reads what arrived.
    async fn advance(&mut self) -> Result<Option<ReceiptEvent>, FollowError> {
        if let Some(pause) = &mut self.pause {
            pause.as_mut().await;
            self.pause = None;
        }
        let can_acknowledge = self.progress.taken().is_some();
        let is_full = |stream: &mut Stream| can_acknowledge && stream.receipts >= RECEIPTS_PER_CONNECTION_MAX;
        self.stream.take_if(is_full);
        let Some(stream) = &mut self.stream else { return self.connect().await };
        match timeout(self.policy.silence_max, stream.response.chunk()).await {
            Ok(Ok(Some(bytes))) => {
                stream.parser.feed(&bytes, &mut self.events);
                if let Some(time) = stream.parser.reconnection_time() {
                    self.reconnection_time = time;
                }
                if !self.events.is_empty() {
                    self.retry = None;
                }
                Ok(None)
            }
            Ok(Ok(None)) if !self.waits && stream.parser.is_between_events() => {
                self.stream = None;
                Ok(Some(self.nothing()))
            }
            Ok(Ok(None)) => self.cut("the push service ended the stream"),
            Ok(Err(_)) => self.cut("the connection broke"),
            Err(_) => self.cut("the connection fell silent"),
        }
    }

    async fn connect(&mut self) -> Result<Option<ReceiptEvent>, FollowError> {
        let opening = self.client.open(&self.receipts, self.request(), CONNECTION_MAX);
        let mut response = match timeout(self.policy.silence_max, opening).await {
            Ok(Ok(response)) => response,
            Ok(Err(SendError::Connect(why) | SendError::Broken(why))) => return self.failed(None, why),
            Ok(Err(error)) => return Err(FollowError::Send(error)),
            Err(_) => return self.failed(None, "the push service does not answer".to_owned()),
        };
        let (status, now) = (response.status(), self.client.now());
        match Answer::read(&self.receipts, status, response.headers(), now) {
            // 204 ends a stream for good (WHATWG HTML s9.2.3); to a reader that does not wait it means that there is nothing.
            Answer::Accepted(_) if status == StatusCode::NO_CONTENT && self.waits => Ok(Some(ReceiptEvent::Gone)),
            Answer::Accepted(_) if status == StatusCode::NO_CONTENT => Ok(Some(self.nothing())),
            Answer::Accepted(_) if is_event_stream(response.headers()) => {
                self.stream =
                    Some(Stream { response, parser: Parser::new(), opened_at: self.client.steady_now(), receipts: 0 });
                Ok(None)
            }
            Answer::Accepted(_) => Err(FollowError::NotEvents),
            Answer::Gone => {
                let explanation = timeout(self.policy.silence_max, explanation(&self.receipts, &mut response))
                    .await
                    .unwrap_or_default();
                if explanation.proves_gone(&self.receipts, status) {
                    return Ok(Some(ReceiptEvent::Gone));
                }
                self.failed(None, format!("{status} comes, and not in a push service's form: is it a proxy?"))
            }
            Answer::RetryLater { after } => self.failed(after, format!("the push service answers {status}")),
            Answer::TooLarge | Answer::Refused => {
                let explanation = timeout(self.policy.silence_max, explanation(&self.receipts, &mut response)).await;
                // A reason that does not arrive in time is none.
                Err(FollowError::Refused { status, explanation: explanation.unwrap_or_default() })
            }
        }
    }

    fn request(&self) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        request.uri_mut().clone_from(self.receipts.uri());
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        let wait = Prefer { wait_secs: (!self.waits).then_some(0), ..Prefer::default() };
        headers.extend(wait.to_value().map(|value| (HeaderName::from_static(PREFER), value)));
        headers.extend(self.progress.last_event_id().map(|id| (LAST_EVENT_ID, id)));
        request
    }

    /// The stream ended. An event that was incomplete comes again.
    fn cut(&mut self, why: &str) -> Result<Option<ReceiptEvent>, FollowError> {
        let stream = self.stream.take().expect("only a stream that is open is cut");
        if self.client.steady_now().since(stream.opened_at) > self.policy.retry.delay_max {
            self.retry = None;
        }
        self.failed(None, why.to_owned())
    }

    /// The connection brought what there was.
    fn nothing(&mut self) -> ReceiptEvent {
        self.retry = None;
        ReceiptEvent::Nothing
    }

    fn failed(&mut self, asked: Option<Duration>, why: String) -> Result<Option<ReceiptEvent>, FollowError> {
        let now = self.client.steady_now();
        let retry = self.retry.get_or_insert_with(|| Retry::new(self.policy.retry, now));
        let delay = retry.after_failure(asked, now, random());
        let Some(delay) = delay else { return Err(FollowError::GaveUp(why)) };
        // `retry` of the stream may ask for a longer pause than ours, up to the longest that the policy has.
        let wanted = self.reconnection_time.min(self.policy.retry.delay_max);
        self.pause = Some(Box::pin(sleep(delay.max(wanted))));
        Ok(None)
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(EVENT_STREAM))
}
