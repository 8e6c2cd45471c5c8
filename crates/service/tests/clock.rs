//! Clocks that jump, in virtual time: what ages, what expires, and what clients are shown.

mod support;

use std::time::{Duration, UNIX_EPOCH};

use doorbell_protocol::time::UnixMs;
use doorbell_service::config::Settings;
use http::StatusCode;
use support::chromium::Device;
use support::{START, TestService};

const HOUR: Duration = Duration::from_secs(3600);
const HUNDRED_DAYS: Duration = Duration::from_secs(100 * 24 * 3600);

/// Fields of a message to Chromium.
const TTL: u32 = 17;
const SENT: u32 = 18;

/// PS-8030-7.3-1
#[tokio::test]
async fn an_agent_ages_by_time_of_service_only_whatever_the_clocks_do_ps_8030_7_3_1() {
    let mut service = TestService::with(Settings { idle_expiry_days: Some(5), ..Settings::default() }).await;
    let left = service.subscribe().await;
    let mut hours = 0;
    while service.get(&left.subscription).await.status() != StatusCode::NOT_FOUND {
        match hours {
            12 => service.clock.set_wall(START.plus(HUNDRED_DAYS)),
            24 => service.clock.set_wall(UnixMs::default()),
            36 => service.restart().await,
            48 => service.clock.suspend(HUNDRED_DAYS),
            60 => {
                service.clock.set_wall(START.plus(HUNDRED_DAYS));
                service.restart().await;
            }
            _ => {}
        }
        service.clock.advance(HOUR);
        hours += 1;
    }
    assert!(hours >= 5 * 24, "it is gone after {hours} hours of service");
}

#[tokio::test]
async fn a_ttl_runs_through_a_suspend_and_no_jump_cuts_or_stretches_it_ps_8030_5_2_7() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[("ttl", "60")], b"x").await;
    for wall in [START.plus(HUNDRED_DAYS), UnixMs::default()] {
        service.clock.set_wall(wall);
        assert_eq!(service.get(&message).await.status(), StatusCode::OK, "{wall:?}");
        service.restart().await;
        assert_eq!(service.get(&message).await.status(), StatusCode::OK, "{wall:?}, after a restart");
    }
    service.clock.suspend(Duration::from_secs(59));
    assert_eq!(service.get(&message).await.status(), StatusCode::OK);
    service.clock.suspend(Duration::from_secs(1));
    assert_eq!(service.get(&message).await.status(), StatusCode::NOT_FOUND);
}

/// PS-8030-6-5
#[tokio::test]
async fn a_message_is_shown_with_the_wall_time_at_which_it_was_sent_ps_8030_6_5() {
    let service = TestService::start().await;
    // Nothing moves the service's time, so that it is a hundred days behind the wall clock.
    let sent = START.plus(HUNDRED_DAYS);
    service.clock.set_wall(sent);
    let device = Device::new(&service).await;
    let to = device.subscribe(&service).await;
    let message = service.send(&to, &[("ttl", "3600")], b"x").await;
    let pulled = service.subscribe().await;
    service.send(&pulled, &[("ttl", "3600")], b"x").await;
    service.clock.advance(HOUR / 2);

    let date = httpdate::fmt_http_date(UNIX_EPOCH + sent.since(UnixMs::default()));
    assert_eq!(support::header(&service.get(&message).await, "last-modified"), date);
    let (pushes, _) = service.agent().await.fetch(&pulled.subscription).await;
    assert_eq!(pushes[0].headers["last-modified"], date.as_str());
    let delivered = support::within(device.connect(&service)).await.message().await;
    assert_eq!(delivered.number(SENT), u64::try_from(sent.as_secs()).ok());
    assert_eq!(delivered.number(TTL), Some(3600), "it counts from the same moment");
}

#[tokio::test]
async fn a_browser_that_enrols_is_shown_the_wall_clock_and_limited_by_another_ps_8030_8_4_1() {
    let settings = Settings { chromium_enrolments_per_minute: Some(1), ..Settings::default() };
    let service = TestService::with(settings).await;
    assert_eq!(support::chromium::first_check_in(&service).await.status(), StatusCode::OK);
    service.clock.set_wall(START.minus(HOUR));
    let refused = support::chromium::first_check_in(&service).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = support::header(&refused, "retry-after").parse().unwrap();
    service.clock.advance(Duration::from_secs(wait));
    assert_eq!(support::chromium::first_check_in(&service).await.status(), StatusCode::OK, "what it named was true");
}
