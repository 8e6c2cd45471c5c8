//! The demo on several devices, and on devices that cannot do what they should: in the real Firefox.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use serde_json::json;
use support::{Browser, Desktop, Firefox, Person, Star};

/// Prints a notice when something is missing; in CI that is a failure.
fn all_is_here() -> bool {
    Firefox::is_here() && Desktop::is_here()
}

#[test]
fn a_second_device_comes_in_by_a_code_and_when_one_of_the_two_answers_the_other_stops_ringing() {
    if !all_is_here() {
        return;
    }
    let (star, desktop) = (Star::ringing_for(60), Desktop::start());
    let mut laptop = Person::<Firefox>::new("Alice", &star, &desktop);
    let (mut phone, mut mom) = (laptop.beside("Alice"), laptop.beside("Mom"));
    laptop.signs_in();
    laptop.becomes_reachable();
    laptop.clicks(".menu summary");
    laptop.clicks(".menu [data-invite=device]");
    laptop.sees("#invite", "The first device that opens it is you");
    let link = laptop.scans("#invite-code");
    laptop.clicks("#invite-close");
    phone.browser.visits(&link);
    phone.sees("#my-name", "Alice");
    phone.becomes_reachable();
    mom.signs_in();

    // What changes on the page does not take the focus away from a user with a keyboard.
    mom.focuses(".person .words button");
    laptop.clicks("#trial");
    desktop.announces("It works");
    mom.sees(".person", "last delivered");
    assert!(mom.has_the_focus_on(".person .words button"));
    desktop.clears();

    mom.asks_for("audio", "Alice");
    desktop.announces("Mom is calling");
    desktop.announces("Mom is calling");
    phone.sees("#call-state[role=status]", "is calling");
    laptop.clicks("#answer");
    laptop.sees("#call-state[role=status]", "Connected");
    laptop.sees("#call-facts", "sound arrives");
    phone.sees("#toasts", "You answered on another device.");
    phone.sees_no_more("#call");
    desktop.announces("Mom called");
    desktop.displays(1);
    mom.clicks("#hang-up");
    laptop.sees("#toasts", "The call with Mom is over.");

    // The same without a page on the other device: its notification gives way.
    phone.browser.closes_the_page();
    desktop.clears();
    mom.asks_for("audio", "Alice");
    desktop.announces("Mom is calling");
    desktop.announces("Mom is calling");
    laptop.clicks("#answer");
    mom.sees("#call-facts", "sound arrives");
    desktop.announces("Mom called");
    desktop.displays(1);
}

/// The push service has sent it in time, but the device got it late: a laptop was closed meanwhile.
#[test]
fn a_ring_that_was_held_up_on_its_way_does_not_ring() {
    if !all_is_here() {
        return;
    }
    let (star, desktop) = (Star::ringing_for(8), Desktop::start());
    let mut alice = Person::<Firefox>::new("Alice", &star, &desktop);
    let mut mom = alice.beside("Mom");
    alice.signs_in();
    alice.becomes_reachable();
    alice.browser.closes_the_page();
    mom.signs_in();
    alice.browser.stands_still();
    mom.asks_for("audio", "Alice");
    mom.sees("#toasts", "Alice does not answer.");
    alice.browser.goes_on();
    assert_eq!(desktop.next_title(), "Missed call from Mom");
    mom.sees("#steps", "received it too late to ring");
}

/// Firefox learns that its subscription is gone, and the service worker makes another one: `pushsubscriptionchange`.
#[test]
fn when_the_push_service_has_lost_everything_the_service_worker_subscribes_anew_without_a_page() {
    if !all_is_here() {
        return;
    }
    let (mut star, desktop) = (Star::ringing_for(60), Desktop::start());
    let mut alice = Person::<Firefox>::new("Alice", &star, &desktop);
    let mut mom = alice.beside("Mom");
    alice.signs_in();
    alice.becomes_reachable();
    alice.browser.closes_the_page();
    mom.signs_in();
    alice.browser.stands_still();
    star.is_killed();
    mom.sees("#offline", "Not connected");
    star.starts_again_without_subscriptions();
    mom.sees_no_more("#offline");
    mom.writes("Are you there?", "Alice");
    mom.sees("#steps", "has unsubscribed");
    mom.sees("#chat-reach", "unreachable: no device takes pushes");

    alice.browser.goes_on();
    mom.sees("#chat-reach", "reachable by push");
    mom.clicks("#chat-actions [data-act=audio]");
    desktop.announces("Mom is calling");
}

#[test]
fn the_reason_why_a_device_is_not_reachable_is_shown_in_plain_words() {
    if !all_is_here() {
        return;
    }
    let (star, desktop) = (Star::ringing_for(60), Desktop::start());
    let mut alice = Person::<Firefox>::new("Alice", &star, &desktop);
    alice.signs_in();

    // There was no click by a user, so Firefox does not even ask.
    alice.browser.prefers("permissions.default.desktop-notification", json!(0));
    alice.clicks("#enable");
    alice.sees("#reachable-title", "Notifications are not allowed");
    alice.sees("#reachable-words", "choose “Allow” when the browser asks");
    alice.browser.prefers("permissions.default.desktop-notification", json!(1));

    alice.browser.prefers("dom.push.requestTimeout", json!(1000));
    alice.browser.prefers("dom.push.serverURL", json!("wss://127.0.0.1:9/"));
    alice.clicks("#enable");
    alice.sees("#reachable-title", "The push service does not answer");
    alice.sees("#reachable-words", &format!("start the browser with “doorbell firefox {}”", star.push_service()));
    alice.sees("#steps .bad", "the push service gives no subscription");
    alice.browser.prefers("dom.push.requestTimeout", json!(10_000));
    alice.browser.prefers("dom.push.serverURL", json!(format!("{}/", star.push_service().replace("https:", "wss:"))));
    alice.clicks("#enable");
    alice.sees("#steps", "it can ring this device");

    alice.browser.prefers("dom.push.enabled", json!(false));
    alice.opens_the_page();
    alice.sees("#reachable-title", "This window takes no pushes");
    alice.sees("#reachable-words", "a browser without Web Push");
    alice.browser.prefers("dom.push.enabled", json!(true));

    alice.browser.visits_in_private(star.site());
    alice.sees("#sign-in-title", "Rings");
    alice.types("#name", "Eve");
    alice.sees("#my-name", "Eve");
    alice.sees("#reachable-title", "This is a private window");
    alice.clicks("#enable");
    alice.sees("#steps", "it can ring this device");
    alice.sees("#reachable-words", "You can be called here until it is closed");
}

/// With Firefox's own session restore: its user was looking at a call when it was killed.
#[test]
fn a_page_that_firefox_restores_after_a_kill_neither_rings_nor_answers_and_shows_the_call_on_request() {
    if !all_is_here() {
        return;
    }
    let (star, desktop) = (Star::ringing_for(120), Desktop::start());
    let mut alice = Person::<Firefox>::new("Alice", &star, &desktop);
    let mut mom = alice.beside("Mom");
    alice.browser.will_prefer("browser.sessionstore.resume_from_crash", &json!(true));
    alice.signs_in();
    alice.becomes_reachable();
    alice.browser.closes_the_page();
    mom.signs_in();
    mom.asks_for("audio", "Alice");
    desktop.announces("Mom is calling");
    desktop.clicks();
    alice.is_led_to_the_page();
    alice.sees("#call-state", "is calling");
    alice.browser.stores_its_session();
    alice.browser.is_killed();

    alice.browser.starts_driven();
    // Firefox loads a restored tab when it is selected.
    alice.is_led_to_the_page();
    alice.browser.restores(star.site());
    alice.sees("#toasts", "Mom is calling.");
    assert_eq!(alice.browser.runs("return document.querySelector('#call').open", json!([])), json!(false));
    alice.clicks("#toasts button");
    alice.sees("#call-state", "is calling");
    alice.clicks("#answer");
    mom.sees("#call-state", "Connected");
}

/// Firefox would end the subscription at the first push of which no notification is left after three seconds.
#[test]
fn a_firefox_whose_user_declines_at_once_stays_subscribed() {
    if !all_is_here() {
        return;
    }
    let (star, desktop) = (Star::ringing_for(60), Desktop::start());
    let mut alice = Person::<Firefox>::new("Alice", &star, &desktop);
    let mut mom = alice.beside("Mom");
    alice.browser.will_prefer("dom.push.maxQuotaPerSubscription", &json!(1));
    alice.signs_in();
    alice.becomes_reachable();
    alice.browser.closes_the_page();
    mom.signs_in();
    mom.asks_for("audio", "Alice");
    desktop.announces("Mom is calling");
    desktop.chooses("Decline");
    mom.sees("#toasts", "Alice does not take the call.");
    alice.browser.prints("updateQuota()");
    desktop.displays(0);

    mom.clicks("#toasts button:last-child");
    mom.asks_for("audio", "Alice");
    desktop.announces("Mom is calling");
}
