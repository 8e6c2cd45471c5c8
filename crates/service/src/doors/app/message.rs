//! A message resource: a client that has its URL reads, acknowledges or withdraws it (RFC 8030 s6.2, s8.3).

use doorbell_protocol::id::{AgentId, MessageId};
use doorbell_protocol::receipt::Outcome;
use http::{HeaderMap, StatusCode};

use super::answer::Rejection;
use crate::doors::{Doors, wire};
use crate::transport::Response;

impl Doors {
    /// GET: the message while it is outstanding (PS-8030-5-6). A damaged message counts as gone, and is dropped.
    pub(in crate::doors) async fn read_message(&self, agent: AgentId, id: MessageId) -> Response {
        match self.hub.message(agent, id).await {
            Ok(Some(message)) => {
                let mut response = Response::new(message.body.clone().into());
                *response.headers_mut() = wire::message_headers(&message, &self.clock);
                response
            }
            Ok(None) => wire::not_found(StatusCode::NOT_FOUND),
            Err(error) => Rejection::from(error).answer(),
        }
    }

    /// DELETE: 204 the first time, 404 after that (PS-8030-6.2-6).
    ///
    /// An agent reports with `Doorbell-Outcome` that it could not decrypt the message, or that the application did not
    /// take it. What cannot be read settles nothing: the sender would get a false receipt.
    pub(in crate::doors) async fn settle_message(
        &self,
        agent: AgentId,
        id: MessageId,
        headers: &HeaderMap,
    ) -> Response {
        let outcome = match Outcome::from_delete(headers) {
            Ok(outcome) => outcome,
            Err(error) => return Rejection::from(error).answer(),
        };
        match self.hub.settle(agent, id, outcome).await {
            Ok(true) => wire::empty(StatusCode::NO_CONTENT),
            Ok(false) => wire::not_found(StatusCode::NOT_FOUND),
            Err(error) => Rejection::from(error).answer(),
        }
    }
}
