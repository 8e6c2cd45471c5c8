//! How connections end, and what is left of them.

use std::time::Duration;

use doorbell_service::config::Settings;
use http::StatusCode;

use crate::support::chromium::{Chromium, Device, Stanza, check_in, first_check_in, login};
use crate::support::{TestService, within};

#[tokio::test]
async fn a_login_is_answered_with_what_chromium_needs_and_heartbeats_too() {
    let settings = Settings { chromium_heartbeat_secs: Some(60), ..Settings::default() };
    let service = TestService::with(settings).await;
    let device = Device::new(&service).await;
    let mut chromium = Chromium::open(&service).await;
    let answer = chromium.log_in(device, &[]).await;
    assert_eq!(answer.text(1).as_deref(), Some("chrome-156.0.8078.108"));
    assert_eq!((answer.number(5), answer.number(6)), (Some(1), Some(1)));
    assert_eq!(answer.bytes(7).unwrap(), [8, 0, 0x18, 0xe0, 0xd4, 3], "60,000 ms");
    // As captured from Chromium 156.
    chromium.write(&[0, 2, 0x10, 1]).await;
    assert_eq!(chromium.next().await, Stanza { tag: 1, body: vec![0x10, 2] });
}

#[tokio::test]
async fn a_restart_sends_close_and_loses_nothing_ps_8030_7_1_2() {
    let mut service = TestService::start().await;
    let device = Device::new(&service).await;
    let push = device.subscribe(&service).await;
    let mut chromium = device.connect(&service).await;
    service.send(&push, &[], b"before").await;
    assert_eq!(chromium.unacked().await.body(), "before");
    tokio::join!(chromium.closed(), service.restart());
    service.send(&push, &[], b"after").await;
    let mut again = device.connect(&service).await;
    assert_eq!(again.message().await.body(), "before");
    assert_eq!(again.message().await.body(), "after");
    assert_eq!(device.subscribe(&service).await.push, push.push);
}

#[tokio::test]
async fn a_second_connection_takes_over_with_all_that_is_unacknowledged() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let push = device.subscribe(&service).await;
    let mut first = device.connect(&service).await;
    service.send(&push, &[], b"unacknowledged").await;
    assert_eq!(first.unacked().await.body(), "unacknowledged");
    let mut second = device.connect(&service).await;
    first.closed().await;
    assert_eq!(second.message().await.body(), "unacknowledged");
    service.send(&push, &[], b"new").await;
    assert_eq!(second.message().await.body(), "new");
}

#[tokio::test]
async fn a_close_from_the_client_ends_the_connection_without_an_answer() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let mut chromium = device.connect(&service).await;
    chromium.send(4, &[]).await;
    assert_eq!(chromium.until_closed().await, []);
}

#[tokio::test]
async fn a_wrong_secret_is_refused_with_an_error_that_chromium_shows() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    for wrong in [Device { secret: device.secret ^ 1, ..device }, Device { id: u64::MAX, ..device }] {
        let mut chromium = Chromium::open(&service).await;
        chromium.send(2, &login(wrong, &[])).await;
        let received = chromium.until_closed().await;
        assert_eq!(received.len(), 1);
        let error = received[0].bytes(3).expect("an error");
        assert_eq!(error[..3], [8, 0x91, 3], "401");
    }
}

#[tokio::test]
async fn a_client_that_does_not_log_in_in_time_is_disconnected() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let silent = Chromium::open(&service).await;
    let mut polite = device.connect(&service).await;
    let mut closed = Box::pin(silent.until_closed());
    let received = within(async {
        loop {
            service.clock.advance(Duration::from_secs(1));
            if let Ok(received) = tokio::time::timeout(Duration::from_millis(20), &mut closed).await {
                return received;
            }
            polite.is_answered().await;
        }
    });
    assert_eq!(received.await, []);
    polite.is_answered().await;
}

#[tokio::test]
async fn a_client_that_is_silent_for_two_heartbeats_is_asked_and_then_given_up() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let mut chromium = device.connect(&service).await;
    chromium.is_answered().await;
    for _ in 0..2 {
        service.clock.advance(Duration::from_secs(480));
        assert_eq!(chromium.next().await.tag, 0);
        chromium.send(1, &[0x10, 2]).await;
        chromium.is_answered().await;
    }
    service.clock.advance(Duration::from_secs(480));
    assert_eq!(chromium.next().await.tag, 0);
    service.clock.advance(Duration::from_secs(240));
    chromium.closed().await;
}

#[tokio::test]
async fn a_service_without_chromium_serves_no_part_of_it() {
    let mut service = TestService::start().await;
    let device = Device::new(&service).await;
    let push = device.subscribe(&service).await;
    service.reconfigure(|settings| settings.chromium = Some(false)).await;
    assert_eq!(first_check_in(&service).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(check_in(&service, device.checkin()).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(device.post(&service, "").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(service.post(&push, &[], b"x").await.status(), StatusCode::NOT_FOUND);
    let mut chromium = Chromium::open(&service).await;
    chromium.send(2, &login(device, &[])).await;
    assert!(chromium.is_taken_for_http().await);
}
