//! DELETE of a subscription or a whole set (RFC 8030 s7.3, s7.3.1).

use doorbell_protocol::id::AgentId;
use http::StatusCode;

use super::answer::Rejection;
use crate::doors::{Doors, wire};
use crate::hub::Scope;
use crate::transport::Response;

impl Doors {
    pub(in crate::doors) async fn remove(&self, agent: AgentId, what: Scope) -> Response {
        match self.hub.remove(agent, what).await {
            Ok(()) => wire::empty(StatusCode::NO_CONTENT),
            Err(error) => Rejection::Hub(error).answer(),
        }
    }
}
