//! Subscribing, and which services the agent trusts.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::collections::HashSet;
use std::path::Path;

use doorbell_agent::{Agent, Error, Limits, Profile, PublicKey, Trust};
use doorbell_protocol::base64url;
use doorbell_protocol::headers::link::{REL_PUSH_SET, target};
use http::{Method, Response};
use support::quick;
use support::service::{Service, status};

/// The application server's key of RFC 8292 s2.4.
const VAPID: &str = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";

fn redirect(status: u16, location: &str) -> Response<String> {
    Response::builder().status(status).header("location", location).body(String::new()).unwrap()
}

#[tokio::test]
async fn every_subscription_has_its_own_key_pair_and_16_byte_secret_ua_8291_3_1_1_ua_8291_3_2_1_wa_6() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let (mut keys, mut secrets) = (HashSet::new(), HashSet::new());
    for _ in 0..4 {
        let made = agent.subscribe(None).await.unwrap().keys;
        assert_eq!(base64url::decode(&made.auth).unwrap().len(), 16);
        assert!(PublicKey::from_base64url(&made.p256dh).is_ok());
        keys.insert(made.p256dh);
        secrets.insert(made.auth);
    }
    assert_eq!((keys.len(), secrets.len()), (4, 4));
}

#[tokio::test]
async fn the_first_subscription_names_no_set_and_later_ones_name_the_one_that_was_given_ua_8030_4_1_1() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    agent.subscribe(None).await.unwrap();
    agent.subscribe(None).await.unwrap();
    let seen = service.seen(Method::POST, "/subscribe");
    let sets: Vec<_> = seen.iter().map(|s| target(&s.headers, REL_PUSH_SET)).collect();
    assert_eq!(sets, [None, Some(format!("{}/a/1", service.url()))]);
}

#[tokio::test]
async fn a_set_that_the_service_has_forgotten_does_not_prevent_a_subscription_ps_8030_4_1_3() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    agent.subscribe(None).await.unwrap();
    service.answer_once(Method::POST, "/subscribe", status(400));
    agent.subscribe(None).await.unwrap();
    let seen = service.seen(Method::POST, "/subscribe");
    assert_eq!(seen.len(), 3);
    assert!(target(&seen[2].headers, REL_PUSH_SET).is_none());
}

#[tokio::test]
async fn a_restriction_travels_as_webpush_options_ps_8292_4_1_1() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    agent.subscribe(Some(PublicKey::from_base64url(VAPID).unwrap())).await.unwrap();
    let seen = service.seen(Method::POST, "/subscribe").remove(0);
    assert_eq!(seen.headers["content-type"], "application/webpush-options+json");
    let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body, serde_json::json!({ "vapid": VAPID }));
    let kept = agent.subscriptions().remove(0);
    assert_eq!(kept.vapid().map(PublicKey::to_base64url).as_deref(), Some(VAPID));
}

#[tokio::test]
async fn a_307_is_followed_with_the_body_even_to_another_host_ua_8030_7_1_1() {
    let (near, far) = (Service::start().await, Service::start().await);
    let trust = near.trust().with_file(&far.ca()).unwrap();
    let (agent, _) = Agent::new(Profile::in_memory(), &near.url(), trust, quick()).unwrap();
    near.answer_once(Method::POST, "/subscribe", redirect(307, "/subscribe/over-there"));
    near.answer_once(Method::POST, "/subscribe/over", redirect(307, &format!("{}/subscribe", far.url())));
    let made = agent.subscribe(Some(PublicKey::from_base64url(VAPID).unwrap())).await.unwrap();
    assert!(made.endpoint.starts_with(&far.url()));
    assert!(String::from_utf8_lossy(&far.seen(Method::POST, "/subscribe")[0].body).contains(VAPID));
}

#[tokio::test]
async fn redirects_are_bounded_and_only_307_to_https_is_one() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    for _ in 0..=Limits::default().redirects_max {
        service.answer_once(Method::POST, "/subscribe", redirect(307, "/subscribe"));
    }
    assert!(matches!(agent.subscribe(None).await, Err(Error::Unusable(_))));
    service.answer_once(Method::POST, "/subscribe", redirect(307, "http://127.0.0.1:1/subscribe"));
    assert!(matches!(agent.subscribe(None).await, Err(Error::Unusable(_))));
    for other in [301, 302, 303, 308] {
        service.answer_once(Method::POST, "/subscribe", redirect(other, "/subscribe"));
        assert!(matches!(agent.subscribe(None).await, Err(Error::Refused { .. })), "{other}");
    }
}

#[tokio::test]
async fn an_error_of_the_service_comes_with_its_explanation() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let body = r#"{"code":429,"message":"Too many subscriptions.","hint":"Wait."}"#.to_owned();
    let answer = Response::builder().status(429).header("retry-after", "7").body(body).unwrap();
    service.answer_once(Method::POST, "/subscribe", answer);
    let Err(why) = agent.subscribe(None).await else { panic!("subscribed") };
    assert_eq!(why.to_string(), "the service answered 429 Too Many Requests: Too many subscriptions. Wait.");
    assert_eq!(agent.subscriptions().len(), 0);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_or_for_another_name_is_not_trusted_ua_8030_3_1() {
    let (service, other) = (Service::start().await, Service::start().await);
    let (agent, _) = Agent::new(Profile::in_memory(), &service.url(), other.trust(), quick()).unwrap();
    assert!(matches!(agent.subscribe(None).await, Err(Error::Untrusted { .. })));
    let misnamed = Service::start_as("push.example", &[b"h2"]).await;
    let agent = misnamed.agent(Profile::in_memory(), quick());
    assert!(matches!(agent.subscribe(None).await, Err(Error::Untrusted { .. })));
    assert!(service.seen(Method::POST, "/").is_empty() && misnamed.seen(Method::POST, "/").is_empty());
}

#[tokio::test]
async fn a_server_without_http_2_is_distinguished_from_an_untrusted_one() {
    let service = Service::start_as("127.0.0.1", &[]).await;
    let agent = service.agent(Profile::in_memory(), quick());
    assert!(matches!(agent.subscribe(None).await, Err(Error::WithoutHttp2 { .. })));
}

#[tokio::test]
async fn an_unreachable_service_is_reported_with_its_address() {
    let service = Service::start().await;
    let (agent, _) = Agent::new(Profile::in_memory(), "https://127.0.0.1:1", service.trust(), quick()).unwrap();
    let Err(why) = agent.subscribe(None).await else { panic!("subscribed") };
    assert!(why.to_string().starts_with("cannot reach 127.0.0.1:1: "), "{why}");
}

#[tokio::test]
async fn an_answer_that_never_comes_is_not_waited_for_forever() {
    let service = Service::start().await;
    let limits = Limits { answer_timeout: std::time::Duration::from_millis(20), ..quick() };
    let agent = service.agent(Profile::in_memory(), limits);
    service.ignore(Some(Method::POST));
    assert!(matches!(agent.subscribe(None).await, Err(Error::Timeout(..))));
}

#[tokio::test]
async fn unsubscribing_deletes_here_and_at_the_service_and_returns_whether_there_was_anything_wa_10_wa_11() {
    let service = Service::start().await;
    let agent = service.agent(Profile::in_memory(), quick());
    let made = agent.subscribe(None).await.unwrap();
    assert!(agent.unsubscribe(&made.endpoint).await.unwrap());
    assert!(!agent.unsubscribe(&made.endpoint).await.unwrap());
    assert_eq!(service.seen(Method::DELETE, "/s/1").len(), 1);
    assert_eq!(agent.subscriptions().len(), 0);
}

#[test]
fn files_that_hold_no_certificate_are_refused_with_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for file in [empty.as_path(), Path::new("/nowhere/ca.pem")] {
        let Err(why) = Trust::none().with_file(file) else { panic!("trusted {file:?}") };
        assert!(why.to_string().contains(file.to_str().unwrap()), "{why}");
    }
    let alone = Agent::new(Profile::in_memory(), "https://push.example", Trust::none(), quick());
    assert!(matches!(alone, Err(Error::NoTrust)));
}
