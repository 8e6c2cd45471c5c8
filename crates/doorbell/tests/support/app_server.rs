//! An application server of one site: npm's web-push with one key, which requests a receipt for each message.

use doorbell_protocol::headers::link::REL_PUSH_RECEIPT;
use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_sender::answer::{Accepted, Answer};
use doorbell_sender::client::{Client, ClientConfig};
use doorbell_sender::clock;
use doorbell_sender::endpoint::Endpoint;
use doorbell_sender::network::AddressPolicy;
use doorbell_sender::request::{Message, Options, ReceiptWish};
use doorbell_sender::subscription::Subscription;
use doorbell_sender::token::Signer;
use http::Method;
use serde_json::{Value, json};

use super::clock::Stopwatch;
use super::events::{Event, Events};
use super::peer::Peer;
use super::senders::{Runtime, Sender};
use super::service::Service;

const TTL_SECS: u32 = 600;

/// An application server.
pub struct AppServer {
    key: SigningKey,
}

/// A message that the push service has taken.
#[derive(Debug)]
pub struct Sent {
    location: String,
    receipts: String,
}

impl From<&Value> for Sent {
    fn from(answer: &Value) -> Self {
        assert_eq!(answer["status"], 202, "{answer}");
        let links = answer["link"].as_str().expect("a link to the receipts");
        let link = links.split(',').find(|link| link.contains(REL_PUSH_RECEIPT)).expect("a link to the receipts");
        let receipts = link.split_once('<').and_then(|(_, rest)| rest.split_once('>')).expect("a link's target").0;
        Self { location: path(answer["location"].as_str().expect("a location")), receipts: receipts.to_owned() }
    }
}

impl AppServer {
    pub fn is_here() -> bool {
        Runtime::Node.is_here()
    }

    pub fn new() -> Self {
        Self { key: SigningKey::generate().expect("a key") }
    }

    /// What pages call applicationServerKey.
    pub fn key(&self) -> String {
        self.key.public_key().to_base64url()
    }

    /// What signs its messages.
    pub fn signer(&self) -> Signer {
        let key = self.key.to_base64url().expect("a private key");
        Signer::new(SigningKey::from_base64url(&key).expect("the same key"), None)
    }

    /// Sends `text`, which the service takes.
    pub fn sends(&self, text: &str, subscription: &Value, service: &Service) -> Sent {
        Sent::from(&self.tries(Sender::WEB_PUSH, text, subscription, service))
    }

    /// Sends `text` from this process: the moment at which the service has accepted it.
    pub async fn posts(&self, text: &str, subscription: &Value, service: &Service) -> (Sent, Stopwatch) {
        let subscription = Subscription::from_json(&subscription.to_string()).expect("a subscription");
        let (client, signer, options) = (client(service), self.signer(), Options::new(Ttl::from_secs(TTL_SECS)));
        let message = Message::new(&subscription, text.as_bytes(), &options, &signer);
        let reply = client.send(&Message { receipt: ReceiptWish::New, ..message }).await.expect("an answer");
        let watch = Stopwatch::start();
        let Answer::Accepted(Accepted { message: Some(message), receipt: Some(receipts), .. }) = reply.answer else {
            panic!("{reply:?}");
        };
        (Sent { location: path(&message), receipts: path(&receipts) }, watch)
    }

    /// Posts `body` as it is, signed and without a coding: the status of the answer.
    pub async fn posts_unencrypted(&self, body: &[u8], subscription: &Value, service: &Service) -> u16 {
        let subscription = Subscription::from_json(&subscription.to_string()).expect("a subscription");
        let endpoint = Endpoint::parse(&format!("{}{}", service.origin(), path(subscription.endpoint.as_str())));
        let endpoint = endpoint.expect("an endpoint");
        let authorization = self.signer().authorization(&endpoint, clock::now()).expect("a token");
        let headers = [("ttl", "60"), ("authorization", authorization.to_str().expect("text"))];
        let peer = Peer::connect(service).await.expect("a connection");
        let reply = peer.request(Method::POST, &path(endpoint.as_str()), &headers, body).await.expect("an answer");
        reply.status.as_u16()
    }

    /// The same in `aesgcm`, as senders did before RFC 8188 and RFC 8291.
    pub fn sends_in_the_older_coding(&self, text: &str, subscription: &Value, service: &Service) -> Sent {
        Sent::from(&self.tries(Sender::WEB_PUSH_LEGACY, text, subscription, service))
    }

    /// Sends all of them, one after the other.
    pub fn sends_all(&self, texts: &[String], subscription: &Value, service: &Service) -> Vec<Sent> {
        let job = json!({ "texts": texts, "headers": receipts() });
        let answers = Sender::WEB_PUSH.does(&self.key, &job, subscription, &service.ca());
        assert_eq!(answers.len(), texts.len());
        answers.iter().map(Sent::from).collect()
    }

    /// Sends `text`, which replaces the one that waits on this topic.
    pub fn sends_on_topic(&self, topic: &str, text: &str, subscription: &Value, service: &Service) -> Sent {
        self.does(json!({ "text": text, "topic": topic }), subscription, service)
    }

    /// Sends `text`, which is good for a second.
    pub fn sends_for_a_second(&self, text: &str, subscription: &Value, service: &Service) -> Sent {
        self.does(json!({ "text": text, "ttl": 1 }), subscription, service)
    }

    fn does(&self, mut job: Value, subscription: &Value, service: &Service) -> Sent {
        job["headers"] = receipts();
        Sent::from(&Sender::WEB_PUSH.does(&self.key, &job, subscription, &service.ca())[0])
    }

    /// A subscription as a backend keeps it that knows whose Chromiums its users have: the endpoint names our service
    /// instead of Google's host, and the rest of it stays.
    pub fn places(&self, subscription: &Value, service: &Service) -> Value {
        let mut placed = subscription.clone();
        let endpoint = path(subscription["endpoint"].as_str().expect("an endpoint"));
        placed["endpoint"] = format!("{}{endpoint}", service.origin()).into();
        placed
    }

    /// Sends `text`, which the service no longer takes: the status of its answer.
    pub fn sends_in_vain(&self, text: &str, subscription: &Value, service: &Service) -> u64 {
        self.tries(Sender::WEB_PUSH, text, subscription, service)["status"].as_u64().expect("a status")
    }

    fn tries(&self, sender: Sender, text: &str, subscription: &Value, service: &Service) -> Value {
        sender.send_with(&self.key, &receipts(), text, subscription, &service.ca())
    }

    /// Waits for the receipt of a message that the user agent has acknowledged.
    pub async fn learns_of_delivery(&self, sent: &Sent, service: &Service) {
        let event = self.learns_of_end(sent, service).await;
        assert_eq!(event.data["status"], 204, "{event:?}");
    }

    /// Waits for the receipt of a message that will not be delivered.
    pub async fn learns_of_expiry(&self, sent: &Sent, service: &Service) {
        let event = self.learns_of_end(sent, service).await;
        assert_eq!(event.data["status"], 410, "{event:?}");
    }

    async fn learns_of_end(&self, sent: &Sent, service: &Service) -> Event {
        let peer = Peer::connect(service).await.expect("a connection for receipts");
        let mut events = Events::open(&peer, &sent.receipts, None, true).await.expect("a stream of receipts");
        let receipt = async {
            loop {
                let event = events.next().await.expect("a stream in order").expect("a stream that stays open");
                if path(event.data["message"].as_str().expect("a message")) == sent.location {
                    return event;
                }
            }
        };
        let deadline = super::clock::Deadline::soon();
        let event = tokio::time::timeout(deadline.left(), receipt).await;
        event.unwrap_or_else(|_| panic!("there is no receipt for {sent:?}"))
    }
}

/// Our own library's client of this service.
pub(super) fn client(service: &Service) -> Client {
    let extra_ca_pem = std::fs::read(service.ca()).expect("the service's CA");
    let addresses = AddressPolicy::public().allow_loopback();
    Client::new(ClientConfig { addresses, extra_ca_pem, ..ClientConfig::default() }).expect("a client")
}

/// The header field that asks for a receipt.
fn receipts() -> Value {
    json!({ "Prefer": "respond-async" })
}

/// The path of a URL, or the path itself.
fn path(url: &str) -> String {
    url.parse::<http::Uri>().expect("a URL").path().to_owned()
}
