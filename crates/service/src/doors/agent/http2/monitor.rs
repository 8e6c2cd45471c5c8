//! GET of a subscription or a set: messages arrive as server pushes (RFC 8030 s6, s6.1), or as server-sent events.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use doorbell_protocol::headers::link::REL_PUSH;
use doorbell_protocol::headers::prefer::Prefer;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::AgentId;
use http::header::{CONTENT_LENGTH, LINK};
use http::{Method, StatusCode};

use super::answer::Rejection;
use crate::capability::Resource;
use crate::counts::AgentDoor;
use crate::doors::agent::channel_cache::ChannelCache;
use crate::doors::agent::events;
use crate::doors::promise::Promises;
use crate::doors::{Doors, link_to, sse, wire};
use crate::hub::{HubError, Message, Mode, Retry, Scope, Subscriber, SubscriberEvent, SubscriberSpec};
use crate::transport::{PushError, Pusher, Request, Response};

/// One monitoring request in progress.
struct Monitor<'a> {
    doors: &'a Doors,
    pusher: Pusher,
    promises: Promises,
    subscriber: Subscriber,
    agent: AgentId,
    channels: ChannelCache,
    /// `Prefer: wait=0`.
    is_poll: bool,
    pushed: u64,
}

/// How an agent receives.
enum Opened<'a> {
    /// In the body of this answer.
    Events(Response),
    /// By pushes, until this answer; with a wait in seconds, if the request has one.
    Pushes(Box<Monitor<'a>>, Option<u32>),
}

impl Doors {
    pub(in crate::doors) fn monitor(
        self: &Arc<Self>,
        agent: AgentId,
        scope: Scope,
        request: Request,
    ) -> impl Future<Output = Response> + Send {
        // On the heap, and freed with the request before the wait begins.
        let opening = Box::pin(self.open_monitor(agent, scope, request));
        async move {
            let answer = match opening.await {
                Ok(Opened::Events(answer)) => Ok(answer),
                Ok(Opened::Pushes(monitor, wait_secs)) => monitor.run(wait_secs).await,
                Err(rejection) => Err(rejection),
            };
            answer.unwrap_or_else(Rejection::answer)
        }
    }

    async fn open_monitor(
        self: &Arc<Self>,
        agent: AgentId,
        scope: Scope,
        request: Request,
    ) -> Result<Opened<'_>, Rejection> {
        let (head, incoming) = request.into_parts();
        let floor = Urgency::from_headers(&head.headers)?;
        if head.method == Method::HEAD {
            self.hub.check_scope(agent, scope).await?;
            let takes_pushes = incoming.pusher.is_some_and(|p| p.pushes_max() > 0);
            return sse::head(&head.headers, takes_pushes).map(Opened::Events).ok_or(Rejection::NoPush);
        }
        let wait_secs = Prefer::from_headers(&head.headers).wait_secs;
        let mode = if wait_secs == Some(0) { Mode::Drain } else { Mode::Hold };
        let window = self.config().limits.window;
        // A poll sends each message once: the client comes again for what it did not take.
        let retry = if mode == Mode::Drain { Retry::NextSubscriber } else { Retry::SameSubscriber };
        let spec = SubscriberSpec { scope, floor, mode, window, retry };
        if sse::is_requested(&head.headers) {
            let subscriber = self.hub.connect(agent, AgentDoor::Events, spec).await?;
            incoming.place.keep();
            return Ok(Opened::Events(events::answer(self.clone(), agent, subscriber, mode == Mode::Drain)));
        }
        let Some(pusher) = incoming.pusher.filter(|p| p.pushes_max() > 0) else {
            // A missing resource has the same answer on every connection, so it is checked first (PS-8030-8.3-2).
            self.hub.check_scope(agent, scope).await?;
            return Err(Rejection::NoPush);
        };
        let promises = Promises::for_request(self.clone(), head.uri).ok_or(Rejection::NoPush)?;
        let window = pusher.pushes_max().min(window.into());
        let window = u16::try_from(window).expect("the smaller of the two fits into `u16`");
        let subscriber = self.hub.connect(agent, AgentDoor::Http2, SubscriberSpec { window, ..spec }).await?;
        incoming.place.keep();
        let channels = ChannelCache::default();
        let is_poll = mode == Mode::Drain;
        if !is_poll {
            pusher.hold();
        }
        let monitor = Monitor { doors: self, pusher, promises, subscriber, agent, channels, is_poll, pushed: 0 };
        Ok(Opened::Pushes(Box::new(monitor), wait_secs))
    }
}

impl Monitor<'_> {
    /// Pushes until the agent leaves, all messages are sent, the wait is over or the resource is gone.
    async fn run(mut self: Box<Self>, wait_secs: Option<u32>) -> Result<Response, Rejection> {
        let clock = self.doors.clock.clone();
        let until =
            wait_secs.filter(|&secs| secs > 0).map(|secs| clock.served().plus(Duration::from_secs(secs.into())));
        let waited = async {
            match until {
                Some(moment) => clock.served_until(moment).await,
                None => std::future::pending().await,
            }
        };
        let mut waited = std::pin::pin!(waited);
        loop {
            let event = tokio::select! {
                event = self.subscriber.next() => event,
                () = &mut waited => return Ok(self.finish()),
                () = self.pusher.closed() => return Ok(self.finish()),
            };
            match event {
                SubscriberEvent::Message(message) => {
                    // On the heap: a stream that waits does not need this memory.
                    if Box::pin(self.push(&message)).await?.is_break() {
                        // A poll's answer would mean "no more messages".
                        return if self.is_poll { Err(Rejection::Cut) } else { Ok(self.finish()) };
                    }
                }
                // With wait=0 the agent understands the answer as "no more messages".
                SubscriberEvent::Ended | SubscriberEvent::Superseded if self.is_poll => {
                    return Err(HubError::Unavailable.into());
                }
                SubscriberEvent::Drained | SubscriberEvent::Ended | SubscriberEvent::Superseded => {
                    return Ok(self.finish());
                }
                // Only watchers receive these.
                SubscriberEvent::Waiting(_) | SubscriberEvent::Quiet => {}
                SubscriberEvent::Gone => return Err(HubError::Gone.into()),
                SubscriberEvent::Failed(error) => return Err(error.into()),
            }
        }
    }

    /// 200 after pushes, 204 without (PS-8030-6-7).
    fn finish(&self) -> Response {
        wire::empty(if self.pushed > 0 { StatusCode::OK } else { StatusCode::NO_CONTENT })
    }

    async fn push(&mut self, message: &Message) -> Result<ControlFlow<()>, Rejection> {
        let push_uri = match self.channels.push_uri(self.doors, self.agent, message.subscription).await {
            Err(HubError::Damaged) => {
                self.subscriber.undeliverable(message.id);
                return Ok(ControlFlow::Continue(()));
            }
            known => known?,
        };
        let Some(push_uri) = push_uri else {
            // The subscription was just removed.
            self.subscriber.gone(message.id);
            return Ok(ControlFlow::Continue(()));
        };
        let push_link = link_to(&push_uri, REL_PUSH);
        let mut request = self.promises.of(Resource::Message { agent: self.agent, id: message.id });
        // RFC 8030 s6.1 requires the Link on the request, its example shows it on the response: both have it.
        request.headers_mut().insert(LINK, push_link.clone());
        let mut response = http::Response::new(());
        *response.headers_mut() = wire::message_headers(message, &self.doors.clock);
        response.headers_mut().insert(LINK, push_link);
        self.doors.add_date(response.headers_mut());
        if !message.body.is_empty() {
            response.headers_mut().insert(CONTENT_LENGTH, message.body.len().into());
        }

        let clock = &self.doors.clock;
        // A transient message has no expiry: the push gets the acknowledgement time-out.
        let until = message.expires_at.unwrap_or_else(|| clock.now().plus(self.doors.config().limits.ack_timeout));
        let pushed = tokio::select! {
            pushed = self.pusher.push(request, response, message.body.clone()) => pushed,
            () = self.pusher.closed() => Err(PushError::Over),
            // The client's window was closed until the message expired (PS-8030-5.2-7).
            () = clock.sleep_until(until) => Err(PushError::Refused),
        };
        Ok(match pushed {
            Ok(()) => {
                self.pushed += 1;
                if self.is_poll { self.arrived(message).await } else { ControlFlow::Continue(()) }
            }
            Err(PushError::Refused) => {
                self.subscriber.declined(message.id);
                ControlFlow::Continue(())
            }
            Err(PushError::Over) => ControlFlow::Break(()),
        })
    }
    /// The message no longer counts in the window, so that a poll is sent all that waits. The client's flow control
    /// limits the pushes with a body; those without one must have been received before the next one goes.
    async fn arrived(&self, message: &Message) -> ControlFlow<()> {
        if message.body.is_empty() && !self.doors.confirmed(&self.pusher).await {
            return ControlFlow::Break(());
        }
        self.subscriber.arrived(message.id);
        ControlFlow::Continue(())
    }
}
