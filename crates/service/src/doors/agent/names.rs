//! Which subscription a message is for, in the words that the agent knows: the URI of its push resource, or the name that
//! the agent gave it itself.

use std::collections::HashMap;
use std::sync::Arc;

use doorbell_protocol::id::{AgentId, SubscriptionId};

use crate::capability::Resource;
use crate::doors::Doors;
use crate::hub::HubError;

/// The names of one stream's subscriptions. Begun anew at as many as an agent may have: the subscriptions of one that
/// keeps making and removing them have no end.
#[derive(Default)]
pub(super) struct Names(HashMap<SubscriptionId, Arc<str>>);

impl Names {
    /// The push URI of a subscription; `None` when it has just been removed.
    pub(super) async fn push_uri(
        &mut self,
        doors: &Doors,
        agent: AgentId,
        subscription: SubscriptionId,
    ) -> Result<Option<Arc<str>>, HubError> {
        if let Some(known) = self.0.get(&subscription) {
            return Ok(Some(known.clone()));
        }
        let Some(restricted_to) = doors.hub.restriction(subscription).await? else { return Ok(None) };
        let uri = doors.uri(Resource::Push { agent, subscription, restricted_to });
        Ok(Some(self.keep(doors, subscription, uri.into())))
    }

    /// What the agent calls a subscription; `None` when it has just been removed, or has no such name.
    pub(super) async fn channel(
        &mut self,
        doors: &Doors,
        subscription: SubscriptionId,
    ) -> Result<Option<Arc<str>>, HubError> {
        if let Some(known) = self.0.get(&subscription) {
            return Ok(Some(known.clone()));
        }
        let channel = doors.hub.channel(subscription).await?;
        Ok(channel.map(|channel| self.keep(doors, subscription, channel.into())))
    }

    fn keep(&mut self, doors: &Doors, subscription: SubscriptionId, name: Arc<str>) -> Arc<str> {
        if self.0.len() >= doors.limits.subscriptions_per_agent_max as usize {
            self.0 = HashMap::new();
        }
        self.0.insert(subscription, name.clone());
        name
    }
}
