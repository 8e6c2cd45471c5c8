//! Clocks that jump, in virtual time: what ages, what expires, and what clients are shown.

mod support;

use std::time::Duration;

use doorbell_protocol::time::UnixMs;
use doorbell_service::config::Settings;
use http::StatusCode;
use support::{START, TestService};

const HOUR: Duration = Duration::from_secs(3600);
const HUNDRED_DAYS: Duration = Duration::from_secs(100 * 24 * 3600);

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
