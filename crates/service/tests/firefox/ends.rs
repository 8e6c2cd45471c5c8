//! How connections end, and what is left of them.

use std::time::Duration;

use doorbell_service::config::Settings;
use http::StatusCode;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::raw::websocket::RawSocket;
use crate::support::socket::Socket;
use crate::support::{TestService, within};
use crate::{CHANNEL, at};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_second_connection_takes_over_with_all_that_is_unacknowledged_fx_8() {
    let service = TestService::start().await;
    let (mut first, uaid) = Socket::hello(service.address, None).await;
    let push = at(&first.register(CHANNEL).await);
    service.send(&push, &[], b"unacknowledged").await;
    assert_eq!(first.notified().await.text, "unacknowledged");
    let (mut second, same) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(same, uaid);
    assert_eq!(first.closed().await, 4774, "on any other code two copies of a profile would fight for ever");
    assert_eq!(second.notified().await.text, "unacknowledged");
    service.send(&push, &[], b"new").await;
    assert_eq!(second.notified().await.text, "new");
}

#[tokio::test]
async fn a_restart_closes_with_a_code_on_which_clients_come_back_and_loses_nothing_ps_8030_7_1_2() {
    let mut service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let push = at(&socket.register(CHANNEL).await);
    service.send(&push, &[], b"before").await;
    assert_eq!(socket.notified().await.text, "before");
    let (code, ()) = tokio::join!(socket.closed(), service.restart());
    assert_eq!(code, 1012);
    service.send(&push, &[], b"after").await;
    let (mut again, same) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(same, uaid);
    assert_eq!(again.notified().await.text, "before");
    assert_eq!(again.notified().await.text, "after");
    assert_eq!(again.register(CHANNEL).await, push.push, "it knows its channels");
}

/// Firefox forgets what it has acknowledged: if a message came again, Firefox would report that it did not deliver it.
#[tokio::test]
async fn what_is_acknowledged_while_the_service_stops_does_not_come_again_ps_8030_6_2_6() {
    let mut service = TestService::start().await;
    let mut clients = Vec::new();
    for _ in 0..30 {
        let (mut socket, uaid) = Socket::hello(service.address, None).await;
        let push = at(&socket.register(CHANNEL).await);
        service.send(&push, &[], b"acknowledged late").await;
        let message = socket.notified().await;
        clients.push((socket, uaid, message));
    }
    // The first that is closed shows that the service stops; those after it wait for their turn.
    let (first, ..) = clients.remove(0);
    let acknowledge = async {
        assert_eq!(first.closed().await, 1012);
        let mut uaids = Vec::new();
        for (mut socket, uaid, message) in clients {
            socket.ack(&message, 100).await;
            assert_eq!(socket.closed().await, 1012);
            uaids.push(uaid);
        }
        uaids
    };
    let (uaids, ()) = tokio::join!(acknowledge, service.restart());
    for uaid in uaids {
        let (mut again, _) = Socket::hello(service.address, Some(&uaid)).await;
        let push = at(&again.register(CHANNEL).await);
        service.send(&push, &[], b"next").await;
        assert_eq!(again.notified().await.text, "next");
    }
}

/// PS-8030-7.1-2
#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_up_the_end_of_the_service() {
    let settings = Settings { drain_timeout_secs: Some(3600), ..Settings::default() };
    let mut service = TestService::with(settings).await;
    let mut stalled = RawSocket::open(service.address).await;
    stalled.send(&json!({"messageType": "hello"}).to_string()).await;
    assert!(stalled.text().await.contains("hello"));
    stalled.sends_pings_until_nothing_is_taken().await;
    within(service.service.take().unwrap().stop()).await.unwrap();
}

#[tokio::test]
async fn a_restart_spreads_the_closes_over_time() {
    let mut service = TestService::start().await;
    let mut sockets = Vec::new();
    for _ in 0..50 {
        sockets.push(Socket::hello(service.address, None).await.0);
    }
    let start = tokio::time::Instant::from_std(clock::now());
    let goodbyes = sockets.into_iter().map(async |socket| {
        assert_eq!(socket.closed().await, 1012);
        start.elapsed()
    });
    let (mut times, ()) = tokio::join!(futures_util::future::join_all(goodbyes), service.restart());
    times.sort();
    assert!(times[49] - times[0] >= Duration::from_millis(49), "{times:?}");
}

/// The test's clock.
mod clock {
    /// The current moment.
    #[allow(clippy::disallowed_methods, reason = "the spread over real time is what is tested")]
    pub(super) fn now() -> std::time::Instant {
        std::time::Instant::now()
    }
}

#[tokio::test]
async fn a_client_whose_agent_is_removed_is_disconnected_and_gets_a_new_uaid_fx_2_ps_8030_7_3_1_2() {
    let service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello_like_firefox(service.address, None).await;
    let push = at(&socket.register(CHANNEL).await);
    assert_eq!(service.delete(&format!("{}/a/{uaid}", service.origin())).await, StatusCode::NO_CONTENT);
    assert_eq!(socket.closed().await, 1000);
    assert_eq!(service.post(&push, &[], b"").await.status(), StatusCode::NOT_FOUND);
    let (_, other) = Socket::hello_like_firefox(service.address, Some(&uaid)).await;
    assert_ne!(other, uaid);
}

#[tokio::test]
async fn a_client_without_a_hello_is_disconnected_after_a_time() {
    let service = TestService::start().await;
    let silent = Socket::open(service.address).await;
    let (mut polite, _) = Socket::hello(service.address, None).await;
    let mut closed = Box::pin(silent.closed());
    let mut noisy = RawSocket::open(service.address).await;
    noisy.pong(b"a pong is no hello").await;
    let code = within(async {
        loop {
            service.clock.advance(SECOND);
            if let Ok(code) = tokio::time::timeout(Duration::from_millis(20), &mut closed).await {
                return code;
            }
        }
    });
    assert_eq!(code.await, 1008);
    assert_eq!(noisy.closed().await, 1008);
    polite.is_answered().await;
}

#[tokio::test]
async fn a_quiet_client_is_pinged_where_a_proxy_needs_it_and_disconnected_if_it_is_dead_fx_7() {
    let service = TestService::with(Settings { firefox_ping_secs: Some(50), ..Settings::default() }).await;
    let (mut socket, _) = Socket::hello(service.address, None).await;
    for _ in 0..3 {
        socket.is_answered().await;
        service.clock.advance(Duration::from_secs(50));
        socket.pinged().await;
    }
    let mut dead = RawSocket::open(service.address).await;
    dead.send(&json!({"messageType": "hello"}).to_string()).await;
    assert!(dead.text().await.contains("hello"));
    service.clock.advance(Duration::from_secs(50));
    dead.pinged().await;
    service.clock.advance(Duration::from_secs(50));
    assert_eq!(dead.closed().await, 1008);
}

#[tokio::test]
async fn no_client_is_pinged_unless_the_operator_set_it_fx_7() {
    let service = TestService::start().await;
    let (mut socket, _) = Socket::hello(service.address, None).await;
    for _ in 0..10 {
        service.clock.advance(Duration::from_secs(24 * 3600));
        socket.send(json!({})).await;
        assert_eq!(socket.any_frame().await, Message::text("{}"), "and no ping before it");
    }
}
