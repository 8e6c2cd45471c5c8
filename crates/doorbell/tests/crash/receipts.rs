//! An application server that reads its receipts as events, and comes back with the id of the last one it has.

use doorbell_protocol::receipt::Outcome;

use crate::network::Network;
use crate::support::{Event, Events, Peer};

/// What an application server remembers of its receipt subscription.
#[derive(Default)]
pub(crate) struct Reader {
    last_event_id: Option<String>,
}

/// The receipt of a message.
#[derive(Debug)]
pub(crate) struct Receipt {
    /// The path of the message's URL.
    pub(crate) message: String,
    pub(crate) outcome: Outcome,
}

impl Reader {
    /// Reads what comes until the service goes away.
    pub(crate) async fn follow(&mut self, network: &Network, peer: &Peer, url: &str) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        let Ok(mut events) = Events::open(peer, url, self.last_event_id.as_deref(), true).await else {
            return receipts;
        };
        while let Ok(Some(event)) = events.next().await {
            receipts.push(self.take(network, event));
        }
        receipts
    }

    /// Reads what there is.
    pub(crate) async fn catch_up(&mut self, network: &Network, peer: &Peer, url: &str) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        let events = Events::open(peer, url, self.last_event_id.as_deref(), false).await;
        let mut events = events.expect("the service is up");
        while let Some(event) = events.next().await.expect("the events end in order") {
            receipts.push(self.take(network, event));
        }
        receipts
    }

    fn take(&mut self, network: &Network, event: Event) -> Receipt {
        let place = |id: &str| id.parse::<i64>().expect("ids of receipts are numbers");
        let last = self.last_event_id.as_deref().map(place);
        assert!(last < Some(place(&event.id)), "the receipt {event:?} came after the one with the id {last:?}");
        let outcome: Outcome = event.data["outcome"].as_str().and_then(|word| word.parse().ok()).expect("an outcome");
        assert_eq!(event.data["status"], outcome.status().as_u16());
        let message = network.path(event.data["message"].as_str().expect("a message"));
        self.last_event_id = Some(event.id);
        Receipt { message, outcome }
    }
}
