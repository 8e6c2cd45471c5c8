//! The subscription of a message under the name that the agent knows: the URI of its push resource, or the agent's own
//! name.

use std::collections::HashMap;
use std::sync::Arc;

use doorbell_protocol::id::{AgentId, SubscriptionId};

use crate::capability::Resource;
use crate::doors::Doors;
use crate::hub::HubError;

/// The cached names of one stream's subscriptions. When it has as many names as an agent may have subscriptions, it is
/// emptied: an agent that keeps creating and removing subscriptions would fill it without end.
#[derive(Default)]
#[allow(clippy::box_collection, reason = "most streams need it late or never: 8 bytes instead of 48")]
pub(super) struct ChannelCache(Option<Box<HashMap<SubscriptionId, Arc<str>>>>);

impl ChannelCache {
    /// The push URI of a subscription; `None` if it was just removed.
    pub(super) async fn push_uri(
        &mut self,
        doors: &Doors,
        agent: AgentId,
        subscription: SubscriptionId,
    ) -> Result<Option<Arc<str>>, HubError> {
        if let Some(known) = self.known(subscription) {
            return Ok(Some(known));
        }
        let Some(restricted_to) = doors.hub.restriction(agent, subscription).await? else { return Ok(None) };
        // A browser does not come to the doors that name push URIs.
        let uri = doors.uri(Resource::Push { agent, subscription, restricted_to, of_browser: false });
        Ok(Some(self.keep(doors, subscription, uri.into())))
    }

    /// The agent's name for a subscription; `None` if it was just removed, or has no such name.
    pub(super) async fn channel(
        &mut self,
        doors: &Doors,
        agent: AgentId,
        subscription: SubscriptionId,
    ) -> Result<Option<Arc<str>>, HubError> {
        if let Some(known) = self.known(subscription) {
            return Ok(Some(known));
        }
        let channel = doors.hub.channel(agent, subscription).await?;
        Ok(channel.map(|channel| self.keep(doors, subscription, channel.into())))
    }

    fn known(&self, subscription: SubscriptionId) -> Option<Arc<str>> {
        self.0.as_ref()?.get(&subscription).cloned()
    }

    fn keep(&mut self, doors: &Doors, subscription: SubscriptionId, name: Arc<str>) -> Arc<str> {
        let names = self.0.get_or_insert_default();
        if names.len() >= doors.config().limits.subscriptions_per_agent_max as usize {
            **names = HashMap::new();
        }
        names.insert(subscription, name.clone());
        name
    }
}
