//! A subscription or a set as server-sent events, for agents that cannot receive server pushes. The messages and the
//! acknowledgement by DELETE are the same; the body is base64url.

use std::sync::Arc;

use bytes::Bytes;
use doorbell_protocol::base64url;
use doorbell_protocol::id::{AgentId, MessageId};
use futures_util::stream;
use serde::Serialize;
use serde_json::{Map, Value};

use super::channel_cache::ChannelCache;
use crate::capability::Resource;
use crate::doors::{Doors, sse};
use crate::hub::{HubError, Message, Subscriber, SubscriberEvent};
use crate::transport::{Cut, Response};

/// A message as an event.
#[derive(Serialize)]
struct Delivered<'a> {
    message: String,
    push: &'a str,
    headers: Map<String, Value>,
    body: String,
}

/// A stream of messages in progress.
struct Events {
    doors: Arc<Doors>,
    agent: AgentId,
    subscriber: Subscriber,
    channels: ChannelCache,
    /// Whether the end of the stream reports that nothing more waits (`Prefer: wait=0`).
    no_wait: bool,
    /// The last message of a poll; it counts as written when the next one is requested.
    last_returned: Option<MessageId>,
    started: bool,
}

/// The answer that carries the messages of `subscriber`.
pub(super) fn answer(doors: Arc<Doors>, agent: AgentId, subscriber: Subscriber, no_wait: bool) -> Response {
    let channels = ChannelCache::default();
    let events = Events { doors, agent, subscriber, channels, no_wait, last_returned: None, started: false };
    sse::answer(Box::pin(stream::unfold(events, async |mut events| Some((events.next().await?, events)))), no_wait)
}

impl Events {
    /// The next bytes; `None` ends the stream.
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        if !std::mem::replace(&mut self.started, true) {
            // An immediate comment shows the client that the stream is open.
            return Some(Ok(sse::comment()));
        }
        // A poll delivers all that waits: a window of unacknowledged messages would hold back the rest.
        if let Some(id) = self.last_returned.take() {
            self.subscriber.arrived(id);
        }
        loop {
            let quiet_until = self.doors.clock.served().plus(self.doors.config().limits.keepalive);
            let event = tokio::select! {
                event = self.subscriber.next() => event,
                () = self.doors.clock.served_until(quiet_until) => return Some(Ok(sse::comment())),
            };
            match event {
                SubscriberEvent::Message(message) => {
                    match self.channels.push_uri(&self.doors, self.agent, message.subscription).await {
                        Ok(Some(push)) => {
                            self.last_returned = self.no_wait.then_some(message.id);
                            return Some(Ok(self.event(&message, &push)));
                        }
                        Ok(None) => self.subscriber.gone(message.id),
                        Err(HubError::Damaged) => self.subscriber.undeliverable(message.id),
                        // The message stays, and arrives on the next stream.
                        Err(_) => return Some(Err(Cut)),
                    }
                }
                SubscriberEvent::Failed(_) => return Some(Err(Cut)),
                // With wait=0 the client understands the end as "no more messages".
                SubscriberEvent::Ended | SubscriberEvent::Superseded if self.no_wait => return Some(Err(Cut)),
                SubscriberEvent::Drained
                | SubscriberEvent::Waiting(_)
                | SubscriberEvent::Quiet
                | SubscriberEvent::Gone
                | SubscriberEvent::Ended
                | SubscriberEvent::Superseded => return None,
            }
        }
    }

    fn event(&self, message: &Message, push: &str) -> Bytes {
        let resource = Resource::Message { agent: self.agent, id: message.id };
        // JSON cannot hold bytes that are not UTF-8. No client sends any: the encryption's fields are ASCII.
        let text = |value: &http::HeaderValue| Value::from(String::from_utf8_lossy(value.as_bytes()).into_owned());
        let headers = message.headers.iter().map(|(name, value)| (name.to_string(), text(&value))).collect();
        let message_uri = self.doors.uri(resource);
        let body = base64url::encode(&message.body);
        let path = self.doors.capabilities.path(resource);
        sse::event("message", &path, &Delivered { message: message_uri, push, headers, body })
    }
}
