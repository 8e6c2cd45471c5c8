//! The wake door: a process on the client's machine learns when messages wait for a browser that does not run
//! (docs/wake.md). It learns no content, and takes no message.

mod answer;
mod budget;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::AgentId;
use doorbell_protocol::time::UnixMs;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
use serde::Serialize;

use crate::capability::Resource;
use crate::counts::AgentDoor;
use crate::doors::{Doors, sse};
use crate::hub::{Scope, Subscriber, SubscriberEvent, SubscriberSpec, Waiting};
use crate::transport::{Place, Request, Response};
use answer::Rejection;
pub(in crate::doors) use budget::WakeBudget;

/// The path of the door.
pub(in crate::doors) const WAKE_PATH: &str = "/wake";

/// The kinds of tokens that are credentials: of a subscription set (Firefox's uaid), and of Chromium's extension.
const CREDENTIALS: [&str; 2] = ["/a/", "/w/"];

/// The authentication scheme of the credential (RFC 6750 s2.1).
const BEARER: &str = "bearer";

/// Messages wait, as an event.
#[derive(Serialize)]
struct WaitingJson {
    messages: u32,
    urgency: &'static str,
    since: i64,
    expires: i64,
}

/// What expires within this time would be gone before a browser has started: it is not reported.
const START_TIME: Duration = Duration::from_secs(5);
/// How long after the last of them has expired something else must wait.
const SETTLE: Duration = Duration::from_secs(1);

/// The data of an event that has none.
#[derive(Serialize)]
struct NoData {}

/// A wake stream in progress.
struct WakeStream {
    doors: Arc<Doors>,
    agent: AgentId,
    subscriber: Subscriber,
    /// The place of its connection.
    place: Arc<Place>,
    /// To be sent as soon as the budget allows it.
    pending: Option<Waiting>,
    /// When its last report counted.
    reported: Option<UnixMs>,
    /// Until the budget allows what is pending.
    timer: Option<BoxFuture<'static, ()>>,
    /// The client was sent `waiting`, and no `quiet` since.
    is_awake: bool,
}

/// What the stream has to send.
enum Pending {
    Nothing,
    /// This event, now.
    Due(Bytes),
    /// An event that the budget allows at this moment.
    At(UnixMs),
}

impl Doors {
    pub(in crate::doors) async fn wake(self: &Arc<Self>, request: Request) -> Response {
        self.try_wake(request).await.unwrap_or_else(Rejection::answer)
    }

    async fn try_wake(self: &Arc<Self>, request: Request) -> Result<Response, Rejection> {
        let (head, incoming) = request.into_parts();
        let (headers, place) = (&head.headers, incoming.place);
        let credential = self.wake_credential(headers).ok_or(Rejection::Credential)?;
        let floor = Urgency::from_headers(headers)?.or(Some(Urgency::Normal));
        if !sse::is_requested(headers) {
            return Err(Rejection::NoEvents);
        }
        if head.method == Method::HEAD {
            if let Resource::Set { agent } = credential {
                self.hub.check_scope(agent, Scope::Agent).await?;
            }
            return sse::head(headers, false).ok_or(Rejection::NoEvents);
        }
        let spec = SubscriberSpec::watch(floor);
        let (agent, subscriber) = match credential {
            Resource::Set { agent } => {
                let subscriber = self.hub.connect(agent, AgentDoor::Wake, spec).await?;
                place.keep();
                (agent, subscriber)
            }
            // A device keeps its id for as long as its profile exists: its pages may subscribe at any time.
            Resource::Wake { agent } => {
                if self.hub.check_scope(agent, Scope::Agent).await.is_ok() {
                    place.keep();
                }
                (agent, self.hub.connect_early(agent, AgentDoor::Wake, spec))
            }
            _ => return Err(Rejection::Credential),
        };
        let doors = self.clone();
        let (pending, reported, timer) = (None, None, None);
        let stream = WakeStream { doors, agent, subscriber, place, pending, reported, timer, is_awake: false };
        Ok(sse::answer(Box::pin(stream.map(Ok)), false))
    }

    /// The client's credential. No URL that a web app or a sender gets is accepted: they could watch when the device is
    /// online.
    fn wake_credential(&self, headers: &HeaderMap) -> Option<Resource> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case(BEARER) {
            return None;
        }
        let found = CREDENTIALS.iter().find_map(|kind| self.capabilities.open(&format!("{kind}{}", token.trim())));
        found.filter(|resource| self.chromium.is_open() || !matches!(resource, Resource::Wake { .. }))
    }
}

/// Polled by hand: a stream that waits for hours is not larger than its fields.
impl Stream for WakeStream {
    type Item = Bytes;

    /// The next bytes; `None` ends the stream, and the client reconnects.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let stream = self.get_mut();
        loop {
            match stream.take_pending() {
                Pending::Nothing => stream.timer = None,
                Pending::Due(waiting) => return Poll::Ready(Some(waiting)),
                Pending::At(moment) => stream.wait_until(moment),
            }
            if stream.subscriber.poll_ready(cx).is_ready() {
                if let Some(event) = stream.subscriber.try_event()
                    && let Some(next) = stream.on_event(event)
                {
                    return Poll::Ready(next);
                }
            } else if let Some(timer) = &mut stream.timer {
                ready!(timer.as_mut().poll(cx));
                stream.timer = None;
            } else {
                return Poll::Pending;
            }
        }
    }
}

impl WakeStream {
    /// What to send for an event, if anything.
    fn on_event(&mut self, event: SubscriberEvent) -> Option<Option<Bytes>> {
        match event {
            SubscriberEvent::Waiting(waiting) => {
                self.place.keep();
                self.pending = Some(waiting);
                None
            }
            SubscriberEvent::Quiet => {
                self.pending = None;
                let was_awake = std::mem::take(&mut self.is_awake);
                was_awake.then(|| Some(sse::event_without_id("quiet", &NoData {})))
            }
            // A watcher is offered no message.
            SubscriberEvent::Message(_) | SubscriberEvent::Drained => {
                debug_assert!(false, "the hub sends no message to a watcher");
                Some(None)
            }
            SubscriberEvent::Gone
            | SubscriberEvent::Ended
            | SubscriberEvent::Superseded
            | SubscriberEvent::Failed(_) => Some(None),
        }
    }

    fn wait_until(&mut self, moment: UnixMs) {
        let clock = &self.doors.clock;
        self.timer.get_or_insert_with(|| {
            let clock = clock.clone();
            Box::pin(async move { clock.sleep_until(moment).await })
        });
    }

    /// What is pending, if the agent's budget allows one more.
    fn take_pending(&mut self) -> Pending {
        let Some(waiting) = self.pending else { return Pending::Nothing };
        let now = self.doors.clock.now();
        if waiting.expires > now && waiting.expires < now.plus(START_TIME) {
            // `Quiet` comes when it has expired, unless another message came after it.
            return Pending::At(waiting.expires.plus(SETTLE));
        }
        match self.doors.wakes.take(self.agent, waiting.urgency, self.reported, now) {
            Ok(moment) => self.reported = Some(moment),
            Err(moment) => return Pending::At(moment),
        }
        self.doors.counts.wakes.add();
        self.pending = None;
        self.is_awake = true;
        let wall = |moment| self.doors.clock.wall_at(moment).as_millis();
        let data = WaitingJson {
            messages: waiting.messages,
            urgency: waiting.urgency.as_str(),
            since: wall(waiting.since),
            expires: wall(waiting.expires),
        };
        Pending::Due(sse::event_without_id("waiting", &data))
    }
}
