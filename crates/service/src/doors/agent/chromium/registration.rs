//! POST to the registration resource: a page subscribes or unsubscribes.

use doorbell_protocol::id::{AgentId, SubscriptionId};
use doorbell_protocol::key::PublicKey;
use doorbell_protocol::mcs::registration::{FORM_MAX, Registration, credentials};

use super::address::Address;
use super::answer::{Refusal, registered};
use crate::capability::Resource;
use crate::doors::Doors;
use crate::hub::{Agent, HubError, NewSubscription, Scope};
use crate::transport::{Request, Response};

/// What is answered where a token is wanted and there is none to give: to Chromium's registration with Google's own
/// services, which always comes and would come again if it were refused, and when a subscription was removed.
const NO_TOKEN: &str = "none";

/// The sender of an unsubscription that means all senders.
const EVERY_SENDER: &str = "*";

impl Doors {
    pub(in crate::doors) async fn register(&self, request: Request) -> Response {
        registered(self.try_register(request).await)
    }

    /// The token to answer.
    async fn try_register(&self, request: Request) -> Result<String, Refusal> {
        let (head, incoming) = request.into_parts();
        let body = incoming.body.read(FORM_MAX, self.limits.request_timeout).await?;
        let device = credentials(&head.headers)?;
        let form = Registration::parse(&body)?;
        let agent = self.capabilities.agent_of(device).filter(|_| form.device == device.id).ok_or(Refusal::Device)?;
        let subtype = form.subtype.as_deref().filter(|_| form.is_of_a_page());
        let Some(subtype) = subtype else { return Ok(NO_TOKEN.to_owned()) };
        let address = Address { app: &form.app, subtype, sender: &form.sender };
        if form.delete {
            self.unregister(agent, address).await?;
            return Ok(NO_TOKEN.to_owned());
        }
        if form.sender == EVERY_SENDER {
            return Err(Refusal::Sender);
        }
        self.chromium.registrations.take(agent, self.clock.now())?;
        let restricted_to = address.restriction().map_err(|_| Refusal::Sender)?;
        let fingerprint = restricted_to.as_ref().map(|key| key.fingerprint());
        let subscription = self.subscribe_once(agent, address.to_channel(), restricted_to).await?;
        Ok(self.capabilities.token(Resource::Push { agent, subscription, restricted_to: fingerprint }))
    }

    /// The subscription that the device has under this name, or a new one: it may not have heard our answer.
    async fn subscribe_once(
        &self,
        agent: AgentId,
        channel: String,
        restricted_to: Option<PublicKey>,
    ) -> Result<SubscriptionId, HubError> {
        if let Some((known, _)) = self.hub.subscription_of_channel(agent, &channel).await? {
            return Ok(known);
        }
        let (whose, name) = (Agent::New(agent), Some(channel.clone()));
        match self.hub.subscribe(NewSubscription { agent: whose, restricted_to, channel: name }).await {
            // It was asked for twice at the same time.
            Err(HubError::Taken) => {
                let known = self.hub.subscription_of_channel(agent, &channel).await?;
                known.map(|(known, _)| known).ok_or(HubError::Unavailable)
            }
            made => made,
        }
    }

    /// Removes what the device has at this address. That there is nothing is as good.
    async fn unregister(&self, agent: AgentId, gone: Address<'_>) -> Result<(), HubError> {
        for (subscription, channel) in self.hub.channels(agent).await? {
            let is_meant = Address::from_channel(&channel).is_some_and(|address| {
                let sender = if gone.sender == EVERY_SENDER { address.sender } else { gone.sender };
                address == Address { sender, ..gone }
            });
            if is_meant {
                match self.hub.remove(agent, Scope::Subscription(subscription)).await {
                    Ok(()) | Err(HubError::Gone) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}
