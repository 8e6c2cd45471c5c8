//! Check-in and registration.

use std::time::Duration;

use bytes::Bytes;
use doorbell_service::config::Settings;
use http::{Method, Request, StatusCode};

use crate::support::chromium::{Device, OLD_SENDER, SENDER, SUBTYPE, at, check_in, first_check_in};
use crate::support::{TestService, header, text};

/// The paths at which the browsers' channels have their endpoints, and our own.
const ENDPOINTS: [&str; 4] = ["/fcm/send/", "/wp/", "/preprod/wp/", "/p/"];

#[tokio::test]
async fn a_browser_keeps_its_id_and_secret_and_another_gets_others() {
    let mut service = TestService::start().await;
    let answer = first_check_in(&service).await;
    assert_eq!(header(&answer, "content-type"), "application/x-protobuf");
    let device = Device::of(&answer);
    assert!(device.id != 0 && device.secret != 0);
    let other = Device::new(&service).await;
    assert!(other.id != device.id && other.secret != device.secret);
    assert_eq!(Device::of(&check_in(&service, device.checkin()).await), device);
    service.restart().await;
    assert_eq!(Device::of(&check_in(&service, device.checkin()).await), device);
}

#[tokio::test]
async fn a_check_in_with_a_wrong_secret_is_401_by_which_chromium_begins_anew_and_nonsense_is_400() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    for wrong in [Device { secret: device.secret ^ 1, ..device }, Device { id: device.id + 1, ..device }] {
        assert_eq!(check_in(&service, wrong.checkin()).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(check_in(&service, vec![0x10, 0xff]).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(check_in(&service, vec![0; 17 << 10]).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_service_with_tls_sends_the_browser_its_address() {
    let public_url = Some("https://push.example.org:8443".to_owned());
    let service = TestService::with(Settings { public_url, ..Settings::default() }).await;
    let answer = first_check_in(&service).await;
    let body = String::from_utf8_lossy(answer.body()).into_owned();
    for (name, value) in [
        ("checkin_url", "https://push.example.org:8443/checkin"),
        ("gcm_registration_url", "https://push.example.org:8443/c2dm/register3"),
        ("gcm_hostname", "push.example.org"),
        ("gcm_secure_port", "8443"),
    ] {
        assert!(body.contains(&format!("{name}\u{12}{}{value}", char::from(value.len() as u8))), "{name}: {body:?}");
    }
    let plain = TestService::start().await;
    assert!(!String::from_utf8_lossy(first_check_in(&plain).await.body()).contains("gcm_hostname"));
}

#[tokio::test]
async fn more_new_browsers_than_allowed_have_to_wait_and_known_ones_do_not() {
    let settings = Settings { chromium_enrolments_per_minute: Some(2), ..Settings::default() };
    let service = TestService::with(settings).await;
    let device = Device::new(&service).await;
    Device::new(&service).await;
    let refused = first_check_in(&service).await;
    assert_eq!((refused.status(), header(&refused, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, "30"));
    assert_eq!(Device::of(&check_in(&service, device.checkin()).await), device);
    service.clock.advance(Duration::from_secs(30));
    Device::new(&service).await;
}

#[tokio::test]
async fn a_token_works_at_every_path_that_an_endpoint_may_have_and_another_kind_does_not() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let token = device.register(&service, SUBTYPE, OLD_SENDER).await;
    let other_kind = service.subscribe().await;
    let other_kind = other_kind.subscription.rsplit('/').next().unwrap();
    for endpoint in ENDPOINTS {
        let push = at(&service, endpoint, &token);
        assert!(service.send(&push, &[], b"").await.starts_with(&format!("{}/m/", service.origin())));
        assert_eq!(service.post(&at(&service, endpoint, other_kind), &[], b"x").await.status(), StatusCode::NOT_FOUND);
        for token in [&token, "junk", ""] {
            for method in [Method::GET, Method::DELETE, Method::PUT] {
                let request = Request::builder().method(method).uri(at(&service, endpoint, token).push);
                let answer = service.ask(request.body(Bytes::new()).unwrap()).await;
                assert_eq!(
                    (answer.status(), header(&answer, "allow")),
                    (StatusCode::METHOD_NOT_ALLOWED, "POST, OPTIONS")
                );
            }
        }
        let junk = service.post(&at(&service, endpoint, "junk"), &[], b"x").await;
        assert_eq!(junk.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_page_with_a_key_is_restricted_to_it_ps_8292_4_2_1() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let token = device.register(&service, SUBTYPE, SENDER).await;
    for endpoint in ENDPOINTS {
        let unsigned = service.post(&at(&service, endpoint, &token), &[], b"x").await;
        assert_eq!(unsigned.status(), StatusCode::UNAUTHORIZED);
    }
    let off_the_curve = device.post(&service, &device.form(SUBTYPE, &SENDER.replace("BA1H", "BA1I"))).await;
    assert_eq!(text(&off_the_curve), "Error=INVALID_SENDER");
}

#[tokio::test]
async fn the_same_registration_gets_the_same_token_and_another_page_or_device_another() {
    let mut service = TestService::start().await;
    let (device, other) = (Device::new(&service).await, Device::new(&service).await);
    let (twice, same) =
        tokio::join!(device.register(&service, SUBTYPE, SENDER), device.register(&service, SUBTYPE, SENDER));
    assert_eq!(twice, same, "also at the same time");
    service.restart().await;
    assert_eq!(device.register(&service, SUBTYPE, SENDER).await, twice);
    for (device, subtype, sender) in
        [(device, "wp:http://other/#1-V2", SENDER), (device, SUBTYPE, OLD_SENDER), (other, SUBTYPE, SENDER)]
    {
        assert_ne!(device.register(&service, subtype, sender).await, twice);
    }
}

#[tokio::test]
async fn a_device_that_subscribes_without_end_exceeds_its_quota_and_others_do_not() {
    let service = TestService::start().await;
    let (device, other) = (Device::new(&service).await, Device::new(&service).await);
    for n in 0..60 {
        device.register(&service, &format!("wp:http://page/#{n}-V2"), OLD_SENDER).await;
    }
    let refused = device.post(&service, &device.form(SUBTYPE, OLD_SENDER)).await;
    assert_eq!((refused.status(), &text(&refused)[..]), (StatusCode::TOO_MANY_REQUESTS, "Error=QUOTA_EXCEEDED"));
    other.register(&service, SUBTYPE, OLD_SENDER).await;
    service.clock.advance(Duration::from_secs(1));
    device.register(&service, SUBTYPE, OLD_SENDER).await;
}

#[tokio::test]
async fn what_is_unsubscribed_is_gone_and_the_rest_stays() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let push = device.subscribe(&service).await;
    let token = device.register(&service, "wp:http://other/#1-V2", OLD_SENDER).await;
    let stays = at(&service, "/wp/", &token);
    let stranger = Device::new(&service).await;
    let delete = |device: Device| device.form(SUBTYPE, "*").replace("scope=GCM", "scope=*") + "&delete=true";
    assert_eq!(text(&stranger.post(&service, &delete(stranger)).await), "token=none");
    service.send(&push, &[], b"x").await;
    for _ in 0..2 {
        assert_eq!(text(&device.post(&service, &delete(device)).await), "token=none", "twice is no error");
        assert_eq!(service.post(&push, &[], b"x").await.status(), StatusCode::NOT_FOUND);
    }
    service.send(&stays, &[], b"x").await;
    let again = device.subscribe(&service).await;
    assert_ne!(again.push, push.push);
    service.send(&again, &[], b"x").await;
}

#[tokio::test]
async fn chromiums_own_registration_gets_a_token_that_opens_nothing() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let form = format!("app=com.google.android.gms&device={}&sender=745476177629", device.id);
    let answer = device.post(&service, &form).await;
    let token = text(&answer).strip_prefix("token=").unwrap().to_owned();
    assert_eq!(service.post(&at(&service, "/fcm/send/", &token), &[], b"x").await.status(), StatusCode::NOT_FOUND);
    let deleted = device.post(&service, &(form + "&delete=true")).await;
    assert!(text(&deleted).starts_with("token="));
}

#[tokio::test]
async fn invalid_registrations_get_the_error_by_which_chromium_gives_up_or_tries_again() {
    let settings = Settings { subscriptions_per_agent_max: Some(1), ..Settings::default() };
    let service = TestService::with(settings).await;
    let (device, other) = (Device::new(&service).await, Device::new(&service).await);
    let wrong = Device { secret: device.secret ^ 1, ..device };
    for (who, form, answer) in [
        (wrong, device.form(SUBTYPE, SENDER), "Error=AUTHENTICATION_FAILED"),
        (other, device.form(SUBTYPE, SENDER), "Error=AUTHENTICATION_FAILED"),
        (device, "app=a".to_owned(), "Error=INVALID_PARAMETERS"),
        (device, "x".repeat(9 << 10), "Error=INVALID_PARAMETERS"),
        (device, device.form(SUBTYPE, "*"), "Error=INVALID_SENDER"),
    ] {
        let received = who.post(&service, &form).await;
        assert!(!received.status().is_success());
        assert_eq!(text(&received), answer);
    }
    device.subscribe(&service).await;
    let full = device.post(&service, &device.form("wp:http://other/#1-V2", SENDER)).await;
    assert_eq!(text(&full), "Error=TOO_MANY_REGISTRATIONS");
    let anonymous =
        Request::post(service.origin() + "/c2dm/register3").body(device.form(SUBTYPE, SENDER).into()).unwrap();
    assert_eq!(text(&service.ask(anonymous).await), "Error=AUTHENTICATION_FAILED");
    for path in ["/checkin", "/c2dm/register3"] {
        let answer = service.get(&(service.origin() + path)).await;
        assert_eq!((answer.status(), header(&answer, "allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST, OPTIONS"));
    }
}
