//! GET of a subscription or a set: messages come as server pushes (RFC 8030 s6, s6.1), or as server-sent events.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use doorbell_protocol::headers::link::REL_PUSH;
use doorbell_protocol::headers::prefer::Prefer;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::AgentId;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, LINK};

use super::answer::Refusal;
use crate::capability::Resource;
use crate::doors::agent::events;
use crate::doors::agent::names::Names;
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
    names: Names,
    pushed: u64,
}

/// How an agent receives.
enum Opened<'a> {
    /// In this answer.
    Events(Response),
    /// By pushes, until this answer: at the end of the wait, if it has one, in seconds.
    Pushes(Box<Monitor<'a>>, Option<u32>),
}

impl Doors {
    pub(in crate::doors) fn monitor(
        self: &Arc<Self>,
        agent: AgentId,
        scope: Scope,
        request: Request,
    ) -> impl Future<Output = Response> + Send {
        // On the heap, and gone when the wait begins, with the request.
        let opening = Box::pin(self.open_monitor(agent, scope, request));
        async move {
            let answer = match opening.await {
                Ok(Opened::Events(answer)) => Ok(answer),
                Ok(Opened::Pushes(monitor, wait_secs)) => monitor.run(wait_secs).await,
                Err(refusal) => Err(refusal),
            };
            answer.unwrap_or_else(Refusal::answer)
        }
    }

    async fn open_monitor(
        self: &Arc<Self>,
        agent: AgentId,
        scope: Scope,
        request: Request,
    ) -> Result<Opened<'_>, Refusal> {
        let (head, incoming) = request.into_parts();
        let floor = Urgency::from_headers(&head.headers)?;
        let wait_secs = Prefer::from_headers(&head.headers).wait_secs;
        let mode = if wait_secs == Some(0) { Mode::Drain } else { Mode::Hold };
        let window = self.limits.window;
        let spec = SubscriberSpec { scope, floor, mode, window, retry: Retry::SameSubscriber };
        if sse::is_wanted(&head.headers) {
            let subscriber = self.hub.connect(agent, spec).await?;
            return Ok(Opened::Events(events::answer(self.clone(), agent, subscriber)));
        }
        let Some(pusher) = incoming.pusher.filter(|p| p.pushes_max() > 0) else {
            // That there is no such resource comes first: it is the same answer on every connection (PS-8030-8.3-2).
            self.hub.check_scope(agent, scope).await?;
            return Err(Refusal::NoPush);
        };
        let promises = Promises::for_request(self.clone(), head.uri).ok_or(Refusal::NoPush)?;
        let window = u16::try_from(pusher.pushes_max()).unwrap_or(u16::MAX).min(window);
        let subscriber = self.hub.connect(agent, SubscriberSpec { window, ..spec }).await?;
        let names = Names::default();
        let monitor = Monitor { doors: self, pusher, promises, subscriber, agent, names, pushed: 0 };
        Ok(Opened::Pushes(Box::new(monitor), wait_secs))
    }
}

impl Monitor<'_> {
    /// Pushes until the agent leaves, everything is drained, the wait is over or the resource is gone.
    async fn run(mut self: Box<Self>, wait_secs: Option<u32>) -> Result<Response, Refusal> {
        let clock = self.doors.clock.clone();
        let until = wait_secs.filter(|&secs| secs > 0).map(|secs| clock.now().plus(Duration::from_secs(secs.into())));
        let waited = async {
            match until {
                Some(moment) => clock.sleep_until(moment).await,
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
                    // On the heap: a stream that waits has no use for its room.
                    if Box::pin(self.push(&message)).await?.is_break() {
                        return Ok(self.finish());
                    }
                }
                // With wait=0 the agent takes the answer to mean that there is no more.
                SubscriberEvent::Ended if wait_secs == Some(0) => return Err(HubError::Unavailable.into()),
                SubscriberEvent::Drained | SubscriberEvent::Ended | SubscriberEvent::Superseded => {
                    return Ok(self.finish());
                }
                SubscriberEvent::Gone => return Err(HubError::Gone.into()),
                SubscriberEvent::Failed(error) => return Err(error.into()),
            }
        }
    }

    /// 200 after pushes, 204 without (PS-8030-6-7).
    fn finish(&self) -> Response {
        wire::empty(if self.pushed > 0 { StatusCode::OK } else { StatusCode::NO_CONTENT })
    }

    async fn push(&mut self, message: &Message) -> Result<ControlFlow<()>, Refusal> {
        let push_uri = match self.names.push_uri(self.doors, self.agent, message.subscription).await {
            Err(HubError::Damaged) => {
                self.subscriber.undeliverable(message.id);
                return Ok(ControlFlow::Continue(()));
            }
            known => known?,
        };
        let Some(push_uri) = push_uri else {
            // The subscription has just been removed.
            self.subscriber.gone(message.id);
            return Ok(ControlFlow::Continue(()));
        };
        let push_link = link_to(&push_uri, REL_PUSH);
        let mut request = self.promises.of(Resource::Message { agent: self.agent, id: message.id });
        // RFC 8030 s6.1 wants the Link on the request, its example has it on the response: both.
        request.headers_mut().insert(LINK, push_link.clone());
        let mut response = http::Response::new(());
        *response.headers_mut() = wire::message_headers(message);
        response.headers_mut().insert(LINK, push_link);
        self.doors.add_date(response.headers_mut());
        if !message.body.is_empty() {
            response.headers_mut().insert(CONTENT_LENGTH, message.body.len().into());
        }

        let clock = &self.doors.clock;
        let until = message.expires_at.unwrap_or_else(|| clock.now().plus(self.doors.limits.ack_timeout));
        let pushed = tokio::select! {
            pushed = self.pusher.push(request, response, message.body.clone()) => pushed,
            () = self.pusher.closed() => Err(PushError::Over),
            // The client's window was shut for all of its life (PS-8030-5.2-7).
            () = clock.sleep_until(until) => Err(PushError::Refused),
        };
        Ok(match pushed {
            Ok(()) => {
                self.pushed += 1;
                ControlFlow::Continue(())
            }
            Err(PushError::Refused) => {
                self.subscriber.declined(message.id);
                ControlFlow::Continue(())
            }
            Err(PushError::Over) => ControlFlow::Break(()),
        })
    }
}
