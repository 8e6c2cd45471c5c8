//! POST to the subscribe resource (RFC 8030 s4, RFC 8292 s4.1).

use doorbell_protocol::headers::link::{self, REL_PUSH, REL_PUSH_SET};
use doorbell_protocol::id::AgentId;
use doorbell_protocol::key::PublicKey;
use http::header::{CONTENT_TYPE, LINK, LOCATION};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::answer::Rejection;
use crate::capability::Resource;
use crate::doors::{Doors, wire};
use crate::hub::{Agent, HubError, NewSubscription};
use crate::transport::{Request, Response};

/// The maximum length of the options; a key takes 100 bytes.
const OPTIONS_MAX: usize = 4096;

/// `application/webpush-options+json`; unknown members are ignored (PS-8292-4.1-3).
#[derive(Deserialize)]
struct Options {
    vapid: Option<String>,
}

impl Doors {
    pub(in crate::doors) async fn subscribe(&self, request: Request) -> Response {
        self.try_subscribe(request).await.unwrap_or_else(Rejection::answer)
    }

    async fn try_subscribe(&self, request: Request) -> Result<Response, Rejection> {
        let (head, incoming) = request.into_parts();
        if let Some(elsewhere) = &self.settings.subscribe_redirect {
            return Ok(wire::redirect(elsewhere.clone()));
        }
        let set = self.named_set(&head.headers)?;
        let source = incoming.place.source();
        let body = incoming.body.read(OPTIONS_MAX, self.limits.request_timeout).await?;
        let key = restriction(&head.headers, &body)?;
        let restricted_to = key.map(|key| key.fingerprint());
        if set.is_none() {
            self.growth.admit(source, self.clock.now())?;
        }
        let owner = set.map_or_else(|| self.hub.new_agent(), Agent::Known);
        let agent = owner.id();
        let new = NewSubscription { agent: owner, restricted_to: key, channel: None };
        let subscription = self.hub.subscribe(new).await.map_err(|error| match error {
            // The set was removed between two requests.
            HubError::Gone => Rejection::Set,
            other => Rejection::Hub(other),
        })?;

        let mut response = wire::empty(StatusCode::CREATED);
        let headers = response.headers_mut();
        headers.insert(LOCATION, self.location(Resource::Subscription { agent, subscription }));
        let push = Resource::Push { agent, subscription, restricted_to, of_browser: false };
        headers.append(LINK, self.link(push, REL_PUSH));
        headers.append(LINK, self.link(Resource::Set { agent }, REL_PUSH_SET));
        Ok(response)
    }

    /// The agent of the request's set: an invalid set is an error, never a new set (PS-8030-4.1-3).
    fn named_set(&self, headers: &HeaderMap) -> Result<Option<AgentId>, Rejection> {
        let Some(target) = link::target(headers, REL_PUSH_SET) else { return Ok(None) };
        match self.resource(&target) {
            Some(Resource::Set { agent }) => Ok(Some(agent)),
            _ => Err(Rejection::Set),
        }
    }
}

/// The key that the subscription is restricted to; a body of another type restricts nothing (PS-8292-4.1-2).
fn restriction(headers: &HeaderMap, body: &[u8]) -> Result<Option<PublicKey>, Rejection> {
    let is_options = |media_type: &str| {
        let essence = media_type.split(';').next().expect("`split` returns at least one part");
        essence.trim().eq_ignore_ascii_case("application/webpush-options+json")
    };
    if !headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_options) {
        return Ok(None);
    }
    let options: Options = serde_json::from_slice(body).map_err(|_| Rejection::Options)?;
    options.vapid.map(|key| PublicKey::from_base64url(&key)).transpose().map_err(Rejection::Key)
}
