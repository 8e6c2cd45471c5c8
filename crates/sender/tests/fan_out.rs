//! The example `fan_out`, in a small form: it is documentation that people copy, so it must do what it claims.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[allow(dead_code, unreachable_pub, reason = "the test needs its function and not its main")]
#[path = "../examples/fan_out.rs"]
mod example;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use doorbell_protocol::ece::keys::AgentKeys;
use doorbell_sender::{AddressPolicy, Client, ClientConfig, Endpoint, Signer, SigningKey, Subscription};
use tokio::net::TcpListener;

/// Counts what the push service sees.
#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    in_flight: AtomicUsize,
    in_flight_max: AtomicUsize,
}

/// A push service where every tenth subscription is gone, and every tenth is busy once.
async fn push(Path(number): Path<usize>, State(seen): State<Arc<Seen>>, headers: HeaderMap) -> impl IntoResponse {
    let before = seen.requests.fetch_add(1, Ordering::SeqCst);
    let in_flight = seen.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
    seen.in_flight_max.fetch_max(in_flight, Ordering::SeqCst);
    tokio::task::yield_now().await;
    seen.in_flight.fetch_sub(1, Ordering::SeqCst);
    assert_eq!(headers["ttl"], "3600");
    match number % 10 {
        3 => StatusCode::NOT_FOUND.into_response(),
        4 => StatusCode::GONE.into_response(),
        5 if before < SUBSCRIPTIONS / 2 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response(),
        _ => StatusCode::CREATED.into_response(),
    }
}

const SUBSCRIPTIONS: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn a_fan_out_reaches_all_and_prunes_what_is_gone_as_8030_7_3_1() {
    let seen = Arc::new(Seen::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().route("/p/{number}", post(push)).with_state(Arc::clone(&seen));
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let keys = AgentKeys::generate().unwrap();
    let subscriptions = (0..SUBSCRIPTIONS).map(|number| Subscription {
        endpoint: Endpoint::parse(&format!("{origin}/p/{number}")).unwrap(),
        agent_key: *keys.public_key(),
        auth: keys.auth_secret().clone(),
        expires_at: None,
        application_server_key: None,
    });
    let addresses = AddressPolicy::public().allow_loopback();
    let client = Client::new(ClientConfig { addresses, ..ClientConfig::default() }).unwrap();
    let signer = Arc::new(Signer::new(SigningKey::generate().unwrap(), None));

    let summary = example::fan_out(&client, &signer, "It is raining", subscriptions).await;

    assert_eq!((summary.accepted, summary.failed), (SUBSCRIPTIONS * 8 / 10, 0));
    assert_eq!(summary.alive.len(), SUBSCRIPTIONS * 8 / 10);
    assert!(summary.alive.iter().all(|alive| !alive.endpoint.as_str().ends_with(['3', '4'])));
    assert!(seen.requests.load(Ordering::SeqCst) > SUBSCRIPTIONS, "the busy ones were asked again");
    assert!(seen.in_flight_max.load(Ordering::SeqCst) <= 100);
}
