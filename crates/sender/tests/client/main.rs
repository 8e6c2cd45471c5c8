//! The client against push services that misbehave on purpose. They use raw HTTP/1.1, or HTTP/2 over TLS.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod receipts;
mod service;

use std::time::Duration;

use doorbell_protocol::ece::aes128gcm;
use doorbell_protocol::ece::keys::AgentKeys;
use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_sender::answer::Answer;
use doorbell_sender::client::{Client, ClientConfig, Reply};
use doorbell_sender::endpoint::{Endpoint, EndpointError};
use doorbell_sender::error::{ClientError, Distrust, SendError};
use doorbell_sender::network::AddressPolicy;
use doorbell_sender::request::{Message, Options, ReceiptWish};
use doorbell_sender::retry::RetryPolicy;
use doorbell_sender::subscription::Subscription;
use doorbell_sender::token::Signer;
use service::{Received, Service};

/// An application server with one subscription.
struct Sender {
    agent: AgentKeys,
    subscription: Subscription,
    options: Options,
    signer: Signer,
}

impl Sender {
    fn to(endpoint: &str) -> Self {
        let agent = AgentKeys::generate().unwrap();
        let subscription = Subscription {
            endpoint: Endpoint::parse(endpoint).unwrap(),
            agent_key: *agent.public_key(),
            auth: agent.auth_secret().clone(),
            expires_at: None,
            application_server_key: None,
        };
        let signer = Signer::new(SigningKey::generate().unwrap(), None);
        Self { agent, subscription, options: Options::new(Ttl::from_secs(60)), signer }
    }

    fn message(&self) -> Message<'_> {
        Message {
            subscription: &self.subscription,
            payload: b"ding",
            options: &self.options,
            signer: &self.signer,
            receipt: ReceiptWish::None,
        }
    }

    async fn send(&self, client: &Client) -> Result<Reply, SendError> {
        client.send(&self.message()).await
    }
}

fn local() -> ClientConfig {
    ClientConfig { addresses: AddressPolicy::public().allow_loopback(), ..ClientConfig::default() }
}

fn local_client() -> Client {
    Client::new(local()).unwrap()
}

/// Retries that do not wait, so that tests do not either.
const EAGER: RetryPolicy = RetryPolicy { attempts_max: 4, delay_first: Duration::ZERO, ..RetryPolicy::BRIEF };

#[tokio::test]
async fn a_message_arrives_whole_and_its_acceptance_is_understood() {
    let service = Service::answering(&["201 Created\r\nlocation: /m/1\r\nttl: 30"]).await;
    let sender = Sender::to(&service.url("/p/x"));
    let reply = sender.send(&local_client()).await.unwrap();
    let Answer::Accepted(accepted) = reply.answer else { panic!("{reply:?}") };
    assert_eq!(accepted.message, Some(service.url("/m/1")));
    assert_eq!(accepted.ttl, Some(Ttl::from_secs(30)));
    let Received { head, body } = service.received().await.remove(0);
    assert!(head.starts_with("POST /p/x HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nttl: 60\r\n") && head.contains("\r\nauthorization: vapid t="), "{head}");
    assert_eq!(aes128gcm::decrypt(&sender.agent, &body).unwrap(), b"ding");
}

#[tokio::test]
async fn a_redirection_is_not_followed_as_ssrf_1() {
    let elsewhere = Service::answering(&["201 Created"]).await;
    let redirection = format!("307 Temporary Redirect\r\nlocation: {}", elsewhere.url("/inside"));
    let service = Service::answering(&[redirection.as_str()]).await;
    let reply = Sender::to(&service.url("/p/x")).send(&local_client()).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.answer), (307, Answer::Refused));
    assert!(elsewhere.received().await.is_empty());
}

#[tokio::test]
async fn an_address_that_is_not_permitted_is_never_connected_to_as_ssrf_1() {
    let service = Service::answering(&["201 Created"]).await;
    let public = Client::new(ClientConfig::default()).unwrap();
    let by_address = Sender::to(&service.url("/p/x")).send(&public).await;
    assert_eq!(by_address, Err(SendError::Endpoint(EndpointError::Address)));
    let by_name = service.url("/p/x").replace("127.0.0.1", "localhost");
    let resolved = Sender::to(&by_name).send(&public).await;
    assert_eq!(resolved, Err(SendError::Endpoint(EndpointError::Address)));
    assert!(service.received().await.is_empty());
    assert!(Sender::to(&by_name).send(&local_client()).await.is_ok(), "the name itself works");
}

#[tokio::test]
async fn a_busy_service_is_asked_again_after_its_delay_as_8030_7_3_1() {
    let busy = "429 Too Many Requests\r\nretry-after: 0";
    let service = Service::answering(&[busy, "503 Service Unavailable", "201 Created"]).await;
    let sender = Sender::to(&service.url("/p/x"));
    let mut waits = Vec::new();
    let on_wait = |wait: doorbell_sender::client::Wait<'_>| {
        waits.push((wait.attempts, wait.because.as_ref().unwrap().status.as_u16()));
    };
    let reply = local_client().send_with_retries(&sender.message(), EAGER, on_wait).await.unwrap();
    assert_eq!(reply.status, 201);
    assert_eq!(waits, [(1, 429), (2, 503)]);
    assert_eq!(service.received().await.len(), 3);
}

#[tokio::test]
async fn a_service_that_stays_busy_is_left_alone_in_the_end() {
    let service = Service::answering(&["500 Internal Server Error"; 9]).await;
    let sender = Sender::to(&service.url("/p/x"));
    let reply = local_client().send_with_retries(&sender.message(), EAGER, |_| {}).await.unwrap();
    assert_eq!(reply.answer, Answer::RetryLater { after: None });
    assert_eq!(service.received().await.len(), 4);
}

#[tokio::test]
async fn a_final_answer_is_not_asked_for_twice_as_8030_7_3_1() {
    for (answer, meaning) in [
        ("404 Not Found", Answer::Gone),
        ("404 Not Found\r\ncontent-length: 24\r\n\r\n{\"code\":404,\"errno\":102}", Answer::Gone),
        ("410 Gone", Answer::Gone),
        ("413 Content Too Large", Answer::TooLarge),
        ("400 Bad Request", Answer::Refused),
        ("401 Unauthorized", Answer::Refused),
        ("403 Forbidden", Answer::Refused),
    ] {
        let service = Service::answering(&[answer; 3]).await;
        let sender = Sender::to(&service.url("/p/x"));
        let reply = local_client().send_with_retries(&sender.message(), EAGER, |_| {}).await.unwrap();
        assert_eq!(reply.answer, meaning, "{answer}");
        assert_eq!(service.received().await.len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_404_in_the_words_of_a_proxy_is_tried_again_as_8030_7_3_1() {
    let service = Service::answering(&["404 Not Found\r\ncontent-length: 9\r\n\r\nnot found", "201 Created"]).await;
    let sender = Sender::to(&service.url("/p/x"));
    let reply = local_client().send_with_retries(&sender.message(), EAGER, |_| {}).await.unwrap();
    assert_eq!((reply.status.as_u16(), service.received().await.len()), (201, 2));
}

#[tokio::test]
async fn the_reason_of_a_refusal_is_kept() {
    let body = r#"{"errno":109,"message":"bad token"}"#;
    let answer = format!("403 Forbidden\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let service = Service::answering(&[answer.as_str()]).await;
    let reply = Sender::to(&service.url("/p/x")).send(&local_client()).await.unwrap();
    assert_eq!((reply.explanation.errno, reply.explanation.message.as_str()), (Some(109), "bad token"));
}

#[tokio::test]
async fn no_connection_is_tried_again_and_reported_without_the_secret_path() {
    let mut waits = 0;
    let sender = Sender::to(&service::abandoned_url("/p/secret").await);
    let result = local_client().send_with_retries(&sender.message(), EAGER, |_| waits += 1).await;
    let Err(SendError::Connect(reason)) = result else { panic!("{result:?}") };
    assert!(reason.contains("refused") && !reason.contains("secret"), "{reason}");
    assert_eq!(waits, 3);
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_is_not_tried_again() {
    let service = Service::answering(&["", "201 Created"]).await;
    let sender = Sender::to(&service.url("/p/secret"));
    let result = local_client().send_with_retries(&sender.message(), EAGER, |_| {}).await;
    let Err(SendError::Broken(reason)) = result else { panic!("{result:?}") };
    assert!(!reason.contains("secret"), "{reason}");
    assert_eq!(service.received().await.len(), 1);
}

#[tokio::test]
async fn a_service_with_a_private_ca_is_reached_over_http_2_and_only_with_that_ca() {
    let (ca_pem, url) = service::http2_over_tls().await;
    let sender = Sender::to(&url);
    let trusting = Client::new(ClientConfig { extra_ca_pem: ca_pem.into_bytes(), ..local() }).unwrap();
    let reply = sender.send(&trusting).await.unwrap();
    assert_eq!(reply.status, 201);
    let mut waits = 0;
    let distrusted = local_client().send_with_retries(&sender.message(), EAGER, |_| waits += 1).await;
    assert!(matches!(distrusted, Err(SendError::Untrusted(Distrust::Issuer))), "{distrusted:?}");
    assert_eq!(waits, 0, "no wait makes a certificate better");
}

#[test]
fn a_ca_file_that_is_none_is_an_error() {
    let with = |pem: &str| Client::new(ClientConfig { extra_ca_pem: pem.as_bytes().to_vec(), ..local() });
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["no certificate at all", nonsense] {
        assert!(matches!(with(pem), Err(ClientError::Ca(_))), "{pem}");
    }
}
