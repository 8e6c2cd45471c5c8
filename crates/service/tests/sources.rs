//! One source of connections against all others: its bound, and who leaves when all places are taken. Each address of
//! loopback is a source.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use doorbell_service::config::Settings;
use http::{Request, StatusCode};
use support::chromium::{Device, first_check_in_on};
use support::socket::Socket;
use support::{TestService, raw, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const SUBSCRIBE: &[u8] = b"POST /subscribe HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// A connection from an address of loopback.
async fn from(last: u8, service: &TestService) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).unwrap();
    socket.connect(service.address).await.unwrap()
}

/// Waits until the service has closed the connection without an answer.
async fn is_closed(mut stream: TcpStream) {
    // A reset is an end too.
    let read = within(stream.read(&mut [0; 16])).await.unwrap_or(0);
    assert_eq!(read, 0, "bytes instead of the end");
}

#[tokio::test]
async fn one_source_has_its_share_of_the_connections_and_another_source_still_gets_in() {
    let service = TestService::with(Settings { connections_max: Some(16), ..Settings::default() }).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = from(2, &service).await;
        assert!(raw::exchange(&mut stream, GET).await.starts_with("HTTP/1.1 200 "));
        held.push(stream);
    }
    is_closed(from(2, &service).await).await;
    assert!(raw::exchange(&mut from(3, &service).await, GET).await.starts_with("HTTP/1.1 200 "));
    for stream in &mut held {
        assert!(raw::exchange(stream, GET).await.starts_with("HTTP/1.1 200 "), "those that were in stay");
    }
    // A place is free again when its connection has ended.
    drop(held.pop());
    within(async {
        loop {
            let mut stream = from(2, &service).await;
            let (_, mut answer) = (stream.write_all(GET).await, [0; 16]);
            if stream.read(&mut answer).await.is_ok_and(|read| read > 0) {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn connections_of_a_declared_proxy_are_not_counted() {
    let proxies = Some(vec!["127.0.0.2/31".to_owned()]);
    let settings = Settings { connections_per_source_max: Some(1), trusted_proxies: proxies, ..Settings::default() };
    let service = TestService::with(settings).await;
    let (mut first, mut second) = (from(2, &service).await, from(2, &service).await);
    for stream in [&mut first, &mut second] {
        assert!(raw::exchange(stream, GET).await.starts_with("HTTP/1.1 200 "));
    }
    let mut counted = from(4, &service).await;
    assert!(raw::exchange(&mut counted, GET).await.starts_with("HTTP/1.1 200 "));
    is_closed(from(4, &service).await).await;
}

/// All places may be taken by one source, as behind a proxy.
fn full(connections_max: usize) -> Settings {
    Settings { connections_max: Some(connections_max), connections_per_source_max: Some(0), ..Settings::default() }
}

#[tokio::test]
async fn sockets_that_said_hello_and_registered_nothing_leave_for_newcomers_and_subscribed_ones_stay() {
    let service = TestService::with(full(8)).await;
    let (mut subscribed, uaid) = Socket::hello(service.address, None).await;
    let endpoint = subscribed.register("d9b74644-4f97-46aa-b8fa-9393985cd6cd").await;
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(Socket::hello(service.address, None).await.0);
    }
    // The newest ones are still there, and the newcomers are too.
    strangers.last_mut().unwrap().is_answered().await;
    let (mut newcomer, _) = Socket::hello(service.address, None).await;
    newcomer.register("d9b74644-4f97-46aa-b8fa-9393985cd6ce").await;

    let posted = Request::post(&endpoint).header("ttl", "60").body(Bytes::from_static(b"you are still here"));
    assert_eq!(service.ask(posted.unwrap()).await.status(), StatusCode::CREATED);
    assert_eq!(subscribed.notified().await.text, "you are still here");
    // One that comes back with its uaid has a subscription from the start.
    drop(subscribed);
    let (mut back, _) = Socket::hello(service.address, Some(&uaid)).await;
    for _ in 0..20 {
        strangers.push(Socket::hello(service.address, None).await.0);
    }
    // Its message comes again, because it did not acknowledge it.
    assert_eq!(back.notified().await.text, "you are still here");
    back.is_answered().await;
}

#[tokio::test]
async fn a_held_get_is_not_closed_to_make_room() {
    let service = TestService::with(full(8)).await;
    let subscription = service.subscribe().await;
    let mut agent = service.agent().await;
    let mut stream = agent.monitor(&subscription.set, &[]).await;
    let mut strangers = Vec::new();
    for _ in 0..20 {
        let mut stranger = TcpStream::connect(service.address).await.unwrap();
        assert!(raw::exchange(&mut stranger, GET).await.starts_with("HTTP/1.1 200 "));
        strangers.push(stranger);
    }
    service.send(&subscription, &[], b"x").await;
    assert_eq!(&within(stream.next()).await.unwrap().body[..], b"x");
}

#[tokio::test]
async fn a_connection_with_a_request_in_progress_is_not_closed_to_make_room() {
    let service = TestService::with(full(4)).await;
    let subscription = service.subscribe().await;
    let path = support::path(&subscription.push);
    let mut sender = TcpStream::connect(service.address).await.unwrap();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nttl: 60\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    sender.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    within(sender.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    let mut strangers = Vec::new();
    for _ in 0..10 {
        let mut stranger = TcpStream::connect(service.address).await.unwrap();
        assert!(raw::exchange(&mut stranger, GET).await.starts_with("HTTP/1.1 200 "));
        strangers.push(stranger);
    }
    sender.write_all(b"body").await.unwrap();
    assert!(raw::read_answer(&mut sender).await.starts_with("HTTP/1.1 201 "));
}

#[tokio::test]
async fn a_source_that_enrols_browsers_without_end_does_not_keep_out_those_of_others() {
    let settings = Settings {
        chromium_enrolments_per_minute: Some(100),
        chromium_enrolments_per_source: Some(2),
        ..Settings::default()
    };
    let service = TestService::with(settings).await;
    Device::new(&service).await;
    Device::new(&service).await;
    for _ in 0..200 {
        let refused = support::chromium::first_check_in(&service).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    first_check_in_on(from(2, &service).await).await;
}

#[tokio::test]
async fn a_source_that_creates_agents_without_end_does_not_keep_out_those_of_others() {
    let settings = Settings {
        new_agents_per_source: Some(2),
        new_receipt_subscriptions_per_source: Some(1),
        ..Settings::default()
    };
    let service = TestService::with(settings).await;
    let subscription = service.subscribe().await;
    service.subscribe().await;
    let refused = "HTTP/1.1 429 ";
    let (mut first, mut second) = (from(1, &service).await, from(2, &service).await);
    for _ in 0..200 {
        assert!(raw::exchange(&mut first, SUBSCRIBE).await.starts_with(refused));
    }
    assert!(raw::exchange(&mut second, SUBSCRIBE).await.starts_with("HTTP/1.1 201 "));

    let path = support::path(&subscription.push);
    let post =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nttl: 60\r\nprefer: respond-async\r\ncontent-length: 0\r\n\r\n");
    assert!(raw::exchange(&mut first, post.as_bytes()).await.starts_with("HTTP/1.1 202 "));
    assert!(raw::exchange(&mut first, post.as_bytes()).await.starts_with(refused));
    assert!(raw::exchange(&mut second, post.as_bytes()).await.starts_with("HTTP/1.1 202 "));
}
