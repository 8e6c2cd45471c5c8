//! POST to the subscribe resource (RFC 8030 s4, RFC 8292 s4.1).

use doorbell_protocol::headers::link::{self, REL_PUSH, REL_PUSH_SET};
use doorbell_protocol::id::AgentId;
use doorbell_protocol::key::PublicKey;
use http::header::{CONTENT_TYPE, LINK, LOCATION};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::answer::Rejection;
use crate::capability::Resource;
use crate::doors::{Doors, wire};
use crate::hub::{Agent, HubError, NewSubscription};
use crate::transport::{Request, Response};

/// The maximum length of the options; a key takes 100 bytes.
const OPTIONS_MAX: usize = 4096;

/// The media type of the options (RFC 8292 s4.1).
const OPTIONS_TYPE: &str = "application/webpush-options+json";

/// The member of the options that has the key.
const VAPID: &str = "vapid";

impl Doors {
    pub(in crate::doors) async fn subscribe(&self, request: Request) -> Response {
        self.try_subscribe(request).await.unwrap_or_else(Rejection::answer)
    }

    async fn try_subscribe(&self, request: Request) -> Result<Response, Rejection> {
        let (head, incoming) = request.into_parts();
        let config = self.config();
        if let Some(elsewhere) = &config.http.subscribe_redirect {
            return Ok(wire::redirect(elsewhere.clone()));
        }
        let set = self.named_set(&head.headers)?;
        let source = incoming.place.source_of(&head.headers);
        let request_timeout = config.limits.request_timeout;
        let body = incoming.body.read(OPTIONS_MAX, request_timeout).await?;
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

/// The key that the subscription is restricted to. A body of another type restricts nothing (PS-8292-4.1-2), unless it
/// looks like options: a client that meant to restrict its subscription must not get one that is open to all.
fn restriction(headers: &HeaderMap, body: &[u8]) -> Result<Option<PublicKey>, Rejection> {
    let is_options = |media_type: &str| {
        let essence = media_type.split(';').next().expect("`split` returns at least one part");
        essence.trim().eq_ignore_ascii_case(OPTIONS_TYPE)
    };
    if !headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_options) {
        return if resembles_options(body) { Err(Rejection::MediaType) } else { Ok(None) };
    }
    let options: Map<String, Value> = serde_json::from_slice(body).map_err(|_| Rejection::Options)?;
    match options.get(VAPID) {
        Some(Value::String(key)) => PublicKey::from_base64url(key).map(Some).map_err(Rejection::Key),
        None if options.is_empty() => Ok(None),
        // Unknown members are ignored next to `vapid` (PS-8292-4.1-3). On their own they may be that member, misspelt.
        Some(_) | None => Err(Rejection::Options),
    }
}

/// Whether it is a JSON object, or names the member.
fn resembles_options(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{') || body.windows(VAPID.len()).any(|part| part == VAPID.as_bytes())
}
