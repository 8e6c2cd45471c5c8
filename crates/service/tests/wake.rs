//! The wake door: a process on the user's machine learns when messages wait for a browser that does not run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use doorbell_service::Clock;
use doorbell_service::config::Settings;
use h2::RecvStream;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use support::agent::Agent;
use support::chromium::{Device, EXTENSION, OLD_SENDER, SUBTYPE};
use support::events::EventStream;
use support::socket::Socket;
use support::{Answer, Subscription, TestService, header, path, text, within};

const CHANNEL: &str = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";
const DAY: (&str, &str) = ("ttl", "86400");
const EVENTS: (&str, &str) = ("accept", "text/event-stream");
const STEP: Duration = Duration::from_millis(500);

/// A wake stream over HTTP/2, as a desktop process holds it.
struct Wake {
    body: RecvStream,
    text: String,
}

impl Wake {
    async fn open(service: &TestService, uaid: &str) -> Self {
        Self::open_on(&mut service.agent().await, service, uaid, &[]).await
    }

    async fn open_on(agent: &mut Agent, service: &TestService, uaid: &str, more: &[(&str, &str)]) -> Self {
        let credential = format!("Bearer {uaid}");
        let mut headers = vec![EVENTS, ("authorization", &*credential)];
        headers.extend(more);
        let answer = agent.monitor(&(service.origin() + "/wake"), &headers).await.answer().await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(header(&answer, "content-type"), "text/event-stream");
        Self { body: answer.into_body(), text: String::new() }
    }

    /// The next event; `None` when the stream has ended. Comments do not come.
    async fn next(&mut self) -> Option<(String, Value)> {
        within(async {
            loop {
                if let Some((event, rest)) = self.text.split_once("\n\n") {
                    let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
                    let event = (name.to_owned(), serde_json::from_str(data).unwrap());
                    self.text = rest.to_owned();
                    return Some(event);
                }
                let data = self.body.data().await?.ok()?;
                self.body.flow_control().release_capacity(data.len()).unwrap();
                self.text += std::str::from_utf8(&data).unwrap();
            }
        })
        .await
    }

    /// The data of the next event, which is `waiting`. Moves the clock by `step` until it comes.
    async fn waiting(&mut self, clock: &Clock, step: Duration) -> Value {
        let event = within(async {
            loop {
                if let Ok(event) = tokio::time::timeout(Duration::from_millis(20), self.next()).await {
                    return event;
                }
                clock.advance(step);
            }
        });
        let (name, data) = event.await.expect("an event, before the stream ends");
        assert_eq!(name, "waiting", "{data}");
        data
    }

    async fn quiet(&mut self) {
        assert_eq!(self.next().await, Some(("quiet".to_owned(), json!({}))));
    }
}

/// A browser with one subscription: its open socket, its uaid, and the sender's view.
async fn browser(service: &TestService) -> (Socket, String, Subscription) {
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let push = socket.register(CHANNEL).await;
    (socket, uaid, Subscription { subscription: String::new(), push, set: String::new() })
}

/// The same, closed again.
async fn closed_browser(service: &TestService) -> (String, Subscription) {
    let (socket, uaid, to) = browser(service).await;
    socket.cut();
    (uaid, to)
}

async fn ask(service: &TestService, method: Method, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(service.origin() + "/wake");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service.ask(request.body(Bytes::new()).unwrap()).await
}

#[tokio::test]
async fn a_message_that_waits_is_reported_and_quiet_follows_when_the_browser_is_there() {
    let service = TestService::start().await;
    let (uaid, to) = closed_browser(&service).await;
    let mut wake = Wake::open(&service, &uaid).await;
    let since = service.clock.now().as_millis();
    service.send(&to, &[DAY, ("urgency", "high")], b"ring").await;
    let waiting = wake.waiting(&service.clock, STEP).await;
    let expires = since + 86_400_000;
    assert_eq!(waiting, json!({"messages": 1, "urgency": "high", "since": since, "expires": expires}));
    let (mut socket, same) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(same, uaid);
    wake.quiet().await;
    let message = socket.notified().await;
    assert_eq!(message.text, "ring", "nothing was consumed");
    socket.ack(&message, 100).await;
    socket.is_answered().await;
    socket.cut();
    service.send(&to, &[DAY], b"again").await;
    assert_eq!(wake.waiting(&service.clock, STEP).await["messages"], 1);
}

#[tokio::test]
async fn what_is_below_the_floor_and_what_has_ttl_0_is_not_reported_ps_8030_5_2_9() {
    let service = TestService::start().await;
    let (uaid, to) = closed_browser(&service).await;
    let mut agent = service.agent().await;
    let mut normal = Wake::open(&service, &uaid).await;
    let mut high = Wake::open_on(&mut agent, &service, &uaid, &[("urgency", "high")]).await;
    let mut low = Wake::open_on(&mut agent, &service, &uaid, &[("urgency", "low")]).await;
    service.send(&to, &[("ttl", "0"), ("urgency", "high")], b"now or never").await;
    service.send(&to, &[DAY, ("urgency", "low")], b"below").await;
    assert_eq!(low.waiting(&service.clock, STEP).await["messages"], 1);
    service.send(&to, &[DAY], b"at the floor").await;
    let waiting = normal.waiting(&service.clock, STEP).await;
    assert_eq!((&waiting["messages"], &waiting["urgency"]), (&json!(1), &json!("normal")));
    service.send(&to, &[DAY, ("urgency", "high")], b"above").await;
    let waiting = high.waiting(&service.clock, STEP).await;
    assert_eq!((&waiting["messages"], &waiting["urgency"]), (&json!(1), &json!("high")));
    assert_eq!(normal.waiting(&service.clock, STEP).await["messages"], 2, "it is more urgent");
}

#[tokio::test]
async fn a_socket_that_does_not_acknowledge_is_reported_after_five_seconds() {
    let service = TestService::start().await;
    let (mut socket, uaid, to) = browser(&service).await;
    let mut wake = Wake::open(&service, &uaid).await;
    let start = service.clock.now();
    service.send(&to, &[DAY], b"x").await;
    let message = socket.notified().await;
    wake.waiting(&service.clock, STEP).await;
    assert!(service.clock.now().since(start) >= Duration::from_secs(5));
    socket.ack(&message, 100).await;
    wake.quiet().await;
    socket.is_answered().await;
}

#[tokio::test]
async fn a_stream_that_reconnects_learns_what_waits_over_a_restart_too() {
    let mut service = TestService::start().await;
    let (uaid, to) = closed_browser(&service).await;
    service.send(&to, &[DAY], b"x").await;
    for _ in 0..2 {
        let mut wake = Wake::open(&service, &uaid).await;
        assert_eq!(wake.waiting(&service.clock, STEP).await["messages"], 1);
    }
    let mut wake = Wake::open(&service, &uaid).await;
    wake.waiting(&service.clock, STEP).await;
    service.restart().await;
    assert_eq!(wake.next().await, None, "the drain ends it");
    let mut again = Wake::open(&service, &uaid).await;
    assert_eq!(again.waiting(&service.clock, STEP).await["messages"], 1);
}

#[tokio::test]
async fn it_works_over_http_1_1_too() {
    let service = TestService::start().await;
    let (uaid, to) = closed_browser(&service).await;
    let credential = format!("bearer {uaid}");
    let wake = service.origin() + "/wake";
    let mut events = EventStream::open(service.address, &wake, &[("Authorization", &credential)]).await;
    service.send(&to, &[DAY], b"x").await;
    let event = events.next_in_time(&service.clock, STEP).await.unwrap();
    assert_eq!((&*event.name, &event.data["messages"]), ("waiting", &json!(1)));
}

#[tokio::test]
async fn a_browser_that_is_gone_is_410_and_its_streams_end() {
    let service = TestService::start().await;
    let (_socket, uaid, _) = browser(&service).await;
    let mut wake = Wake::open(&service, &uaid).await;
    assert_eq!(service.delete(&format!("{}/a/{uaid}", service.origin())).await, StatusCode::NO_CONTENT);
    assert_eq!(wake.next().await, None);
    let credential = format!("Bearer {uaid}");
    let answer = ask(&service, Method::GET, &[EVENTS, ("authorization", &credential)]).await;
    assert_eq!(answer.status(), StatusCode::GONE);
    assert!(text(&answer).contains("\"errno\":1012"), "{}", text(&answer));
    assert!(!text(&answer).contains(&uaid));
}

/// A sender has the push URL, and a web app too: by it they must not learn when the device is online.
#[tokio::test]
async fn no_other_credential_opens_it_and_an_error_ends_only_its_own_stream() {
    let service = TestService::start().await;
    let (uaid, to) = closed_browser(&service).await;
    let own = service.subscribe().await;
    let message = service.send(&to, &[DAY, ("urgency", "low")], b"x").await;
    let token = |uri: &str| path(uri)[3..].to_owned();
    let mut forged = uaid.clone();
    forged.replace_range(40..41, if &uaid[40..41] == "A" { "B" } else { "A" });
    let mut agent = service.agent().await;
    let mut wake = Wake::open_on(&mut agent, &service, &uaid, &[]).await;
    let wrong = [
        token(&to.push),
        to.push.clone(),
        token(&message),
        token(&own.subscription),
        forged,
        format!("{uaid}A"),
        uaid[1..].to_owned(),
        format!("x/{uaid}"),
        "A".repeat(8_000),
        String::new(),
    ];
    for wrong in wrong {
        let credential = format!("Bearer {wrong}");
        let answer = ask(&service, Method::GET, &[EVENTS, ("authorization", &credential)]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong}");
        assert_eq!(header(&answer, "www-authenticate"), "Bearer");
        assert!(text(&answer).contains("\"errno\":1012"), "{}", text(&answer));
        let on_same = agent.monitor(&(service.origin() + "/wake"), &[EVENTS, ("authorization", &credential)]).await;
        assert_eq!(on_same.finish().await, StatusCode::UNAUTHORIZED);
    }
    let right = format!("Bearer {uaid}");
    for (headers, status) in [
        (vec![EVENTS], StatusCode::UNAUTHORIZED),
        (vec![EVENTS, ("authorization", &*uaid)], StatusCode::UNAUTHORIZED),
        (vec![EVENTS, ("authorization", "Basic eA==")], StatusCode::UNAUTHORIZED),
        (vec![EVENTS, ("authorization", &right), ("authorization", &right)], StatusCode::UNAUTHORIZED),
        (vec![("authorization", &*right)], StatusCode::NOT_ACCEPTABLE),
        (vec![EVENTS, ("authorization", &right), ("urgency", "urgent")], StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(ask(&service, Method::GET, &headers).await.status(), status, "{headers:?}");
    }
    let answer = ask(&service, Method::POST, &[("authorization", &right)]).await;
    assert_eq!((answer.status(), header(&answer, "allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD, OPTIONS"));
    service.send(&to, &[DAY], b"x").await;
    assert_eq!(wake.waiting(&service.clock, STEP).await["messages"], 1);
}

#[tokio::test]
async fn head_of_a_removed_set_is_410_as_get_is() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let credential = format!("Bearer {}", &path(&to.set)[3..]);
    let headers = [EVENTS, ("authorization", &*credential)];
    assert_eq!(ask(&service, Method::HEAD, &headers).await.status(), StatusCode::OK);
    assert_eq!(service.delete(&to.set).await, StatusCode::NO_CONTENT);
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(ask(&service, method, &headers).await.status(), StatusCode::GONE);
    }
}

#[tokio::test]
async fn streams_of_one_browser_are_bounded_and_end_no_socket() {
    let service = TestService::start().await;
    let (mut socket, uaid, to) = browser(&service).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(Wake::open(&service, &uaid).await);
    }
    assert_eq!(streams[0].next().await, None, "the oldest makes room");
    service.send(&to, &[DAY], b"x").await;
    let message = socket.notified().await;
    assert_eq!(message.text, "x");
    socket.ack(&message, 100).await;
    socket.is_answered().await;
}

#[tokio::test]
async fn twelve_reports_an_hour_are_the_most_however_often_the_client_connects_and_four_are_for_urgent_messages() {
    let service = TestService::start().await;
    let (uaid, to) = closed_browser(&service).await;
    let start = service.clock.now();
    for urgency in ["normal", "low", "normal", "normal", "high", "high"] {
        let mut wake = Wake::open_on(&mut service.agent().await, &service, &uaid, &[("urgency", "low")]).await;
        for _ in 0..2 {
            let message = service.send(&to, &[DAY, ("urgency", urgency)], b"x").await;
            wake.waiting(&service.clock, STEP).await;
            assert_eq!(service.delete(&message).await, StatusCode::NO_CONTENT);
            wake.quiet().await;
        }
    }
    assert!(
        service.clock.now().since(start) < Duration::from_secs(3_600),
        "the call does not wait for the chat's hour"
    );
    let mut wake = Wake::open(&service, &uaid).await;
    service.send(&to, &[DAY], b"later").await;
    wake.waiting(&service.clock, Duration::from_secs(60)).await;
    assert!(service.clock.now().since(start) >= Duration::from_secs(3_600), "it is late and not lost");
}

#[tokio::test]
async fn what_expires_before_a_browser_can_start_is_not_reported_and_what_comes_after_it_is() {
    let service = TestService::start().await;
    let (uaid, to) = closed_browser(&service).await;
    let mut wake = Wake::open(&service, &uaid).await;
    service.send(&to, &[("ttl", "4"), ("urgency", "high")], b"too short").await;
    // The grace is over, and the message still waits.
    service.clock.advance(STEP);
    service.clock.advance(STEP);
    service.send(&to, &[DAY], b"x").await;
    let start = service.clock.now();
    wake.waiting(&service.clock, STEP).await;
    let waited = service.clock.now().since(start);
    assert!(waited >= Duration::from_secs(3), "the short one must have expired: {waited:?}");
}

#[tokio::test]
async fn an_open_stream_is_use_so_its_browser_does_not_expire() {
    let service = TestService::with(Settings { idle_expiry_days: Some(5), ..Settings::default() }).await;
    let (uaid, to) = closed_browser(&service).await;
    let left = service.subscribe().await;
    let mut wake = Wake::open(&service, &uaid).await;
    for _ in 0..3 {
        let soon = service.subscribe().await;
        for unused in [&left, &soon] {
            within(async {
                while service.post(unused, &[("ttl", "0")], b"").await.status() != StatusCode::NOT_FOUND {
                    service.clock.advance(Duration::from_secs(3_600));
                }
            })
            .await;
        }
    }
    service.send(&to, &[DAY], b"x").await;
    assert_eq!(wake.waiting(&service.clock, STEP).await["messages"], 1);
}

#[tokio::test]
async fn chromiums_extension_watches_its_device_before_the_first_subscription_and_after_a_restart() {
    let mut service = TestService::start().await;
    let device = Device::new(&service).await;
    let token = device.wake_token(&service).await;
    let mut wake = Wake::open(&service, &token).await;
    let to = device.subscribe(&service).await;
    service.send(&to, &[DAY], b"ring").await;
    assert_eq!(wake.waiting(&service.clock, STEP).await["messages"], 1);
    let mut browser = device.connect(&service).await;
    wake.quiet().await;
    assert_eq!(browser.message().await.body(), "ring", "nothing was consumed");
    browser.is_answered().await;
    drop(browser);
    service.restart().await;
    assert_eq!(device.wake_token(&service).await, token, "the same as before");
    service.send(&to, &[DAY], b"again").await;
    let mut wake = Wake::open(&service, &token).await;
    assert_eq!(wake.waiting(&service.clock, STEP).await["messages"], 1);
    let other = Device::new(&service).await.wake_token(&service).await;
    let mut others = Wake::open(&service, &other).await;
    service.send(&to, &[DAY, ("urgency", "high")], b"more").await;
    assert_eq!(wake.waiting(&service.clock, STEP).await["messages"], 2);
    let nothing = tokio::time::timeout(Duration::from_millis(20), others.next()).await;
    assert!(nothing.is_err(), "another device's messages are not reported");
}

#[tokio::test]
async fn the_extensions_token_opens_nothing_else_and_its_devices_other_tokens_do_not_open_the_door() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let push = device.register(&service, SUBTYPE, OLD_SENDER).await;
    let token = device.wake_token(&service).await;
    assert!(token.len() <= 256 && token.chars().all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c)), "{token}");
    for kind in ["p", "m", "s", "a", "r", "w", "wp", "fcm/send", "preprod/wp"] {
        let uri = format!("{}/{kind}/{token}", service.origin());
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let request = Request::builder().method(method.clone()).uri(&uri).header("ttl", "60");
            let status = service.ask(request.body(Bytes::new()).unwrap()).await.status();
            let is_refused = matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
            assert!(is_refused, "{method} /{kind}/ is {status}");
        }
        let link = format!("<{uri}>; rel=\"urn:ietf:params:push:set\"");
        let request = Request::post(service.origin() + "/subscribe").header("link", link);
        let status = service.ask(request.body(Bytes::new()).unwrap()).await.status();
        assert!(status.is_client_error(), "/subscribe with /{kind}/ is {status}");
    }
    let (_socket, uaid) = Socket::hello(service.address, Some(&token)).await;
    assert_ne!(uaid, token, "no Firefox gets this agent");
    let (id, secret) = (device.id.to_string(), device.secret.to_string());
    for wrong in [&push, &id, &secret, &format!("{id}:{secret}"), "none"] {
        let credential = format!("Bearer {wrong}");
        let answer = ask(&service, Method::GET, &[EVENTS, ("authorization", &credential)]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong}");
    }
}

#[tokio::test]
async fn an_extension_registers_with_its_devices_credentials_only_and_leaves_as_chromium_expects() {
    let service = TestService::start().await;
    let (device, other) = (Device::new(&service).await, Device::new(&service).await);
    let wrong = Device { secret: device.secret ^ 1, ..device };
    for stranger in [wrong, other] {
        let answer = stranger.post(&service, &device.extension_form()).await;
        assert_eq!(text(&answer), "Error=AUTHENTICATION_FAILED");
    }
    let to = device.subscribe(&service).await;
    let token = device.wake_token(&service).await;
    let mut wake = Wake::open(&service, &token).await;
    let leave = format!("app={EXTENSION}&device={}&delete=true&gcm_unreg_caller=false", device.id);
    for _ in 0..2 {
        assert_eq!(text(&device.post(&service, &leave).await), format!("deleted={EXTENSION}"));
    }
    let by_instance = format!("{}&delete=true&X-subtype=wp:x", device.extension_form());
    assert_eq!(text(&device.post(&service, &by_instance).await), "token=none");
    service.send(&to, &[DAY], b"x").await;
    assert_eq!(wake.waiting(&service.clock, STEP).await["messages"], 1, "the pages' subscriptions stay");
    let others = format!("app=nkdpapfpjjgbfpnombidpiokcmfkfdgn&device={}&sender=doorbell", device.id);
    assert_eq!(text(&device.post(&service, &others).await), "token=none", "another extension gets no credential");
}

#[tokio::test]
async fn streams_that_a_client_has_left_behind_do_not_use_up_its_hour() {
    let service = TestService::start().await;
    let (uaid, to) = closed_browser(&service).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(Wake::open(&service, &uaid).await);
    }
    let start = service.clock.now();
    for _ in 0..12 {
        let message = service.send(&to, &[DAY, ("urgency", "high")], b"x").await;
        for wake in &mut streams {
            wake.waiting(&service.clock, STEP / 10).await;
        }
        assert_eq!(service.delete(&message).await, StatusCode::NO_CONTENT);
        for wake in &mut streams {
            wake.quiet().await;
        }
        service.clock.advance(Duration::from_secs(1));
    }
    assert!(service.clock.now().since(start) < Duration::from_secs(3_600), "twelve on each of them");
}

#[tokio::test]
async fn a_service_without_chromium_accepts_no_token_of_its_extension() {
    let mut service = TestService::start().await;
    let token = Device::new(&service).await.wake_token(&service).await;
    service.reconfigure(|settings| settings.chromium = Some(false)).await;
    let credential = format!("Bearer {token}");
    let answer = ask(&service, Method::GET, &[EVENTS, ("authorization", &credential)]).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}
