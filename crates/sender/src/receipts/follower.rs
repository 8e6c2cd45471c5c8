//! Listens on a receipt subscription: connects, reads, and connects again where it was (RFC 8030 s6.3; WHATWG HTML
//! s9.2). The network policy is that of sending.

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
use crate::client::{Client, dice, explanation};
use crate::clock;
use crate::endpoint::Endpoint;
use crate::error::SendError;
use crate::explanation::Explanation;
use crate::retry::{Retry, RetryPolicy};

const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How patient a follower is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowPolicy {
    /// When to connect again; counted anew whenever a connection was of use.
    pub retry: RetryPolicy,
    /// A connection that is silent for longer is taken for dead. Push services send a comment every half minute or so.
    pub silence_max: Duration,
}

impl FollowPolicy {
    /// Never gives up: waits from one second to one minute between connections.
    pub const PATIENT: Self = Self {
        retry: RetryPolicy { attempts_max: u32::MAX, total_max: Duration::MAX, ..RetryPolicy::BRIEF },
        silence_max: Duration::from_secs(120),
    };

    /// Gives up when a message would be given up.
    pub const BRIEF: Self = Self { retry: RetryPolicy::BRIEF, silence_max: Duration::from_secs(30) };
}

/// No connection is read for longer, so that a push service that moved is found where it is now.
const CONNECTION_MAX: Duration = Duration::from_secs(24 * 3600);

/// After so many receipts a follower connects anew: only with Last-Event-ID does the push service hear that they were
/// taken, and it keeps no more than some thousands of others.
pub const RECEIPTS_PER_CONNECTION_MAX: u32 = 1000;

/// What a follower heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A receipt, for the first time.
    Receipt(Receipt),
    /// There is no more now; only of a follower that does not wait.
    Nothing,
    /// There is no such receipt subscription any more: the book can forget it.
    Gone,
}

/// Why there will be no receipts. No text in here contains the path of the receipt subscription, which is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FollowError {
    /// The push service may not be connected to, or could not prove who it is.
    #[error(transparent)]
    Send(SendError),
    /// It answers with a status that will not change.
    #[error("the push service refuses to give receipts: {status}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// What the push service said about it.
        explanation: Explanation,
    },
    /// It answers, and not with a stream of events.
    #[error("the push service does not give receipts as text/event-stream")]
    NotEvents,
    /// The policy is exhausted; with what went wrong last.
    #[error("no receipts can be heard: {0}")]
    GaveUp(String),
}

/// A reader of one receipt subscription.
#[derive(Debug)]
pub struct Follower {
    client: Client,
    receipts: Endpoint,
    policy: FollowPolicy,
    waits: bool,
    /// The failures since a connection was last of use.
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
    /// A reader that waits for receipts, as long as there is a receipt subscription at `receipts`.
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

    /// A reader of what there is now (`Prefer: wait=0`). When it has heard [`Heard::Nothing`] it may be asked again.
    pub fn not_waiting(client: &Client, receipts: Endpoint) -> Self {
        Self { waits: false, ..Self::new(client, receipts) }.with_policy(FollowPolicy::BRIEF)
    }

    /// The same with another policy.
    #[must_use]
    pub fn with_policy(self, policy: FollowPolicy) -> Self {
        Self { policy, ..self }
    }

    /// The same, but behind the event that an earlier reader's [`Follower::last_event_id`] named.
    #[must_use]
    pub fn after(self, last_event_id: &str) -> Self {
        Self { progress: Progress::after(last_event_id), ..self }
    }

    /// The last event that was dealt with. The push service drops it, and all before it, when it next hears of it.
    pub fn last_event_id(&self) -> Option<&str> {
        self.progress.taken()
    }

    /// Waits for the next receipt. Asking for it says that the one before was dealt with.
    ///
    /// May be cancelled at any time; nothing is lost.
    pub async fn next(&mut self) -> Result<Heard, FollowError> {
        self.progress.settle();
        loop {
            while let Some(event) = self.events.pop_front() {
                if let Some(receipt) = self.progress.admit(event, &self.receipts) {
                    self.stream.iter_mut().for_each(|stream| stream.receipts += 1);
                    return Ok(Heard::Receipt(receipt));
                }
            }
            if let Some(end) = self.advance().await? {
                return Ok(end);
            }
        }
    }

    /// One step: waits, connects, or reads what has arrived.
    async fn advance(&mut self) -> Result<Option<Heard>, FollowError> {
        if let Some(pause) = &mut self.pause {
            pause.as_mut().await;
            self.pause = None;
        }
        let can_acknowledge = self.progress.taken().is_some();
        let is_full = |stream: &mut Stream| can_acknowledge && stream.receipts >= RECEIPTS_PER_CONNECTION_MAX;
        self.stream.take_if(is_full);
        let Some(stream) = &mut self.stream else { return self.connect().await };
        match timeout(self.policy.silence_max, stream.response.chunk()).await {
            Ok(Ok(Some(octets))) => {
                stream.parser.feed(&octets, &mut self.events);
                self.reconnection_time = stream.parser.reconnection_time().unwrap_or(self.reconnection_time);
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

    async fn connect(&mut self) -> Result<Option<Heard>, FollowError> {
        let opening = self.client.open(&self.receipts, self.request(), CONNECTION_MAX);
        let mut response = match timeout(self.policy.silence_max, opening).await {
            Ok(Ok(response)) => response,
            Ok(Err(SendError::Connect(why) | SendError::Broken(why))) => return self.failed(None, why),
            Ok(Err(error)) => return Err(FollowError::Send(error)),
            Err(_) => return self.failed(None, "the push service does not answer".to_owned()),
        };
        let (status, now) = (response.status(), clock::now());
        match Answer::read(&self.receipts, status, response.headers(), now) {
            // A stream that ends for good says so with 204 (WHATWG HTML s9.2.3); without waiting it means "nothing".
            Answer::Accepted(_) if status == StatusCode::NO_CONTENT && self.waits => Ok(Some(Heard::Gone)),
            Answer::Accepted(_) if status == StatusCode::NO_CONTENT => Ok(Some(self.nothing())),
            Answer::Accepted(_) if is_event_stream(response.headers()) => {
                self.stream = Some(Stream { response, parser: Parser::new(), opened_at: now, receipts: 0 });
                Ok(None)
            }
            Answer::Accepted(_) => Err(FollowError::NotEvents),
            Answer::Gone => Ok(Some(Heard::Gone)),
            Answer::RetryLater { after } => self.failed(after, format!("the push service answers {status}")),
            Answer::TooLarge | Answer::Refused => {
                let said = timeout(self.policy.silence_max, explanation(&mut response)).await;
                Err(FollowError::Refused { status, explanation: said.unwrap_or_default() })
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

    /// The stream is over, and what there was of an event in it with it: that event comes again.
    fn cut(&mut self, why: &str) -> Result<Option<Heard>, FollowError> {
        let lasted = self.stream.take().map(|stream| clock::now().since(stream.opened_at)).unwrap_or_default();
        if lasted > self.policy.retry.delay_max {
            self.retry = None;
        }
        self.failed(None, why.to_owned())
    }

    /// A connection that was of use, and brings no more.
    fn nothing(&mut self) -> Heard {
        self.retry = None;
        Heard::Nothing
    }

    fn failed(&mut self, asked: Option<Duration>, why: String) -> Result<Option<Heard>, FollowError> {
        let now = clock::now();
        let retry = self.retry.get_or_insert_with(|| Retry::new(self.policy.retry, now));
        let delay = retry.after_failure(asked, now, dice());
        let Some(delay) = delay else { return Err(FollowError::GaveUp(why)) };
        // `retry` asks for more patience than we have, but not for more than we can have.
        let wanted = self.reconnection_time.min(self.policy.retry.delay_max);
        self.pause = Some(Box::pin(sleep(delay.max(wanted))));
        Ok(None)
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(EVENT_STREAM))
}
