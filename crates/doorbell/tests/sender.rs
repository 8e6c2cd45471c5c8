//! The sender library at the real push service: one receipt subscription for all messages, read in more than one way.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_sender::answer::{Accepted, Answer};
use doorbell_sender::client::{Client, ClientConfig};
use doorbell_sender::endpoint::Endpoint;
use doorbell_sender::network::AddressPolicy;
use doorbell_sender::receipts::book::ReceiptBook;
use doorbell_sender::receipts::follower::{Follower, ReceiptEvent};
use doorbell_sender::request::{Message, Options, ReceiptWish};
use doorbell_sender::subscription::Subscription;
use doorbell_sender::token::Signer;
use support::{Listener, Service};

/// An application server that requests a receipt for each message.
struct Sender {
    client: Client,
    signer: Signer,
    book: ReceiptBook,
}

impl Sender {
    fn trusting(service: &Service) -> Self {
        let addresses = AddressPolicy::public().allow_loopback();
        let extra_ca_pem = std::fs::read(service.ca()).unwrap();
        let client = Client::new(ClientConfig { addresses, extra_ca_pem, ..ClientConfig::default() }).unwrap();
        Self { client, signer: Signer::new(SigningKey::generate().unwrap(), None), book: ReceiptBook::new() }
    }

    /// The URLs of the message and of the receipt subscription.
    async fn send(&self, subscription: &Subscription, ttl_secs: u32) -> (String, Endpoint) {
        let options = Options::new(Ttl::from_secs(ttl_secs));
        let receipt = ReceiptWish::Book(&self.book);
        let message = Message { subscription, payload: b"ding", options: &options, signer: &self.signer, receipt };
        let reply = self.client.send(&message).await.unwrap();
        let Answer::Accepted(Accepted { message: Some(message), receipt: Some(receipts), .. }) = reply.answer else {
            panic!("{reply:?}");
        };
        assert_eq!(reply.status, 202);
        (message, Endpoint::parse(&receipts).unwrap())
    }
}

/// The message that the next receipt is about, and its outcome.
async fn receipt(follower: &mut Follower) -> (String, Outcome) {
    match follower.next().await.unwrap() {
        ReceiptEvent::Receipt(receipt) => (receipt.message, receipt.outcome),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_messages_share_a_receipt_subscription_until_it_is_gone_as_8030_5_1_1_as_8030_5_1_2() {
    let service = Service::start();
    let mut listener = Listener::of(&service);
    let subscription = Subscription::from_json(&listener.subscription().to_string()).unwrap();
    let sender = Sender::trusting(&service);
    let (first, receipts) = sender.send(&subscription, 3600).await;
    let mut waiting = Follower::new(&sender.client, receipts.clone());
    assert_eq!(receipt(&mut waiting).await, (first, Outcome::Delivered));
    listener.goes_away();
    let (second, same) = sender.send(&subscription, 1).await;
    assert_eq!(same, receipts);
    assert_eq!(receipt(&mut waiting).await, (second.clone(), Outcome::Expired));

    let from_where_it_was = waiting.last_event_id().unwrap().to_owned();
    drop(waiting);
    let mut looking = Follower::not_waiting(&sender.client, receipts.clone()).after(&from_where_it_was);
    assert_eq!(receipt(&mut looking).await, (second, Outcome::Expired), "it was not acknowledged");
    assert_eq!(looking.next().await, Ok(ReceiptEvent::Nothing));
    assert_eq!(looking.next().await, Ok(ReceiptEvent::Nothing));

    assert_eq!(sender.client.delete(&receipts).await.unwrap(), 204);
    assert_eq!(looking.next().await, Ok(ReceiptEvent::Gone));
    let (_, new) = sender.send(&subscription, 3600).await;
    assert_ne!(new, receipts, "400 for the one that is gone, and then a new one");
    let (_, same) = sender.send(&subscription, 3600).await;
    assert_eq!(same, new);
}
