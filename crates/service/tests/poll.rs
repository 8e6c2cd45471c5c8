//! Polls (`Prefer: wait=0`): what waits arrives once, and then the end, however much it is and without acknowledgements.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;

use doorbell_service::config::Settings;
use http::StatusCode;
use support::events::EventStream;
use support::{Subscription, TestService};

/// More than twice the window of unacknowledged messages.
const WAITING: usize = 250;

/// A service where this many messages wait, with their URIs. Every third has no body.
async fn with_waiting() -> (TestService, Subscription, BTreeSet<String>) {
    let service = TestService::with(Settings { rate_per_subscription: Some(0), ..Settings::default() }).await;
    let to = service.subscribe().await;
    let mut uris = BTreeSet::new();
    for n in 0..WAITING {
        let body = if n % 3 == 0 { &b""[..] } else { b"waits" };
        uris.insert(service.send(&to, &[], body).await);
    }
    assert_eq!(uris.len(), WAITING);
    (service, to, uris)
}

/// The messages of a poll, in order, until its end.
async fn events(service: &TestService, uri: &str) -> Vec<String> {
    let mut events = EventStream::open(service.address, uri, &[("prefer", "wait=0")]).await;
    let mut uris = Vec::new();
    while let Some(event) = events.next().await {
        uris.push(event.data["message"].as_str().unwrap().to_owned());
    }
    uris
}

#[tokio::test]
async fn a_poll_of_events_gets_each_waiting_message_once_and_ends_ps_8030_6_6() {
    let (service, to, uris) = with_waiting().await;
    for uri in [&to.subscription, &to.set] {
        let polled = events(&service, uri).await;
        assert_eq!(polled.len(), WAITING);
        assert_eq!(
            polled.iter().cloned().collect::<BTreeSet<_>>(),
            uris,
            "what is not acknowledged comes with each poll"
        );
    }
    for uri in uris.iter().skip(1) {
        assert_eq!(service.delete(uri).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(events(&service, &to.set).await, uris.into_iter().take(1).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_poll_of_pushes_gets_each_waiting_message_once_and_ends_ps_8030_6_6() {
    let (service, to, uris) = with_waiting().await;
    for _ in 0..2 {
        let (pushes, status) = service.agent().await.fetch(&to.set).await;
        assert_eq!((pushes.len(), status), (WAITING, StatusCode::OK));
        assert_eq!(pushes.into_iter().map(|push| push.uri).collect::<BTreeSet<_>>(), uris);
    }
}
