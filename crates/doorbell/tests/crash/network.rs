//! How to reach the service, also while it is down, and what was made there before the first kill.

use std::sync::Arc;

use doorbell_protocol::headers::link::REL_PUSH_RECEIPT;
use http::{Method, StatusCode};
use tokio::sync::Mutex;

use crate::SENDERS;
use crate::receipts::Reader;
use crate::support::peer::{Subscribed, tls};
use crate::support::{Peer, Service};

/// The way to the service.
#[derive(Clone)]
pub(crate) struct Network {
    origin: String,
    authority: String,
    tls: Arc<rustls::ClientConfig>,
}

/// A subscription of a user agent, and the receipt subscription of its one sender.
pub(crate) struct Mailbox {
    pub(crate) subscription: String,
    pub(crate) push: String,
    pub(crate) receipts: String,
    pub(crate) reader: Mutex<Reader>,
}

impl Network {
    pub(crate) fn of(service: &Service) -> Self {
        Self { origin: service.origin(), authority: service.authority(), tls: tls(service) }
    }

    pub(crate) async fn connect(&self) -> Option<Peer> {
        Peer::connect_with(&self.origin, &self.authority, self.tls.clone()).await.ok()
    }

    pub(crate) fn path(&self, url: &str) -> String {
        url.strip_prefix(&self.origin).unwrap_or(url).to_owned()
    }

    /// One mailbox for each sender.
    pub(crate) async fn subscribe(&self) -> Arc<Vec<Mailbox>> {
        let peer = self.connect().await.expect("the service is up");
        let mut mailboxes = Vec::new();
        for _ in 0..SENDERS {
            mailboxes.push(self.mailbox(&peer).await);
        }
        Arc::new(mailboxes)
    }

    /// A first message, at once withdrawn, makes the receipt subscription.
    async fn mailbox(&self, peer: &Peer) -> Mailbox {
        let Subscribed { subscription, push } = peer.subscribe().await;
        let headers = [("ttl", "60"), ("prefer", "respond-async")];
        let reply = peer.request(Method::POST, &push, &headers, b"").await.expect("an answer");
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
        let receipts = reply.link(REL_PUSH_RECEIPT).expect("a link to the receipt subscription");
        let first = reply.location();
        let deleted = peer.request(Method::DELETE, &first, &[], b"").await.expect("an answer");
        assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{deleted:?}");
        let mut reader = Reader::default();
        let received = reader.catch_up(self, peer, &receipts).await;
        assert_eq!(received.len(), 1, "{received:?}");
        assert_eq!(received[0].message, self.path(&first));
        Mailbox { subscription, push, receipts, reader: Mutex::new(reader) }
    }
}
