//! The real Firefox as user agent: prepared by `doorbell firefox`, with our self-signed CA, against `doorbell serve`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use support::{AppServer, Browser, Desktop, Firefox, Service, Site};

/// Prints a notice when something is missing; in CI that is a failure.
fn all_is_here() -> bool {
    Firefox::is_here() && Desktop::is_here() && AppServer::is_here()
}

/// FX-1, FX-2, FX-3, FX-4, FX-5, FX-6, PS-8030-6.3-2, PS-8030-7.3-4
#[tokio::test(flavor = "multi_thread")]
async fn firefox_gets_every_message_whether_a_page_is_open_or_firefox_itself_was_away() {
    if !all_is_here() {
        return;
    }
    let (mut service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let mut firefox = Firefox::prepared_for(&service, &desktop);

    firefox.opens(&mut site);
    let subscription = firefox.subscribes(&shop.key());
    assert_eq!(shop.posts_unencrypted(b"Firefox would drop it", &subscription, &service).await, 400);
    let sent = shop.sends("while the page is open", &subscription, &service);
    assert_eq!(site.waits_for_push("while the page is open"), 1);
    desktop.shows("while the page is open");
    shop.learns_of_delivery(&sent, &service).await;

    let sent = shop.sends_in_the_older_coding("the older coding", &subscription, &service);
    site.waits_for_push("the older coding");
    shop.learns_of_delivery(&sent, &service).await;

    firefox.closes_the_page();
    let sent = shop.sends("while no page is open", &subscription, &service);
    assert_eq!(site.waits_for_push("while no page is open"), 0);
    shop.learns_of_delivery(&sent, &service).await;

    service.kill();
    service.start_again();
    let sent = shop.sends("just after the service came back", &subscription, &service);
    site.waits_for_push("just after the service came back");
    shop.learns_of_delivery(&sent, &service).await;

    firefox.quits();
    let sent = shop.sends("while Firefox is not running", &subscription, &service);
    service.kill();
    service.start_again();
    firefox.starts_without_page();
    assert_eq!(site.waits_for_push("while Firefox is not running"), 0);
    desktop.shows("while Firefox is not running");
    shop.learns_of_delivery(&sent, &service).await;

    firefox.is_killed();
    let sent = shop.sends(r#"{"title":"Ding","body":"after kill -9"}"#, &subscription, &service);
    desktop.clears();
    firefox.starts_without_page();
    assert_eq!(site.waits_for_push(r#"{"title":"Ding","body":"after kill -9"}"#), 0);
    desktop.shows("after kill -9");
    shop.learns_of_delivery(&sent, &service).await;

    desktop.clicks();
    assert!(site.waits_for_click("Ding"), "no page was open, so that the click opens one");
    site.waits_for_page();

    firefox.quits();
    firefox.opens(&mut site);
    firefox.unsubscribes();
    assert_eq!(shop.sends_in_vain("too late", &subscription, &service), 404);
}

/// FX-5. A picture shows more than a log: `target/e2e/firefox-page.png` and `firefox-notification.png`.
#[test]
fn firefox_shows_a_message_on_the_page_and_as_a_notification() {
    if !all_is_here() {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let mut firefox = Firefox::prepared_for(&service, &desktop).with_windows();
    firefox.opens(&mut site);
    // Before there are notifications, which a window that is moved would cover.
    firefox.poses();
    let subscription = firefox.subscribes(&shop.key());
    for (title, body) in [("The postman", "A parcel for you, from next door."), ("Your friends", "Open up, it rains!")]
    {
        let text = serde_json::json!({ "title": title, "body": body }).to_string();
        shop.sends(&text, &subscription, &service);
        site.waits_for_push(&text);
        desktop.shows(body);
    }
    desktop.displays(2);
    firefox.shows_on_the_page("Open up, it rains!");
    desktop.pictures("firefox-page", None);
    desktop.pictures("firefox-notification", Some("340x220+940+84"));
}
