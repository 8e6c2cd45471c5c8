//! GET of a subscription or a set: messages come as server pushes (RFC 8030 s6, s6.1).

use std::collections::HashMap;
use std::time::Duration;

use doorbell_protocol::headers::link::{Link as LinkField, REL_PUSH};
use doorbell_protocol::headers::prefer::Prefer;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, SubscriptionId};
use http::header::{HeaderValue, LINK};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{StatusCode, Uri};

use super::answer::Refusal;
use crate::capability::Resource;
use crate::doors::{Doors, wire};
use crate::hub::{HubError, Link, LinkEvent, LinkSpec, Message, Mode, Retry, Scope};
use crate::listen::{PushError, Pusher, Request, Response};

/// One monitoring request in progress.
struct Monitor<'a> {
    doors: &'a Doors,
    pusher: Pusher,
    link: Link,
    agent: AgentId,
    scheme: Scheme,
    authority: Authority,
    /// The Link field that names each subscription's push resource. Begun anew at as many as an agent may have: the
    /// subscriptions of one that keeps making and removing them have no end.
    push_links: HashMap<SubscriptionId, HeaderValue>,
    pushed: u64,
}

impl Doors {
    pub(in crate::doors) async fn monitor(&self, agent: AgentId, scope: Scope, request: Request) -> Response {
        self.try_monitor(agent, scope, request).await.unwrap_or_else(Refusal::answer)
    }

    async fn try_monitor(&self, agent: AgentId, scope: Scope, request: Request) -> Result<Response, Refusal> {
        let (head, incoming) = request.into_parts();
        let floor = Urgency::from_headers(&head.headers)?;
        let wait_secs = Prefer::from_headers(&head.headers).wait_secs;
        let pusher = incoming.pusher.filter(|p| p.pushes_max() > 0).ok_or(Refusal::NoPush)?;
        // HTTP/2 requests have both parts (RFC 9113 s8.3.1); the promises repeat them, so that the client knows the
        // service as authoritative.
        let parts = head.uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(Refusal::NoPush) };

        let mode = if wait_secs == Some(0) { Mode::Drain } else { Mode::Hold };
        let window = u16::try_from(pusher.pushes_max()).unwrap_or(u16::MAX).min(self.limits.window);
        let spec = LinkSpec { scope, floor, mode, window, retry: Retry::SameLink };
        let link = self.hub.connect(agent, spec).await?;
        let push_links = HashMap::new();
        let monitor = Monitor { doors: self, pusher, link, agent, scheme, authority, push_links, pushed: 0 };
        monitor.run(wait_secs).await
    }
}

impl Monitor<'_> {
    /// Pushes until the agent leaves, everything is drained, the wait is over or the resource is gone.
    async fn run(mut self, wait_secs: Option<u32>) -> Result<Response, Refusal> {
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
                event = self.link.next() => event,
                () = &mut waited => return Ok(self.finish()),
                () = self.pusher.closed() => return Ok(self.finish()),
            };
            match event {
                LinkEvent::Message(message) => {
                    if self.push(&message).await?.is_break() {
                        return Ok(self.finish());
                    }
                }
                // With wait=0 the agent takes the answer to mean that there is no more.
                LinkEvent::Ended if wait_secs == Some(0) => return Err(HubError::Unavailable.into()),
                LinkEvent::Drained | LinkEvent::Ended => return Ok(self.finish()),
                LinkEvent::Gone => return Err(HubError::Gone.into()),
                LinkEvent::Failed(error) => return Err(error.into()),
            }
        }
    }

    /// 200 after pushes, 204 without (PS-8030-6-7).
    fn finish(&self) -> Response {
        wire::empty(if self.pushed > 0 { StatusCode::OK } else { StatusCode::NO_CONTENT })
    }

    async fn push(&mut self, message: &Message) -> Result<std::ops::ControlFlow<()>, Refusal> {
        let Some(push_link) = self.push_link(message.subscription).await? else {
            self.link.gone(message.id);
            return Ok(std::ops::ControlFlow::Continue(()));
        };
        let resource = Resource::Message { agent: self.agent, id: message.id };
        let path = PathAndQuery::try_from(self.doors.capabilities.path(resource)).map_err(|_| HubError::Gone)?;
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path);
        let mut request = http::Request::new(());
        *request.uri_mut() = uri.build().map_err(|_| HubError::Gone)?;
        // RFC 8030 s6.1 wants the Link on the request, its example has it on the response: both.
        request.headers_mut().insert(LINK, push_link.clone());
        let mut response = http::Response::new(());
        *response.headers_mut() = wire::message_headers(message);
        response.headers_mut().insert(LINK, push_link);
        self.doors.add_date(response.headers_mut());
        if !message.body.is_empty() {
            response.headers_mut().insert(http::header::CONTENT_LENGTH, message.body.len().into());
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
                std::ops::ControlFlow::Continue(())
            }
            Err(PushError::Refused) => {
                self.link.declined(message.id);
                std::ops::ControlFlow::Continue(())
            }
            Err(PushError::Over) => std::ops::ControlFlow::Break(()),
        })
    }

    /// The field that tells the agent which subscription a message is for; `None` when that has just been removed.
    async fn push_link(&mut self, subscription: SubscriptionId) -> Result<Option<HeaderValue>, Refusal> {
        if let Some(known) = self.push_links.get(&subscription) {
            return Ok(Some(known.clone()));
        }
        let Some(restricted_to) = self.doors.hub.restriction(subscription).await? else { return Ok(None) };
        let push = Resource::Push { agent: self.agent, subscription, restricted_to };
        let field = LinkField::new(self.doors.uri(push), REL_PUSH).to_value();
        if self.push_links.len() >= self.doors.limits.subscriptions_per_agent_max as usize {
            self.push_links = HashMap::new();
        }
        if let Some(field) = &field {
            self.push_links.insert(subscription, field.clone());
        }
        Ok(field)
    }
}
