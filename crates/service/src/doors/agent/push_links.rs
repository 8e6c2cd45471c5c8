//! Which subscription a message is for, in the words that the agent knows: the URI of its push resource.

use std::collections::HashMap;
use std::sync::Arc;

use doorbell_protocol::id::{AgentId, SubscriptionId};

use crate::capability::Resource;
use crate::doors::Doors;
use crate::hub::HubError;

/// The push URIs of one stream's subscriptions. Begun anew at as many as an agent may have: the subscriptions of one
/// that keeps making and removing them have no end.
#[derive(Default)]
pub(super) struct PushLinks(HashMap<SubscriptionId, Arc<str>>);

impl PushLinks {
    /// The push URI of a subscription; `None` when it has just been removed.
    pub(super) async fn uri(
        &mut self,
        doors: &Doors,
        agent: AgentId,
        subscription: SubscriptionId,
    ) -> Result<Option<Arc<str>>, HubError> {
        if let Some(known) = self.0.get(&subscription) {
            return Ok(Some(known.clone()));
        }
        let Some(restricted_to) = doors.hub.restriction(subscription).await? else { return Ok(None) };
        let uri: Arc<str> = doors.uri(Resource::Push { agent, subscription, restricted_to }).into();
        if self.0.len() >= doors.limits.subscriptions_per_agent_max as usize {
            self.0 = HashMap::new();
        }
        self.0.insert(subscription, uri.clone());
        Ok(Some(uri))
    }
}
