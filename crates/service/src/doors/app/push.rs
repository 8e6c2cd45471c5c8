//! POST to a push resource: all steps of accepting a message (RFC 8030 s5, RFC 8292 s4.2).

use doorbell_protocol::headers::coding;
use doorbell_protocol::headers::link::{self, REL_PUSH_RECEIPT};
use doorbell_protocol::headers::prefer::Prefer;
use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::message::ContentHeaders;
use http::header::{LINK, LOCATION};
use http::{HeaderMap, StatusCode};

use super::answer::{Rejection, accepted};
use crate::capability::{KeyFingerprint, Resource};
use crate::config::Limits;
use crate::doors::Doors;
use crate::hub::{HubError, Submission};
use crate::transport::source::Source;
use crate::transport::{Request, Response};

/// The push resource of a request: what its URL says.
#[derive(Clone, Copy)]
pub(in crate::doors) struct Target {
    pub(in crate::doors) agent: AgentId,
    pub(in crate::doors) subscription: SubscriptionId,
    /// The only key that may sign.
    pub(in crate::doors) restricted_to: Option<KeyFingerprint>,
    /// Whether the messages are for a browser, which opens nothing but what RFC 8291 and its drafts describe.
    pub(in crate::doors) of_browser: bool,
}

impl Doors {
    pub(in crate::doors) async fn push(&self, to: Target, request: Request) -> Response {
        let answered = self.try_push(to, request).await;
        answered.unwrap_or_else(|rejection| {
            let config = self.config();
            rejection.answer_with(config.limits.gone_status, config.limits.vapid_status)
        })
    }

    async fn try_push(&self, to: Target, request: Request) -> Result<Response, Rejection> {
        let Target { agent, subscription, restricted_to, of_browser } = to;
        let (head, incoming) = request.into_parts();
        let source = incoming.place.source_of(&head.headers);
        // The body is read before the first check: a client that is still sending it might not receive a rejection.
        let Limits { body_max, request_timeout, ttl_max_secs, .. } = self.config().limits;
        let body = incoming.body.read(body_max, request_timeout).await?;

        let signer = self.vapid.check(&head.headers, restricted_to, self.clock.wall());
        let signer = signer.map_err(|wrong| if self.clock.doubts_wall() { wrong.in_doubt() } else { wrong })?;
        let ttl = Ttl::from_headers(&head.headers)?.clamp(ttl_max_secs);
        // A request without the field has the default urgency (RFC 8030 s5.3).
        let urgency = Urgency::from_headers(&head.headers)?.unwrap_or_default();
        let topic = Topic::from_headers(&head.headers)?;
        let headers = ContentHeaders::from_headers(&head.headers)?;
        if of_browser {
            coding::check_openable(&headers, &body)?;
        }
        if let Some(signer) = signer
            && coding::sender_key(&headers, &body).is_some_and(|key| key == *signer.as_bytes())
        {
            return Err(Rejection::KeyReuse);
        }
        self.rates.admit(subscription, signer.map(|key| key.fingerprint()), self.clock.now())?;
        let (receipt, is_new) = self.wanted_receipt(&head.headers, agent, source).await?;
        let submission = Submission { agent, subscription, ttl, urgency, topic, receipt, headers, body };
        let id = match self.hub.submit(submission).await {
            Ok(id) => id,
            Err(error) => {
                // The message was rejected: no client knows the new receipt subscription.
                if let Some(id) = receipt.filter(|_| is_new && error != HubError::Unavailable) {
                    self.hub.receipts().remove_later(id);
                }
                return Err(error.into());
            }
        };

        let status = if receipt.is_some() { StatusCode::ACCEPTED } else { StatusCode::CREATED };
        let mut response = accepted(status, ttl);
        // Nothing can fail from here on: the message is durable, and any other answer would be wrong.
        response.headers_mut().insert(LOCATION, self.location(Resource::Message { agent, id }));
        if let Some(id) = receipt {
            response.headers_mut().insert(LINK, self.link(Resource::Receipts { id }, REL_PUSH_RECEIPT));
        }
        Ok(response)
    }

    /// The receipt subscription for the outcome of the message: the one in the request's Link, or a new one (RFC 8030
    /// s5.1); and whether it is new. The store checks that the named one exists.
    async fn wanted_receipt(
        &self,
        headers: &HeaderMap,
        agent: AgentId,
        source: Option<Source>,
    ) -> Result<(Option<ReceiptSubscriptionId>, bool), Rejection> {
        if !Prefer::from_headers(headers).respond_async {
            return Ok((None, false));
        }
        let Some(target) = link::target(headers, REL_PUSH_RECEIPT) else {
            self.receipt_growth.admit(source, self.clock.now()).map_err(Rejection::Growth)?;
            return Ok((Some(self.hub.receipts().subscribe(agent).await?), true));
        };
        match self.resource(&target) {
            Some(Resource::Receipts { id }) => Ok((Some(id), false)),
            _ => Err(Rejection::Receipts),
        }
    }
}
