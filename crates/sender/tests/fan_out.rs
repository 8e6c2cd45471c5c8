//! The example `fan_out`, in a small form: it is documentation that people copy, so it must do what it claims.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[allow(dead_code, unreachable_pub, reason = "the test needs its function and not its main")]
#[path = "../examples/fan_out.rs"]
mod example;

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path as FilePath;
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
        3 => (StatusCode::NOT_FOUND, r#"{"code":404,"errno":102}"#).into_response(),
        4 => StatusCode::GONE.into_response(),
        5 if before < SUBSCRIPTIONS / 2 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response(),
        _ => StatusCode::CREATED.into_response(),
    }
}

const SUBSCRIPTIONS: usize = 300;

/// A push service, and what a sender needs to send to it.
struct Bed {
    seen: Arc<Seen>,
    origin: String,
    client: Client,
    signer: Arc<Signer>,
}

impl Bed {
    async fn start() -> Self {
        let seen = Arc::new(Seen::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/p/{number}", post(push)).with_state(Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let addresses = AddressPolicy::public().allow_loopback();
        let client = Client::new(ClientConfig { addresses, ..ClientConfig::default() }).unwrap();
        let signer = Arc::new(Signer::new(SigningKey::generate().unwrap(), None));
        Self { seen, origin, client, signer }
    }

    fn subscriptions(&self, count: usize) -> impl Iterator<Item = Subscription> {
        let keys = AgentKeys::generate().unwrap();
        (0..count).map(move |number| Subscription {
            endpoint: Endpoint::parse(&format!("{}/p/{number}", self.origin)).unwrap(),
            agent_key: *keys.public_key(),
            auth: keys.auth_secret().clone(),
            expires_at: None,
            application_server_key: None,
        })
    }

    /// The lines of a file with so many subscriptions.
    fn lines(&self, count: usize) -> Vec<String> {
        self.subscriptions(count).map(|subscription| subscription.to_json()).collect()
    }

    async fn fan_out_file(&self, file: &FilePath) -> Result<example::Summary, Box<dyn Error>> {
        example::fan_out_file(&self.client, &self.signer, "It is raining", file).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fan_out_reaches_all_and_prunes_what_is_gone_as_8030_7_3_1() {
    let bed = Bed::start().await;
    let subscriptions = bed.subscriptions(SUBSCRIPTIONS);

    let summary = example::fan_out(&bed.client, &bed.signer, "It is raining", subscriptions).await;

    assert_eq!((summary.accepted, summary.failed), (SUBSCRIPTIONS * 8 / 10, 0));
    assert_eq!(summary.alive.len(), SUBSCRIPTIONS * 8 / 10);
    assert!(summary.alive.iter().all(|alive| !alive.endpoint.as_str().ends_with(['3', '4'])));
    assert!(bed.seen.requests.load(Ordering::SeqCst) > SUBSCRIPTIONS, "the busy ones were asked again");
    assert!(bed.seen.in_flight_max.load(Ordering::SeqCst) <= 100);
}

#[tokio::test]
async fn the_file_keeps_its_foreign_lines_and_its_mode() {
    let bed = Bed::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("subscriptions.jsonl");
    let lines = bed.lines(5);
    for mode in [0o600, 0o640] {
        let content = [&lines[0], "# of the old site", &lines[3], &lines[1], "", &lines[2]].join("\n");
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        // What an earlier run left that did not end.
        fs::write(dir.path().join("subscriptions.jsonl.new"), "half").unwrap();

        let summary = bed.fan_out_file(&file).await.unwrap();

        assert_eq!((summary.accepted, summary.failed), (3, 0));
        let content = fs::read_to_string(&file).unwrap();
        let mut found: Vec<&str> = content.lines().collect();
        let mut expected = vec![&lines[0], &lines[1], &lines[2], "# of the old site", ""];
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, mode);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_as_a_whole_stays_as_it_is() {
    let bed = Bed::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("subscriptions.jsonl");
    let lines = bed.lines(2);
    let content = [lines[0].as_bytes(), b"\n\xff\n", lines[1].as_bytes(), b"\n"].concat();
    fs::write(&file, &content).unwrap();

    bed.fan_out_file(&file).await.unwrap_err();

    assert_eq!(fs::read(&file).unwrap(), content);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(bed.seen.requests.load(Ordering::SeqCst), 0);
}
