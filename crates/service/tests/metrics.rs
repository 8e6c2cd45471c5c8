//! The metrics: what is counted, where it is described, and what never appears.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::problem::errno;
use doorbell_protocol::time::UnixMs;
use doorbell_service::config::Settings;
use http::{Method, Request, StatusCode};
use serde_json::json;
use support::chromium::Device;
use support::events::EventStream;
use support::scrape::{Scrape, metrics, observed, until};
use support::socket::Socket;
use support::{START, Subscription, TestService, header, path, text, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CHANNEL: &str = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";

async fn start() -> TestService {
    TestService::with(observed(Settings::default())).await
}

fn ended(outcome: &str) -> String {
    format!("doorbell_messages_ended_total{{outcome=\"{outcome}\"}}")
}

fn connected(door: &str) -> String {
    format!("doorbell_agents_connected{{door=\"{door}\"}}")
}

fn answered(door: &str, class: &str) -> String {
    format!("doorbell_requests_total{{door=\"{door}\",code=\"{class}\"}}")
}

#[tokio::test]
async fn a_message_is_counted_from_its_acceptance_to_its_acknowledgement() {
    let service = start().await;
    let to = service.subscribe().await;
    let mut agent = service.agent().await;
    let mut monitoring = agent.monitor(&to.set, &[]).await;
    until(&service, &connected("http2"), 1.0).await;
    let message = service.send(&to, &[], b"hello").await;
    assert_eq!(monitoring.push().await.uri, message);
    let stored = Scrape::of(&service).await;
    assert_eq!((stored.get("doorbell_messages_accepted_total"), stored.get("doorbell_store_messages")), (1.0, 1.0));
    assert_eq!(stored.get("doorbell_messages_offered_total"), 1.0);
    assert!(stored.get("doorbell_store_bytes") > 5.0);
    let entries = |kind| stored.get(&format!("doorbell_store_entries{{kind=\"{kind}\"}}"));
    assert_eq!((entries("agents"), entries("subscriptions"), entries("receipt_subscriptions")), (1.0, 1.0, 0.0));
    service.clock.advance(Duration::from_secs(2));
    assert_eq!(agent.delete(&message).await, StatusCode::NO_CONTENT);
    let after = Scrape::of(&service).await;
    assert_eq!((after.get(&ended("delivered")), after.get("doorbell_store_messages")), (1.0, 0.0));
    let in_time = |le: &str| after.get(&format!("doorbell_message_acknowledgement_seconds_bucket{{le=\"{le}\"}}"));
    assert_eq!((in_time("1.0"), in_time("2.5"), in_time("+Inf")), (0.0, 1.0, 1.0), "it took 2 s");
    assert_eq!(after.get("doorbell_message_acknowledgement_seconds_sum"), 2.0);
    assert_eq!(after.get(&answered("push", "2xx")), 1.0);
    assert_eq!(after.get(&answered("message", "2xx")), 1.0);
    assert!(after.get("doorbell_store_commit_seconds_count") >= 3.0, "an agent, a message, its removal");
    assert!(after.get("doorbell_store_commit_writes_sum") >= after.get("doorbell_store_commit_writes_count"));
}

#[tokio::test]
async fn each_way_in_which_a_message_ends_has_a_count() {
    let service = start().await;
    let (to, leaving) = (service.subscribe().await, service.subscribe().await);
    let reported = |message: String, outcome: &'static str| {
        let request = Request::delete(message).header("doorbell-outcome", outcome).body(Bytes::new()).unwrap();
        service.ask(request)
    };
    service.send(&to, &[("ttl", "0")], b"no agent").await;
    reported(service.send(&to, &[], b"x").await, "undecryptable").await;
    reported(service.send(&to, &[], b"x").await, "refused").await;
    service.delete(&service.send(&to, &[], b"x").await).await;
    service.send(&to, &[("topic", "t")], b"old").await;
    service.send(&to, &[("topic", "t"), ("ttl", "60")], b"new").await;
    service.send(&leaving, &[], b"x").await;
    assert_eq!(service.delete(&leaving.subscription).await, StatusCode::NO_CONTENT);
    service.clock.advance(Duration::from_secs(1200));
    let scrape = until(&service, &ended("expired"), 1.0).await;
    for outcome in ["delivered", "undecryptable", "unsubscribed", "dropped", "refused", "replaced"] {
        assert_eq!(scrape.get(&ended(outcome)), 1.0, "{outcome}");
    }
    assert_eq!(scrape.get("doorbell_messages_accepted_total"), 7.0);
    assert_eq!(scrape.get("doorbell_store_messages"), 0.0);
    assert_eq!(scrape.get("doorbell_message_acknowledgement_seconds_count"), 1.0, "only a delivery is timed");
}

#[tokio::test]
async fn an_acknowledgement_after_the_end_of_the_ttl_is_an_expiry_and_is_not_timed() {
    let service = start().await;
    let to = service.subscribe().await;
    let late = service.send(&to, &[("ttl", "1")], b"late").await;
    service.clock.advance(Duration::from_secs(2));
    assert_eq!(service.delete(&late).await, StatusCode::NOT_FOUND);
    let scrape = Scrape::of(&service).await;
    assert_eq!((scrape.get(&ended("expired")), scrape.get(&ended("delivered"))), (1.0, 0.0));
    assert_eq!(scrape.get("doorbell_message_acknowledgement_seconds_count"), 0.0);
}

#[tokio::test]
async fn an_agent_counts_at_its_door_for_as_long_as_it_is_connected() {
    let service = start().await;
    let doors = ["http2", "events", "firefox", "chromium", "wake"];
    let to = service.subscribe().await;
    let mut pushed = service.agent().await;
    let monitoring = pushed.monitor(&to.set, &[]).await;
    let other = service.subscribe().await;
    let events = EventStream::open(service.address, &other.set, &[]).await;
    let (mut firefox, uaid) = Socket::hello(service.address, None).await;
    firefox.register(CHANNEL).await;
    let device = Device::new(&service).await;
    device.subscribe(&service).await;
    let chromium = device.connect(&service).await;
    let credential = format!("Bearer {uaid}");
    let mut desktop = service.agent().await;
    let headers = [("accept", "text/event-stream"), ("authorization", &*credential)];
    let wake = desktop.monitor(&(service.origin() + "/wake"), &headers).await.answer().await;
    assert_eq!(wake.status(), StatusCode::OK);
    for door in doors {
        until(&service, &connected(door), 1.0).await;
    }
    // A second connection of the same agent replaces the first.
    let (again, _) = Socket::hello(service.address, Some(&uaid)).await;
    until(&service, &connected("firefox"), 1.0).await;
    assert_eq!(Scrape::of(&service).await.get(&answered("firefox", "1xx")), 2.0);
    assert_eq!(Scrape::of(&service).await.get(&answered("firefox", "2xx")), 1.0, "a registration");
    drop((monitoring, pushed, events, firefox, again, chromium, wake, desktop));
    for door in doors {
        until(&service, &connected(door), 0.0).await;
    }
    until(&service, "doorbell_connections_open", 0.0).await;
    assert!(Scrape::of(&service).await.get("doorbell_connections_accepted_total") > 5.0);
}

#[tokio::test]
async fn a_report_to_a_desktop_is_counted() {
    let service = start().await;
    let (mut firefox, uaid) = Socket::hello(service.address, None).await;
    let push = firefox.register(CHANNEL).await;
    firefox.cut();
    let to = Subscription { push, subscription: String::new(), set: String::new() };
    service.send(&to, &[("ttl", "600"), ("content-encoding", "aes128gcm")], b"x").await;
    let credential = format!("Bearer {uaid}");
    let mut desktop = service.agent().await;
    let headers = [("accept", "text/event-stream"), ("authorization", &*credential)];
    let _wake = desktop.monitor(&(service.origin() + "/wake"), &headers).await;
    until(&service, &connected("wake"), 1.0).await;
    until(&service, &connected("firefox"), 0.0).await;
    // After a grace the mailbox reports; the stream of the answer then sends it.
    service.clock.advance(Duration::from_secs(5));
    until(&service, "doorbell_wakes_total", 1.0).await;
}

#[tokio::test]
async fn a_refusal_is_counted_by_its_errno_and_by_the_class_of_its_status() {
    let service =
        TestService::with(observed(Settings { rate_per_subscription: Some(60), ..Settings::default() })).await;
    let to = service.subscribe().await;
    let refused = |number: u16| format!("doorbell_requests_refused_total{{errno=\"{number}\"}}");
    assert_eq!(service.get(&(service.origin() + "/p/unknown")).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(service.get(&(service.origin() + "/nothing")).await.status(), StatusCode::NOT_FOUND);
    let no_ttl = Request::post(&to.push).body(Bytes::new()).unwrap();
    assert_eq!(service.ask(no_ttl).await.status(), StatusCode::BAD_REQUEST);
    while service.post(&to, &[], b"x").await.status() != StatusCode::TOO_MANY_REQUESTS {}
    // What HTTP itself rejects does not reach a door.
    let mut raw = TcpStream::connect(service.address).await.unwrap();
    raw.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(raw.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "it has no Host: {answer}");
    let scrape = Scrape::of(&service).await;
    for number in [errno::METHOD, errno::UNKNOWN_URL, errno::TTL_MISSING, errno::RATE, errno::BAD_REQUEST] {
        assert_eq!(scrape.get(&refused(number)), 1.0, "{number}");
    }
    // A request on a socket has the number that it would have over HTTP.
    let (mut firefox, _) = Socket::hello(service.address, None).await;
    let bad_key = json!({"messageType": "register", "channelID": CHANNEL, "key": "not a key"});
    assert_eq!(firefox.ask(bad_key).await["status"], 400);
    until(&service, &answered("firefox", "4xx"), 1.0).await;
    until(&service, &refused(errno::SUBSCRIBE_OPTIONS), 1.0).await;
    assert_eq!(scrape.get(&answered("push", "4xx")), 3.0);
    assert_eq!(scrape.get(&answered("other", "4xx")), 2.0);
    assert_eq!(scrape.get(&answered("subscribe", "2xx")), 1.0);
}

#[tokio::test]
async fn connections_that_the_service_closes_are_counted_by_the_reason() {
    let few = Settings { connections_max: Some(16), ..Settings::default() };
    let service = TestService::with(observed(Settings { connections_per_source_max: Some(1), ..few.clone() })).await;
    let held = TcpStream::connect(service.address).await.unwrap();
    until(&service, "doorbell_connections_open", 1.0).await;
    let _refused = TcpStream::connect(service.address).await.unwrap();
    let scrape = until(&service, "doorbell_connections_refused_total{reason=\"source\"}", 1.0).await;
    assert_eq!(scrape.get("doorbell_connections_accepted_total"), 1.0);
    assert_eq!(scrape.get("doorbell_connections_limit"), 16.0);
    drop(held);
    until(&service, "doorbell_connections_open", 0.0).await;

    let service = TestService::with(observed(Settings { connections_per_source_max: Some(0), ..few })).await;
    let mut idle = Vec::new();
    while Scrape::of(&service).await.get("doorbell_connections_refused_total{reason=\"room\"}") == 0.0 {
        assert!(idle.len() < 100, "so many are not idle at a time");
        idle.push(TcpStream::connect(service.address).await.unwrap());
    }
    assert!(Scrape::of(&service).await.get("doorbell_connections_open") <= 16.0);
}

#[tokio::test]
async fn a_jump_of_the_wall_clock_is_counted_and_doubted() {
    let service = start().await;
    assert_eq!(Scrape::of(&service).await.get("doorbell_clock_doubted"), 0.0);
    service.clock.set_wall(START.plus(Duration::from_secs(7200)));
    let scrape = until(&service, "doorbell_clock_jumps_total", 1.0).await;
    assert_eq!(scrape.get("doorbell_clock_doubted"), 1.0);
    let started = START.as_millis() as f64 / 1000.0;
    assert_eq!(scrape.get("process_start_time_seconds"), started, "a clock that is set is no restart");
}

#[tokio::test]
async fn the_disk_the_limits_and_the_process_are_there() {
    let settings =
        Settings { stored_bytes_max: Some(1 << 20), disk_reserve_bytes: Some(2 << 20), ..Settings::default() };
    let service = TestService::with(observed(settings)).await;
    let scrape = Scrape::of(&service).await;
    assert_eq!(scrape.get("doorbell_store_bytes_limit"), f64::from(1 << 20));
    let reserve = scrape.get("doorbell_disk_reserve_held_bytes");
    assert_eq!((reserve, reserve), (f64::from(2 << 20), scrape.get("doorbell_disk_reserve_configured_bytes")));
    assert!(scrape.get("doorbell_disk_available_bytes") > 0.0);
    assert_eq!(scrape.get("doorbell_ready"), 1.0);
    assert!(scrape.get("process_resident_memory_bytes") > 1e6);
    assert!(scrape.get("process_open_fds") > 3.0 && scrape.get("process_max_fds") > scrape.get("process_open_fds"));
    assert!(scrape.get("process_threads") > 1.0 && scrape.get("process_cpu_seconds_total") > 0.0);
    assert!(!scrape.series().contains("doorbell_certificate_remaining_seconds"), "TLS does not end here");
}

/// Does what a client can do to make labels: many agents and senders, odd paths, methods, fields and bodies.
async fn bother(service: &TestService, times: usize) {
    for n in 0..times {
        let to = service.subscribe().await;
        service.send(&to, &[("topic", &format!("topic{n}")), ("urgency", "high")], b"x").await;
        service.get(&format!("{}/path-{n}?query={n}", service.origin())).await;
        service.get(&format!("{}/p/{n}", service.origin())).await;
        let odd = Request::builder().method(Method::from_bytes(format!("ODD{n}").as_bytes()).unwrap());
        let odd = odd.uri(&to.push).header("user-agent", format!("agent-{n}")).header("host", format!("host{n}"));
        service.ask(odd.body(Bytes::new()).unwrap()).await;
        service.post(&to, &[("ttl", &format!("-{n}"))], b"x").await;
        service.post(&to, &[("urgency", &format!("urgency{n}"))], b"x").await;
        let mut agent = service.agent().await;
        agent.fetch(&to.set).await;
    }
}

#[tokio::test]
async fn the_number_of_series_does_not_grow_with_users_and_what_they_send() {
    let service = start().await;
    let before = Scrape::of(&service).await;
    bother(&service, 30).await;
    let after = Scrape::of(&service).await;
    assert_eq!(before.series(), after.series());
    assert!(after.get("doorbell_messages_accepted_total") >= 30.0, "it was a busy time");
    assert!(after.series().len() < 300, "{} series", after.series().len());
}

#[tokio::test]
async fn each_cell_has_its_series_from_the_start_and_together_they_are_the_store() {
    let cells = Some(["disk2", "disk3"].map(|name| name.parse().unwrap()).to_vec());
    let service = TestService::with(observed(Settings { cells, ..Settings::default() })).await;
    let before = Scrape::of(&service).await;
    bother(&service, 30).await;
    let after = Scrape::of(&service).await;
    assert_eq!(before.series(), after.series());
    let series = |name: &str| [1, 2, 3].map(|cell| format!("doorbell_store_cell_{name}{{cell=\"{cell}\"}}"));
    let of_cells = after.series().iter().filter(|name| name.starts_with("doorbell_store_cell_")).count();
    assert_eq!(of_cells, 9, "three for each cell");
    for name in ["messages", "bytes"] {
        let each = series(name).map(|name| after.get(&name));
        assert!(each.iter().all(|value| *value > 0.0), "{name}: {each:?}");
        assert_eq!(each.iter().sum::<f64>(), after.get(&format!("doorbell_store_{name}")), "{name}: {each:?}");
    }
    for name in series("commits_total") {
        assert!(after.get(&name) > before.get(&name), "{name}");
    }
}

#[tokio::test]
async fn no_url_no_name_and_nothing_of_a_message_is_in_the_metrics() {
    let service = start().await;
    let to = service.subscribe().await;
    let (mut firefox, uaid) = Socket::hello(service.address, None).await;
    let endpoint = firefox.register(CHANNEL).await;
    let message = service.send(&to, &[("topic", "secret-topic")], b"secret body").await;
    service.delete(&message).await;
    let text = Scrape::of(&service).await.text;
    let tokens = [&to.push, &to.set, &to.subscription, &message, &endpoint].map(|uri| path(uri)[3..].to_owned());
    let others = [uaid, CHANNEL.to_owned(), "secret".to_owned(), service.address.to_string(), "127.0.0.1".to_owned()];
    for secret in tokens.into_iter().chain(others) {
        assert!(!text.contains(&secret), "{secret} is in\n{text}");
    }
}

#[tokio::test]
async fn a_monitor_gets_openmetrics_and_a_client_that_wants_text_gets_text() {
    let service = start().await;
    let open = metrics(&service, &[("accept", "application/openmetrics-text; version=1.0.0, text/plain;q=0.5")]).await;
    assert_eq!(header(&open, "content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text(&open).ends_with("\n# EOF\n"));
    let plain = metrics(&service, &[("accept", "text/plain")]).await;
    assert_eq!(header(&plain, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(text(&plain).contains("# TYPE doorbell_messages_accepted_total counter\n"));
    assert!(!text(&plain).contains("# EOF"));
}

/// The names in the first column of the table of metrics.
fn documented() -> BTreeSet<String> {
    let handbook = include_str!("../../../docs/hosting.md");
    let (_, section) = handbook.split_once("\n## Metrics\n").expect("a section");
    let section = section.split("\n## ").next().unwrap();
    let name = |line: &str| {
        let cell = line.strip_prefix("| `")?.split_once('`')?.0;
        Some(cell.split('{').next()?.to_owned())
    };
    section.lines().filter_map(name).collect()
}

#[tokio::test]
async fn the_handbook_describes_each_family_and_no_other() {
    let service = start().await;
    let families: BTreeSet<_> = Scrape::of(&service).await.families().into_keys().collect();
    assert_eq!(documented(), families);
}

#[tokio::test]
async fn each_family_has_a_help_text_that_says_when_to_worry_and_a_base_unit() {
    let service = start().await;
    let scrape = Scrape::of(&service).await;
    for line in scrape.text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        // A setting, the version and the engine are no reason to worry.
        let name = line.split(' ').next().unwrap();
        let is_fixed = ["_limit", "_floor_bytes", "_configured_bytes", "_build", "doorbell_store"]
            .iter()
            .any(|end| name.ends_with(end));
        assert!(line.ends_with('.') && (is_fixed || line.contains("orry")), "{line}");
    }
    for (name, kind) in scrape.families() {
        assert!(name.starts_with("doorbell_") || name.starts_with("process_"), "{name}");
        assert!(!["_ms", "_millis", "_kib", "_minutes"].iter().any(|unit| name.contains(unit)), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
    }
}

#[test]
fn each_errno_of_the_documentation_can_be_counted() {
    let documented: BTreeSet<u16> = include_str!("../../../docs/errors.md")
        .split("<a id=\"")
        .skip(1)
        .map(|rest| rest.split_once('"').unwrap().0.parse().unwrap())
        .collect();
    assert_eq!(documented, BTreeSet::from(errno::ALL));
    assert!(errno::ALL.is_sorted(), "it is searched");
}

#[tokio::test]
async fn counts_begin_again_after_a_restart_and_what_is_stored_does_not() {
    let mut service = start().await;
    let to = service.subscribe().await;
    service.send(&to, &[], b"x").await;
    service.restart().await;
    let scrape = Scrape::of(&service).await;
    assert_eq!((scrape.get("doorbell_messages_accepted_total"), scrape.get("doorbell_store_messages")), (0.0, 1.0));
    assert!(UnixMs::from_secs(scrape.get("process_start_time_seconds") as i64) >= START);
}
