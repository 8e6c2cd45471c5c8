//! Rates, shares, idle expiry, redirection: what protects a service from load (RFC 8030 s7, s8.4), in virtual time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_service::config::Settings;
use http::{Request, StatusCode};
use support::events::EventStream;
use support::{START, Subscription, TestService, header, text};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_flooded_subscription_is_429_and_the_others_of_its_agent_are_not_ps_8030_8_4_1_and_8_4_2_and_8_4_5() {
    let service = TestService::with(Settings { rate_per_subscription: Some(5), ..Settings::default() }).await;
    let flooded = service.subscribe().await;
    let other = service.join(&flooded).await;
    for _ in 0..5 {
        service.send(&flooded, &[], b"x").await;
    }
    let refused = service.post(&flooded, &[], b"x").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(text(&refused).contains("\"errno\":1009"), "{}", text(&refused));
    service.send(&other, &[], b"x").await;
    let wait = header(&refused, "retry-after").parse().unwrap();
    service.clock.advance(Duration::from_secs(wait));
    service.send(&flooded, &[], b"PS-8030-8.4-3: the time that was named is the right one").await;
}

#[tokio::test]
async fn a_key_that_sends_too_much_is_429_wherever_it_sends_ps_8030_8_4_5() {
    let service = TestService::with(Settings { rate_per_key: Some(4), ..Settings::default() }).await;
    let sign = |key: &SigningKey| {
        let token = key.sign(&service.origin(), START.plus(Duration::from_secs(3600)), None).unwrap();
        format!("vapid t={token}, k={}", key.public_key().to_base64url())
    };
    let (fast, slow) = (sign(&SigningKey::generate().unwrap()), sign(&SigningKey::generate().unwrap()));
    for _ in 0..4 {
        let to = service.subscribe().await;
        service.send(&to, &[("authorization", &fast)], b"x").await;
    }
    let to = service.subscribe().await;
    let refused = service.post(&to, &[("authorization", &fast)], b"x").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    service.send(&to, &[("authorization", &slow)], b"x").await;
}

#[tokio::test]
async fn one_subscription_cannot_use_up_the_share_of_its_agent_ps_8030_8_4_5() {
    let limits = Settings { messages_per_agent_max: Some(10), ..Settings::default() };
    let service = TestService::with(limits).await;
    let flooded = service.subscribe().await;
    let other = service.join(&flooded).await;
    let mut accepted = 0;
    while service.post(&flooded, &[], b"x").await.status() == StatusCode::CREATED {
        accepted += 1;
    }
    assert_eq!(accepted, 5, "half of the agent's share");
    service.send(&other, &[], b"x").await;
}

async fn is_gone(service: &TestService, to: &Subscription) -> bool {
    service.post(to, &[("ttl", "5")], b"x").await.status() == StatusCode::NOT_FOUND
}

/// Lets hours pass until it is gone.
async fn until_gone(service: &TestService, to: &Subscription) {
    support::within(async {
        while !is_gone(service, to).await {
            service.clock.advance(HOUR);
        }
    })
    .await;
}

#[tokio::test]
async fn what_no_client_uses_expires_and_leaves_nothing_behind_ps_8030_4_6_and_7_3_1_and_7_3_3() {
    let service = TestService::with(Settings { idle_expiry_days: Some(30), ..Settings::default() }).await;
    let mut unused = Vec::new();
    for _ in 0..50 {
        unused.push(service.subscribe().await);
    }
    let with_receipt = service.post(&unused[0], &[("prefer", "respond-async"), ("ttl", "2592000")], b"x").await;
    assert_eq!(with_receipt.status(), StatusCode::ACCEPTED);
    service.clock.advance(29 * 24 * HOUR);
    assert!(!is_gone(&service, &unused[0]).await);
    for to in &unused {
        until_gone(&service, to).await;
        assert_eq!(service.get(&to.subscription).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(service.delete(&to.set).await, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn an_agent_that_stays_connected_is_in_use_and_one_that_left_ends_with_404_ps_8030_7_3_2() {
    let service = TestService::with(Settings { idle_expiry_days: Some(5), ..Settings::default() }).await;
    let (connected, left) = (service.subscribe().await, service.subscribe().await);
    let mut agent = service.agent().await;
    let mut stream = service.monitored(&mut agent, &connected.set, &connected).await;
    until_gone(&service, &left).await;
    service.clock.advance(20 * 24 * HOUR);
    let soon = service.subscribe().await;
    until_gone(&service, &soon).await;
    let message = service.send(&connected, &[("ttl", "5")], b"still there").await;
    assert_eq!(support::path(&stream.push().await.uri), support::path(&message));
    assert_eq!(agent.fetch(&left.set).await.1, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn receipts_of_an_agent_that_expired_report_unsubscribed_ps_8030_6_3_3() {
    let service = TestService::with(Settings { idle_expiry_days: Some(5), ..Settings::default() }).await;
    let to = service.subscribe().await;
    let answer = service.post(&to, &[("prefer", "respond-async"), ("ttl", "2592000")], b"x").await;
    let link = header(&answer, "link");
    let receipts = link[1..link.find('>').unwrap()].to_owned();
    service.clock.advance(4 * 24 * HOUR);
    // The receipt subscription is in use, the agent is not.
    let mut events = EventStream::open(service.address, &receipts, &[("last-event-id", "0")]).await;
    assert_eq!(events.next_in_time(&service.clock, HOUR).await.unwrap().data["outcome"], "unsubscribed");
}

#[tokio::test]
async fn subscribing_can_be_sent_elsewhere_and_answers_can_name_another_port_ps_8030_7_1_1_and_3_4() {
    let elsewhere = "https://b.example.org/subscribe";
    let settings = Settings {
        subscribe_redirect: Some(elsewhere.into()),
        alt_svc: Some("h2=\":1001\"".into()),
        ..Settings::default()
    };
    let service = TestService::with(settings).await;
    let answer = service.ask(Request::post(service.origin() + "/subscribe").body(Bytes::new()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(header(&answer, "location"), elsewhere);
    assert_eq!(header(&answer, "alt-svc"), "h2=\":1001\"");
    assert_eq!(header(&service.get(&service.origin()).await, "alt-svc"), "h2=\":1001\"");
}

#[tokio::test]
async fn errors_link_to_their_explanation() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let refused = service.post(&to, &[("ttl", "soon")], b"x").await;
    let body: serde_json::Value = serde_json::from_slice(refused.body()).unwrap();
    let more = body["more_info"].as_str().unwrap();
    let explained = service.get(more).await;
    assert_eq!(explained.status(), StatusCode::OK);
    assert!(text(&explained).contains("<a id=\"114\"></a>"));
}
