//! POST to the registration resource: a page subscribes or unsubscribes, or an extension registers.

use doorbell_protocol::id::{AgentId, SubscriptionId};
use doorbell_protocol::key::PublicKey;
use doorbell_protocol::mcs::registration::answer::RegistrationAnswer;
use doorbell_protocol::mcs::registration::{FORM_MAX, Registration, WAKE_EXTENSION, credentials};

use super::address::Address;
use super::answer::{Rejection, registered};
use crate::capability::Resource;
use crate::doors::Doors;
use crate::hub::{Agent, HubError, NewSubscription, Scope};
use crate::transport::{Request, Response};

/// The token if there is none to return: to Chromium's registration with Google's own services, which always comes and
/// would be repeated after a rejection, and after a removal.
const NO_TOKEN: &str = "none";

/// The sender of an unsubscription that applies to all senders.
const EVERY_SENDER: &str = "*";

impl Doors {
    pub(in crate::doors) async fn register(&self, request: Request) -> Response {
        registered(self.try_register(request).await)
    }

    /// The body of the answer.
    async fn try_register(&self, request: Request) -> Result<String, Rejection> {
        let (head, incoming) = request.into_parts();
        let request_timeout = self.config().limits.request_timeout;
        let body = incoming.body.read(FORM_MAX, request_timeout).await?;
        let device = credentials(&head.headers)?;
        let form = Registration::parse(&body)?;
        let agent = self.capabilities.agent_of(device).filter(|_| form.device == device.id).ok_or(Rejection::Device)?;
        let token = |token: &str| RegistrationAnswer::Token(token).body();
        // Nothing is stored for an app, so there is nothing to remove.
        if form.is_of_an_app_that_leaves() {
            return Ok(RegistrationAnswer::Deleted(&form.app).body());
        }
        if form.app == WAKE_EXTENSION && !form.delete {
            return Ok(token(&self.capabilities.token(Resource::Wake { agent })));
        }
        let subtype = form.subtype.as_deref().filter(|_| form.is_of_a_page() && form.app != WAKE_EXTENSION);
        let Some(subtype) = subtype else { return Ok(token(NO_TOKEN)) };
        let address = Address { app: &form.app, subtype, sender: &form.sender };
        if form.delete {
            self.unregister(agent, address).await?;
            return Ok(token(NO_TOKEN));
        }
        if form.sender == EVERY_SENDER {
            return Err(Rejection::Sender);
        }
        self.chromium.registrations.take(agent, self.clock.now())?;
        let restricted_to = address.restriction().map_err(|_| Rejection::Sender)?;
        let fingerprint = restricted_to.as_ref().map(|key| key.fingerprint());
        let subscription = self.subscribe_once(agent, address.to_channel(), restricted_to).await?;
        let push = Resource::Push { agent, subscription, restricted_to: fingerprint, of_browser: true };
        Ok(token(&self.capabilities.token(push)))
    }

    /// The device's subscription with this name, or a new one: the device may not have received our first answer.
    async fn subscribe_once(
        &self,
        agent: AgentId,
        channel: String,
        restricted_to: Option<PublicKey>,
    ) -> Result<SubscriptionId, HubError> {
        if let Some((known, _)) = self.hub.subscription_of_channel(agent, &channel).await? {
            return Ok(known);
        }
        let (owner, name) = (Agent::New(agent), Some(channel.clone()));
        match self.hub.subscribe(NewSubscription { agent: owner, restricted_to, channel: name }).await {
            // Two requests asked for it at the same time.
            Err(HubError::Taken) => {
                let known = self.hub.subscription_of_channel(agent, &channel).await?;
                known.map(|(known, _)| known).ok_or(HubError::Unavailable)
            }
            made => made,
        }
    }

    /// Removes the device's subscriptions at this address. Having none is a success too.
    async fn unregister(&self, agent: AgentId, gone: Address<'_>) -> Result<(), HubError> {
        for (subscription, channel) in self.hub.channels(agent).await? {
            let is_match = Address::from_channel(&channel).is_some_and(|address| {
                let sender = if gone.sender == EVERY_SENDER { address.sender } else { gone.sender };
                address == Address { sender, ..gone }
            });
            if is_match {
                match self.hub.remove(agent, Scope::Subscription(subscription)).await {
                    Ok(()) | Err(HubError::Gone) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}
