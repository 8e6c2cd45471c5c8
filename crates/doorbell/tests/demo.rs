//! The stories of Web Push, in the real browsers: people who call each other, and whose browsers are closed.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use support::clock::Stopwatch;
use support::{Browser, Chromium, Desktop, Firefox, Person, Star, Woken};

/// Prints a notice when something is missing; in CI that is a failure.
fn firefox_is_here() -> bool {
    Firefox::is_here() && Desktop::is_here()
}

/// The same for Chromium.
fn chromium_is_here() -> bool {
    Chromium::is_here() && Desktop::is_here()
}

#[test]
fn mom_calls_alice_whose_firefox_is_not_running_and_alice_answers_from_the_notification() {
    if firefox_is_here() {
        mom_calls_alice_whose_browser_is_not_running_and_alice_answers_from_the_notification::<Firefox>();
    }
}

#[test]
fn mom_calls_alice_whose_chromium_is_not_running_and_alice_answers_from_the_notification() {
    if chromium_is_here() {
        mom_calls_alice_whose_browser_is_not_running_and_alice_answers_from_the_notification::<Chromium>();
    }
}

/// The same without a desktop part: Alice starts her browser again. It rings long enough for that on a busy machine.
fn mom_calls_alice_whose_browser_is_not_running_and_alice_answers_from_the_notification<B: Browser>() {
    let (star, desktop) = (Star::ringing_for(120), Desktop::start());
    let [mut alice, mut mom] = Person::<B>::all(["Alice", "Mom"], &star, &desktop);
    alice.signs_in();
    alice.becomes_reachable();
    alice.browser.quits();

    mom.signs_in();
    mom.sees(".person[data-name=Alice]", "reachable by push");
    mom.asks_for("video", "Alice");
    mom.sees("#call-state", "Ringing Alice");
    mom.sees("#steps", "accepted by the push service");

    alice.browser.starts_driven();
    desktop.announces("Mom is calling");
    mom.sees("#steps", "shows the notification");
    desktop.chooses("Answer");

    mom.sees("#call-state", "Connected");
    alice.is_led_to_the_page();
    alice.sees("#call-state", "Connected");
    for end in [&mut alice, &mut mom] {
        end.sees("#call-facts", "frames a second");
        end.sees("#call-facts", "sound arrives");
    }
    alice.types("#talk-text", "Hello mom");
    mom.sees("#talk", "Alice: Hello mom");

    mom.clicks("#hang-up");
    alice.sees("#toasts", "The call with Mom is over.");
    mom.sees(".person[data-name=Alice]", "last delivered");
}

#[test]
fn mom_calls_alice_who_has_closed_her_firefox_and_the_notification_rings_and_answers() {
    if firefox_is_here() {
        mom_calls_alice_who_has_closed_her_browser_and_the_notification_rings_and_answers::<Firefox>();
    }
}

#[test]
fn mom_calls_alice_who_has_closed_her_chromium_and_the_notification_rings_and_answers() {
    if chromium_is_here() {
        mom_calls_alice_who_has_closed_her_browser_and_the_notification_rings_and_answers::<Chromium>();
    }
}

/// Story 1: no process of Alice's browser exists when mom calls.
fn mom_calls_alice_who_has_closed_her_browser_and_the_notification_rings_and_answers<B: Woken>() {
    let (star, desktop) = (Star::ringing_for(60), Desktop::start());
    let [mut alice, mut mom] = Person::<B>::all(["Alice", "Mom"], &star, &desktop);
    alice.signs_in();
    alice.becomes_reachable();
    alice.browser.quits();
    let _part = alice.browser.desktop_part(star.push_service(), &star.ca());
    assert_eq!(alice.browser.processes(), Vec::<u32>::new(), "Alice's browser is closed");
    desktop.has_a_background();

    mom.signs_in();
    mom.sees(".person[data-name=Alice]", "reachable by push");
    mom.asks_for("video", "Alice");
    let watch = Stopwatch::start();
    desktop.announces("Mom is calling");
    println!("demo: Alice's closed browser rings {} ms after mom's click", watch.millis());
    mom.sees("#steps", "shows the notification");
    desktop.displays(1);
    desktop.pictures(&format!("closed-{}", B::NAME), Some("800x360+480+0"));
    desktop.chooses("Answer");
    mom.sees("#call-state", "Connected");
    // Picture and sound come from Alice's page, which no driver has opened.
    mom.sees("#call-facts", "frames a second");
    mom.sees("#call-facts", "sound arrives");
    println!("demo: picture and sound of Alice {} ms after mom's click", watch.millis());
    mom.clicks("#hang-up");
    mom.sees(".person[data-name=Alice]", "last delivered");
}

#[test]
fn bob_leaves_a_voice_mail_in_firefox_and_answers_alice_who_calls_back_although_his_page_is_closed() {
    if firefox_is_here() {
        bob_leaves_a_voice_mail_and_answers_alice_who_calls_back_although_his_page_is_closed::<Firefox>();
    }
}

#[test]
fn bob_leaves_a_voice_mail_in_chromium_and_answers_alice_who_calls_back_although_his_page_is_closed() {
    if chromium_is_here() {
        bob_leaves_a_voice_mail_and_answers_alice_who_calls_back_although_his_page_is_closed::<Chromium>();
    }
}

/// Story 2. The browser that gets the voice mail decodes it.
fn bob_leaves_a_voice_mail_and_answers_alice_who_calls_back_although_his_page_is_closed<B: Browser>() {
    let (star, desktop) = (Star::ringing_for(60), Desktop::start());
    let [mut alice, mut bob] = Person::<B>::all(["Alice", "Bob"], &star, &desktop);
    alice.signs_in();
    alice.becomes_reachable();
    alice.browser.closes_the_page();

    bob.signs_in();
    bob.becomes_reachable();
    bob.asks_for("audio", "Alice");
    desktop.announces("Bob is calling");
    desktop.chooses("Decline");
    bob.sees("#toasts", "Alice does not take the call.");
    bob.clicks("#toasts button:not(:last-child)");
    bob.clicks("#record-start");
    bob.sees("#record-state", "Recording: 2 s");
    bob.clicks("#record-send");
    bob.sees("#toasts", "Your voice mail is left for Alice.");
    desktop.announces("Voice mail from Bob");
    bob.browser.closes_the_page();

    alice.opens_the_page();
    alice.sees("#voice-mails .new", "Bob");
    assert!(alice.plays_the_voice_mail() >= 1.0, "it is as long as the recording");
    alice.sees("#voice-mails li:not(.new)", "Bob");
    alice.clicks("#voice-mails .actions button");

    desktop.announces("Alice is calling");
    desktop.chooses("Answer");
    alice.sees("#call-state", "Connected");
    bob.is_led_to_the_page();
    bob.sees("#call-facts", "sound arrives");
    alice.sees("#call-facts", "sound arrives");
    bob.types("#talk-text", "You called back");
    alice.sees("#talk", "Bob: You called back");
}

/// Across: Chromium's endpoints name a host of Google's, and the demo still sends to its own push service.
#[test]
fn a_chromium_and_a_firefox_call_each_other_and_leave_messages() {
    if !(firefox_is_here() && chromium_is_here()) {
        return;
    }
    let (star, desktop) = (Star::ringing_for(60), Desktop::start());
    let mut alice = Person::<Firefox>::new("Alice", &star, &desktop);
    let mut mom = Person::<Chromium>::new("Mom", &star, &desktop);
    alice.signs_in();
    alice.becomes_reachable();
    alice.browser.closes_the_page();
    mom.signs_in();
    mom.becomes_reachable();
    mom.browser.can_install_the_page();

    mom.asks_for("video", "Alice");
    desktop.announces("Mom is calling");
    desktop.chooses("Answer");
    mom.sees("#call-state", "Connected");
    alice.is_led_to_the_page();
    alice.sees("#call-facts", "frames a second");
    mom.sees("#call-facts", "frames a second");
    mom.types("#talk-text", "From Chromium");
    alice.sees("#talk", "Mom: From Chromium");
    mom.clicks("#hang-up");
    alice.sees("#toasts", "The call with Mom is over.");

    alice.asks_for("audio", "Mom");
    mom.sees("#call-state", "is calling");
    desktop.announces("Alice is calling");
    desktop.displays(1);
    desktop.pictures("demo-chromium", None);
    alice.sees("#steps", "shows the notification");
    mom.clicks("#answer");
    alice.sees("#call-facts", "sound arrives");
    mom.sees("#call-facts", "sound arrives");
    alice.clicks("#hang-up");
    mom.sees("#toasts", "The call with Alice is over.");

    mom.browser.closes_the_page();
    alice.writes("Good night", "Mom");
    alice.sees("#messages", "delivered");
}

#[test]
fn a_firefox_that_comes_too_late_does_not_ring_and_shows_a_missed_call() {
    if firefox_is_here() {
        a_browser_that_comes_too_late_does_not_ring_and_shows_a_missed_call::<Firefox>();
    }
}

#[test]
fn a_chromium_that_comes_too_late_does_not_ring_and_shows_a_missed_call() {
    if chromium_is_here() {
        a_browser_that_comes_too_late_does_not_ring_and_shows_a_missed_call::<Chromium>();
    }
}

/// The caller gives up while Alice's browser is not running: when it starts it does not ring, and shows the missed call.
fn a_browser_that_comes_too_late_does_not_ring_and_shows_a_missed_call<B: Browser>() {
    let (star, desktop) = (Star::ringing_for(60), Desktop::start());
    let [mut alice, mut mom] = Person::<B>::all(["Alice", "Mom"], &star, &desktop);
    alice.signs_in();
    alice.becomes_reachable();
    alice.browser.quits();
    mom.signs_in();
    mom.asks_for("audio", "Alice");
    mom.sees("#steps", "accepted by the push service");
    mom.clicks("#hang-up");
    mom.sees("#steps", "the call is over: withdrawn");
    mom.writes("Call me when you are back", "Alice");
    mom.sees("#messages", "accepted by the push service");

    alice.browser.starts_driven();
    // Two pushes that a browser has at the same time may be shown in either order.
    let titles = [desktop.next_title(), desktop.next_title()];
    let [missed, message] = ["Missed call from Mom", "Mom"].map(|title| titles.iter().position(|t| t == title));
    assert!(missed.is_some() && message.is_some(), "{titles:?}");
    mom.sees("#messages", "delivered");
    if missed > message {
        desktop.closes();
    }
    desktop.clicks();
    alice.is_led_to_the_page();
    alice.sees("#messages", "Call me when you are back");
    mom.sees("#messages", "seen");
}

#[test]
fn a_call_that_ends_before_the_server_has_answered_does_not_go_on_ringing() {
    if !firefox_is_here() {
        return;
    }
    let (star, desktop) = (Star::ringing_for(60), Desktop::start());
    let [mut alice, mut mom] = Person::<Firefox>::all(["Alice", "Mom"], &star, &desktop);
    alice.signs_in();
    alice.becomes_reachable();
    mom.signs_in();
    mom.asks_for_and_hangs_up_at_once("audio", "Alice");
    mom.sees("#steps", "the call is over: withdrawn");
}

/// The page repairs by itself what it can; it explains what only a user can do.
#[test]
fn a_lost_subscription_is_replaced_and_blocked_notifications_are_shown_with_what_to_do() {
    if !firefox_is_here() {
        return;
    }
    let (star, desktop) = (Star::ringing_for(60), Desktop::start());
    let mut alice = Person::<Firefox>::new("Alice", &star, &desktop);
    alice.signs_in();
    alice.becomes_reachable();
    alice.loses_the_subscription();
    alice.clicks("#trial");
    alice.sees("#steps", "has unsubscribed");
    alice.sees("#steps", "it takes the place of the one that was lost");
    alice.clicks(".menu summary");
    alice.sees("#my-devices", "(this one): takes pushes");
    alice.clicks("#trial");
    desktop.announces("It works");

    alice.browser.blocks_notifications();
    alice.opens_the_page();
    alice.sees("#reachable-title", "Notifications are blocked");
    alice.sees("#reachable-words", "click the icon in the address bar");
}

/// How long it takes from the call to the notification, and where the time goes: the figures of docs/performance.md.
#[test]
#[ignore = "it measures, for some minutes: cargo test -p doorbell --release --test demo -- --ignored --nocapture"]
fn ring_latency_over_fifty_calls() {
    if !firefox_is_here() {
        return;
    }
    let (star, desktop) = (Star::ringing_for(60), Desktop::start());
    let [mut alice, mut mom] = Person::<Firefox>::all(["Alice", "Mom"], &star, &desktop);
    alice.signs_in();
    alice.becomes_reachable();
    alice.browser.closes_the_page();
    mom.signs_in();
    let steps = ["accepted by the push service", "has it", "shows the notification"];
    let mut took = vec![Vec::new(); steps.len()];
    for _ in 0..50 {
        mom.asks_for("audio", "Alice");
        desktop.announces("Mom is calling");
        mom.sees(".story:first-child", "shows the notification");
        for (step, took) in steps.iter().zip(&mut took) {
            took.push(mom.reads_when(step));
        }
        // They stay on the screen: Firefox ends the subscription of a site whose pushes leave neither a page nor a
        // notification behind.
        mom.clicks("#hang-up");
        desktop.announces("Missed call from Mom");
        mom.sees(".story:first-child", "the call is over");
    }
    println!("{:<30} {:>8} {:>8} {:>8}", "ms after the call", "median", "p90", "most");
    for (step, took) in steps.iter().zip(&mut took) {
        took.sort_unstable();
        println!("{step:<30} {:>8} {:>8} {:>8}", took[25], took[45], took[49]);
    }
}

/// Pictures for people to look at: `target/e2e/demo-*.png`. In each scene axe judges the page, too.
#[test]
fn the_page_is_pictured_in_each_scene_and_everybody_can_use_it() {
    if !firefox_is_here() || !Person::judge_is_here() {
        return;
    }
    let (star, desktop) = (Star::ringing_for(120), Desktop::start());
    let [mut alice, mut mom] = Person::<Firefox>::all(["Alice", "Mom"], &star, &desktop);
    let mut another = mom.beside("Alice");
    alice.opens_the_page();
    alice.sees("#sign-in-title", "Rings");
    alice.is_looked_at("sign-in");
    alice.signs_in();
    alice.sees("#reachable", "Be reachable");
    alice.is_looked_at("first");
    another.opens_the_page();
    another.sees("#sign-in-title", "Rings");
    another.types("#name", "Alice");
    another.sees("#sign-in-words", "Alice is signed in already, on another device. If it is you:");
    another.is_looked_at("name-taken");
    another.clicks("#other-name");
    another.sees("#my-name", "Alice 2");
    another.clicks(".menu summary");
    another.clicks("#sign-out");
    alice.sees("#alone", "There is no one else here yet.");
    alice.becomes_reachable();
    alice.clicks("#trial");
    alice.sees("#steps", "shows the notification");

    alice.clicks(".menu summary");
    alice.is_looked_at("menu");
    alice.clicks(".menu [data-invite=person]");
    alice.sees("#invite-words", "a name of their own");
    alice.is_looked_at("invite");
    alice.clicks("#invite-close");

    mom.signs_in();
    mom.becomes_reachable();
    alice.asks_for("voice", "Mom");
    alice.clicks("#record-start");
    alice.sees("#record-state", "Recording: 1 s");
    alice.is_looked_at("record");
    alice.clicks("#record-send");
    alice.clicks("#toasts button");
    mom.sees("#voice-mails", "Alice");
    mom.is_looked_at("voice-mail");

    alice.writes("Are you coming to dinner?", "Mom");
    mom.writes("At seven. Shall I bring the cake?", "Alice");
    alice.sees("#messages", "cake");
    alice.types("#chat-text", "Yes, please!");
    mom.sees("#messages", "please");
    alice.sees("#messages", "seen");
    alice.is_looked_at("home");

    desktop.clears();
    mom.clicks("#chat-actions [data-act=video]");
    alice.sees("#call-state", "is calling");
    desktop.announces("Mom is calling");
    desktop.displays(1);
    desktop.pictures("demo-notification", Some("340x130+940+84"));
    alice.is_looked_at("rung");
    alice.clicks("#answer");
    alice.sees("#call-facts", "frames a second");
    alice.types("#talk-text", "Hello mom");
    alice.is_looked_at("call");
}
