//! The wake door: a process on the client's machine learns when messages wait for a browser that does not run
//! (docs/wake.md). It learns no content, and takes no message.

mod answer;
mod budget;

use std::sync::Arc;

use bytes::Bytes;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::AgentId;
use doorbell_protocol::time::UnixMs;
use futures_util::stream;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Serialize;

use crate::capability::Resource;
use crate::doors::{Doors, sse};
use crate::hub::{Subscriber, SubscriberEvent, SubscriberSpec, Waiting};
use crate::transport::{Request, Response};
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

/// The data of an event that has none.
#[derive(Serialize)]
struct NoData {}

/// A wake stream in progress.
struct WakeStream {
    doors: Arc<Doors>,
    agent: AgentId,
    subscriber: Subscriber,
    /// To be sent as soon as the budget allows it.
    pending: Option<Waiting>,
    /// When its last report counted.
    reported: Option<UnixMs>,
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
        self.try_wake(request.headers()).await.unwrap_or_else(Rejection::answer)
    }

    async fn try_wake(self: &Arc<Self>, headers: &HeaderMap) -> Result<Response, Rejection> {
        let credential = self.wake_credential(headers).ok_or(Rejection::Credential)?;
        let floor = Urgency::from_headers(headers)?.or(Some(Urgency::Normal));
        if !sse::is_requested(headers) {
            return Err(Rejection::NoEvents);
        }
        let spec = SubscriberSpec::watch(floor);
        let (agent, subscriber) = match credential {
            Resource::Set { agent } => (agent, self.hub.connect(agent, spec).await?),
            // A device keeps its id for as long as its profile exists: its pages may subscribe at any time.
            Resource::Wake { agent } => (agent, self.hub.connect_early(agent, spec)),
            _ => return Err(Rejection::Credential),
        };
        let stream =
            WakeStream { doors: self.clone(), agent, subscriber, pending: None, reported: None, is_awake: false };
        let events = stream::unfold(stream, async |mut stream| Some((stream.next().await?, stream)));
        Ok(sse::answer(Box::pin(events)))
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

impl WakeStream {
    /// The next bytes; `None` ends the stream, and the client reconnects.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let event = match self.take_pending() {
                Pending::Nothing => self.subscriber.next().await,
                Pending::Due(waiting) => return Some(waiting),
                Pending::At(moment) => tokio::select! {
                    event = self.subscriber.next() => event,
                    () = self.doors.clock.sleep_until(moment) => continue,
                },
            };
            match event {
                SubscriberEvent::Waiting(waiting) => self.pending = Some(waiting),
                SubscriberEvent::Quiet => {
                    self.pending = None;
                    if std::mem::take(&mut self.is_awake) {
                        return Some(sse::event_without_id("quiet", &NoData {}));
                    }
                }
                // A watcher is offered no message.
                SubscriberEvent::Message(_) | SubscriberEvent::Drained => {
                    debug_assert!(false, "the hub sends no message to a watcher");
                    return None;
                }
                SubscriberEvent::Gone
                | SubscriberEvent::Ended
                | SubscriberEvent::Superseded
                | SubscriberEvent::Failed(_) => return None,
            }
        }
    }

    /// What is pending, if the agent's budget allows one more.
    fn take_pending(&mut self) -> Pending {
        let Some(waiting) = self.pending else { return Pending::Nothing };
        match self.doors.wakes.take(self.agent, self.reported, self.doors.clock.now()) {
            Ok(moment) => self.reported = Some(moment),
            Err(moment) => return Pending::At(moment),
        }
        self.pending = None;
        self.is_awake = true;
        let data = WaitingJson {
            messages: waiting.messages,
            urgency: waiting.urgency.as_str(),
            since: waiting.since.as_millis(),
            expires: waiting.expires.as_millis(),
        };
        Pending::Due(sse::event_without_id("waiting", &data))
    }
}
