//! POST to a push resource: the whole story of accepting a message (RFC 8030 s5, RFC 8292 s4.2).

use doorbell_protocol::headers::coding;
use doorbell_protocol::headers::link::{self, REL_PUSH_RECEIPT};
use doorbell_protocol::headers::prefer::Prefer;
use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::message::ContentHeaders;
use http::header::{CONTENT_LENGTH, LINK, LOCATION};
use http::{HeaderMap, StatusCode};

use super::answer::{Refusal, accepted};
use crate::capability::{KeyFingerprint, Resource};
use crate::doors::Doors;
use crate::hub::{HubError, Submission};
use crate::transport::{BodyError, Request, Response};

impl Doors {
    pub(in crate::doors) async fn push(
        &self,
        agent: AgentId,
        subscription: SubscriptionId,
        restricted_to: Option<KeyFingerprint>,
        request: Request,
    ) -> Response {
        let accepting = self.try_push(agent, subscription, restricted_to, request);
        accepting.await.unwrap_or_else(|refusal| refusal.answer(self.limits.gone_status))
    }

    async fn try_push(
        &self,
        agent: AgentId,
        subscription: SubscriptionId,
        restricted_to: Option<KeyFingerprint>,
        request: Request,
    ) -> Result<Response, Refusal> {
        let (head, incoming) = request.into_parts();
        self.refuse_announced(&head.headers)?;
        // The body is taken before anything can be wrong, or a client that is still sending it might not hear what is.
        let body = incoming.body.read(self.limits.body_max, self.limits.request_timeout).await?;

        let signer = self.vapid.check(&head.headers, restricted_to, self.clock.now())?;
        let ttl = Ttl::from_headers(&head.headers)?.clamp(self.limits.ttl_max_secs);
        let urgency = Urgency::from_headers(&head.headers)?.unwrap_or_default();
        let topic = Topic::from_headers(&head.headers)?;
        let headers = ContentHeaders::from_headers(&head.headers)?;
        if let Some(signer) = signer
            && coding::sender_key(&headers, &body).is_some_and(|key| key == *signer.as_bytes())
        {
            return Err(Refusal::KeyReuse);
        }
        self.rates.admit(subscription, signer.map(|key| key.fingerprint()), self.clock.now())?;
        let (receipt, is_new) = self.wanted_receipt(&head.headers).await?;
        let submission = Submission { agent, subscription, ttl, urgency, topic, receipt, headers, body };
        let id = match self.hub.submit(submission).await {
            Ok(id) => id,
            Err(error) => {
                // Nobody hears of a receipt subscription made for a message that was refused.
                if let Some(id) = receipt.filter(|_| is_new && error != HubError::Unavailable) {
                    // What fails here is found again when it has been idle for long.
                    let _ = self.hub.receipts().remove(id).await;
                }
                return Err(error.into());
            }
        };

        let status = if receipt.is_some() { StatusCode::ACCEPTED } else { StatusCode::CREATED };
        let mut response = accepted(status, ttl);
        // From here on nothing can fail: the message is durable, and any other answer would be wrong.
        response.headers_mut().insert(LOCATION, self.location(Resource::Message { agent, id }));
        if let Some(id) = receipt {
            response.headers_mut().insert(LINK, self.link(Resource::Receipts { id }, REL_PUSH_RECEIPT));
        }
        Ok(response)
    }

    /// Where the application server wants to hear what becomes of the message: on the receipt subscription that it
    /// names, or on a new one (RFC 8030 s5.1); and whether it is new. That the named one exists is checked where the
    /// message is stored.
    async fn wanted_receipt(&self, headers: &HeaderMap) -> Result<(Option<ReceiptSubscriptionId>, bool), Refusal> {
        if !Prefer::from_headers(headers).respond_async {
            return Ok((None, false));
        }
        let Some(target) = link::target(headers, REL_PUSH_RECEIPT) else {
            return Ok((Some(self.hub.receipts().subscribe().await?), true));
        };
        match self.resource(&target) {
            Some(Resource::Receipts { id }) => Ok((Some(id), false)),
            _ => Err(Refusal::Receipts),
        }
    }

    /// Refuses a body that announces itself as too long, before a client that asks first (`Expect`) sends it.
    fn refuse_announced(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let max = self.limits.body_max;
        let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        let expects = headers.contains_key(http::header::EXPECT);
        match announced {
            Some(length) if expects && length > max as u64 => Err(BodyError::TooLarge { max }.into()),
            _ => Ok(()),
        }
    }
}
