//! The real Chromium as user agent: prepared by `doorbell chromium`, with our self-signed CA, against `doorbell serve`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use support::service::doorbell;
use support::{AppServer, Browser, Chromium, Desktop, Firefox, Service, Site};

/// Prints a notice when something is missing; in CI that is a failure.
fn all_is_here() -> bool {
    Chromium::is_here() && AppServer::is_here()
}

#[test]
fn behind_a_proxy_for_http_the_switches_name_the_port_of_the_stream() {
    let flags = |mcs: &[&str]| {
        let mut command = doorbell("chromium");
        let output = command.args(["https://push.example.org", "--print-flags"]).args(mcs).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
    };
    let stream = |port| format!("--gcm-mcs-endpoint=https://push.example.org:{port}\"");
    for (mcs, port) in [(&[][..], 443), (&["--mcs", "push.example.org:5228"], 5228)] {
        let (is_ok, printed) = flags(mcs);
        assert!(is_ok && printed.contains(&stream(port)), "{printed}");
    }
    let (is_ok, printed) = flags(&["--mcs", "push.example.org"]);
    assert!(!is_ok && printed.contains("named by a host and a port"), "{printed}");
}

/// PS-8030-5.2-7, PS-8030-5.4-2, PS-8030-6.3-2, PS-8030-6.3-3, PS-8030-7.3-4
#[tokio::test(flavor = "multi_thread")]
async fn chromium_gets_every_message_once_whether_a_page_is_open_or_chromium_itself_was_away() {
    if !all_is_here() {
        return;
    }
    let (mut service, mut site, shop) = (Service::start(), Site::open(), AppServer::new());
    let mut chromium = Chromium::prepared_for(&service, &site);

    chromium.opens(&mut site);
    let subscription = shop.places(&chromium.subscribes(&shop.key()), &service);
    assert_eq!(shop.posts_unencrypted(b"Chromium would drop it", &subscription, &service).await, 400);
    let sent = shop.sends("while the page is open", &subscription, &service);
    assert_eq!(site.waits_for_push("while the page is open"), 1);
    chromium.shows_on_the_page("while the page is open");
    chromium.pictures("chromium-page");
    shop.learns_of_delivery(&sent, &service).await;

    let sent = shop.sends_in_the_older_coding("the older coding", &subscription, &service);
    site.waits_for_push("the older coding");
    shop.learns_of_delivery(&sent, &service).await;

    chromium.closes_the_page();
    let sent = shop.sends("while no page is open", &subscription, &service);
    assert_eq!(site.waits_for_push("while no page is open"), 0);
    shop.learns_of_delivery(&sent, &service).await;

    let burst: Vec<String> = (1..=300).map(|number| format!("burst {number}")).collect();
    let all = shop.sends_all(&burst, &subscription, &service);
    assert_eq!(site.waits_for_pushes("burst ", burst.len()), burst);
    for sent in &all {
        shop.learns_of_delivery(sent, &service).await;
    }

    chromium.quits();
    let sent = shop.sends("while Chromium is not running", &subscription, &service);
    let late = shop.sends_for_a_second("too old", &subscription, &service);
    shop.sends_on_topic("news", "old news", &subscription, &service);
    let news = shop.sends_on_topic("news", "the news", &subscription, &service);
    shop.learns_of_expiry(&late, &service).await;
    service.ends();
    service.start_again();
    chromium.starts_without_page();
    assert_eq!(site.waits_for_push("while Chromium is not running"), 0);
    site.waits_for_push("the news");
    shop.learns_of_delivery(&sent, &service).await;
    shop.learns_of_delivery(&news, &service).await;

    chromium.is_killed();
    let sent = shop.sends("after kill -9", &subscription, &service);
    chromium.starts_without_page();
    assert_eq!(site.waits_for_push("after kill -9"), 0);
    shop.learns_of_delivery(&sent, &service).await;

    // Some of them are acknowledged by then, some have arrived without that, and some have not.
    let on_their_way: Vec<String> = (1..=20).map(|number| format!("on its way {number}")).collect();
    let all = shop.sends_all(&on_their_way, &subscription, &service);
    service.kill();
    service.start_again();
    let sent = shop.sends("just after the service came back", &subscription, &service);
    // Chromium comes back after 20 to 40 seconds, and nothing makes it hurry.
    site.waits_for_push("just after the service came back");
    shop.learns_of_delivery(&sent, &service).await;
    assert_eq!(site.waits_for_pushes("on its way ", on_their_way.len()), on_their_way);
    for sent in &all {
        shop.learns_of_delivery(sent, &service).await;
    }

    chromium.quits();
    chromium.opens(&mut site);
    chromium.unsubscribes();
    assert_eq!(shop.sends_in_vain("too late", &subscription, &service), 404);
    assert_eq!(site.other_pushes(), [""; 0], "nothing came twice, and nothing that was over");
}

/// A site of others sends to whatever endpoint its page has read.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_knows_nothing_of_us_reads_our_endpoint_by_the_extension() {
    if !all_is_here() {
        return;
    }
    let (service, mut site, shop) = (Service::start(), Site::open(), AppServer::new());
    let mut chromium = Chromium::prepared_with_extension(&service, &site);
    chromium.opens(&mut site);
    let subscription = chromium.subscribes_at(&service.origin(), &shop.key());
    let sent = shop.sends("by the extension", &subscription, &service);
    site.waits_for_push("by the extension");
    shop.learns_of_delivery(&sent, &service).await;
    chromium.shows_on_the_page(&format!("active at {}", service.authority()));

    chromium.quits();
    chromium.opens(&mut site);
    chromium.shows_on_the_page(&format!("active at {}", service.authority()));
}

/// PS-8030-6.3-2
#[tokio::test(flavor = "multi_thread")]
async fn firefox_and_chromium_side_by_side_get_each_its_own_message() {
    if !(all_is_here() && Firefox::is_here() && Desktop::is_here()) {
        return;
    }
    let (service, desktop, mut site, shop) = (Service::start(), Desktop::start(), Site::open(), AppServer::new());
    let mut firefox = Firefox::prepared_for(&service, &desktop);
    let mut chromium = Chromium::prepared_for(&service, &site);
    firefox.opens(&mut site);
    chromium.opens(&mut site);
    let in_firefox = firefox.subscribes(&shop.key());
    let in_chromium = shop.places(&chromium.subscribes(&shop.key()), &service);

    let to_firefox = shop.sends("for Firefox", &in_firefox, &service);
    let to_chromium = shop.sends("for Chromium", &in_chromium, &service);
    assert_eq!(site.waits_for_push_to("Firefox"), "for Firefox");
    assert_eq!(site.waits_for_push_to("Chrome"), "for Chromium");
    shop.learns_of_delivery(&to_firefox, &service).await;
    shop.learns_of_delivery(&to_chromium, &service).await;
    firefox.shows_on_the_page("for Firefox");
    chromium.shows_on_the_page("for Chromium");

    chromium.unsubscribes();
    assert_eq!(shop.sends_in_vain("too late", &in_chromium, &service), 404);
    let to_firefox = shop.sends("still for Firefox", &in_firefox, &service);
    assert_eq!(site.waits_for_push_to("Firefox"), "still for Firefox");
    shop.learns_of_delivery(&to_firefox, &service).await;
    assert_eq!(site.other_pushes(), [""; 0]);
}
