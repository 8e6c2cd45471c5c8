//! The tutorial's stories on machines without a microphone or a camera, such as this one: a call rings and connects with
//! what there is, and the page says so.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use serde_json::json;
use support::{Browser, Chromium, Desktop, Firefox, Person, Star, Woken};

/// What the page says about its own end of a video call with Alice.
const NEITHER: &str = "There is no microphone. Alice hears a test tone. There is no camera. Alice sees a test picture.";

#[test]
fn without_a_microphone_and_a_camera_a_closed_firefox_rings_and_the_call_connects() {
    if Firefox::is_here() && Desktop::is_here() {
        without_a_microphone_and_a_camera_a_closed_browser_rings_and_the_call_connects::<Firefox>();
    }
}

#[test]
fn without_a_microphone_and_a_camera_a_closed_chromium_rings_and_the_call_connects() {
    if Chromium::is_here() && Desktop::is_here() {
        without_a_microphone_and_a_camera_a_closed_browser_rings_and_the_call_connects::<Chromium>();
    }
}

/// The tutorial, from its first step to its last.
fn without_a_microphone_and_a_camera_a_closed_browser_rings_and_the_call_connects<B: Woken>() {
    let (star, desktop) = (Star::ringing_for(120), Desktop::start());
    let [mut alice, mut mom] = Person::<B>::all(["Alice", "Mom"], &star, &desktop);
    alice.browser.has_no_devices();
    mom.browser.has_no_devices();
    alice.signs_in();
    alice.becomes_reachable();
    mom.signs_in();
    // Two windows of one browser look alike.
    for (person, title) in [(&mut alice, "Alice – Ringo’s Star"), (&mut mom, "Mom – Ringo’s Star")] {
        assert_eq!(person.browser.runs("return document.title", json!([])), json!(title));
    }
    alice.sees("#next", "close this browser, and call from the page of Mom");
    mom.sees("#next", "close the browser of Alice, and call Alice from here");
    mom.becomes_reachable();
    alice.sees(".person[data-name=Mom]", "reachable by push");
    alice.browser.quits();
    let part = alice.browser.desktop_part(star.push_service(), &star.ca());
    assert_eq!(alice.browser.processes(), Vec::<u32>::new(), "Alice's browser is closed");

    mom.asks_for("video", "Alice");
    mom.sees("#call-lacks", NEITHER);
    mom.sees("#call-state", "Ringing Alice");
    desktop.announces("Mom is calling");
    desktop.chooses("Answer");
    mom.sees("#call-state", "Connected");
    // Alice's page has not been clicked: it sends its picture, and its sound only if the browser lets it.
    mom.sees("#call-facts", "frames a second");
    mom.clicks("#hang-up");
    drop(part);
}

#[test]
fn without_a_microphone_two_firefoxes_talk_leave_a_voice_mail_and_call_back() {
    if Firefox::is_here() && Desktop::is_here() {
        without_a_microphone_two_browsers_talk_leave_a_voice_mail_and_call_back::<Firefox>();
    }
}

#[test]
fn without_a_microphone_two_chromiums_talk_leave_a_voice_mail_and_call_back() {
    if Chromium::is_here() && Desktop::is_here() {
        without_a_microphone_two_browsers_talk_leave_a_voice_mail_and_call_back::<Chromium>();
    }
}

/// Both ends receive what the other end sends in place of its devices.
fn without_a_microphone_two_browsers_talk_leave_a_voice_mail_and_call_back<B: Browser>() {
    let (star, desktop) = (Star::ringing_for(120), Desktop::start());
    let [mut alice, mut mom] = Person::<B>::all(["Alice", "Mom"], &star, &desktop);
    for person in [&mut alice, &mut mom] {
        person.browser.has_no_devices();
        person.signs_in();
        person.becomes_reachable();
    }
    mom.asks_for("audio", "Alice");
    alice.sees("#call-state", "is calling");
    alice.clicks("#hang-up");
    mom.sees("#toasts", "Alice does not take the call.");
    mom.clicks("#toasts button:not(:last-child)");
    mom.clicks("#record-start");
    mom.sees("#record-lacks", "There is no microphone. Alice hears a test tone.");
    mom.sees("#record-state", "Recording: 2 s");
    mom.clicks("#record-send");
    alice.sees("#voice-mails .new", "Mom");
    assert!(alice.plays_the_voice_mail() >= 1.0, "it is as long as the recording");

    alice.asks_for("video", "Mom");
    mom.sees("#call-state", "is calling");
    mom.clicks("#answer");
    mom.sees("#call-lacks", NEITHER);
    for person in [&mut alice, &mut mom] {
        person.sees("#call-state", "Connected");
        person.sees("#call-facts", "frames a second");
        person.sees("#call-facts", "sound arrives");
    }
    alice.types("#talk-text", "I hear a tone");
    mom.sees("#talk", "Alice: I hear a tone");
    mom.types("#talk-text", "Me too");
    alice.sees("#talk", "Mom: Me too");
    mom.clicks("#hang-up");
    alice.sees("#toasts", "The call with Mom is over.");
}

/// Nothing can stand in for the microphone either: this end receives.
#[test]
fn a_firefox_that_can_send_no_sound_at_all_calls_and_receives_sound() {
    if !(Firefox::is_here() && Desktop::is_here()) {
        return;
    }
    let (star, desktop) = (Star::ringing_for(120), Desktop::start());
    let mut alice = Person::<Firefox>::new("Alice", &star, &desktop);
    let mut mom = alice.beside("Mom");
    mom.browser.has_no_devices();
    mom.browser.will_prefer("dom.webaudio.enabled", &json!(false));
    alice.signs_in();
    mom.signs_in();
    mom.asks_for("audio", "Alice");
    mom.sees("#call-lacks", "There is no microphone. Alice hears nothing.");
    alice.clicks("#answer");
    mom.sees("#call-facts", "sound arrives");
    alice.types("#talk-text", "I hear nothing");
    mom.sees("#talk", "Alice: I hear nothing");
}

#[test]
fn without_a_camera_a_video_call_has_the_microphone_and_a_test_picture() {
    if !(Chromium::is_here() && Desktop::is_here()) {
        return;
    }
    let (star, desktop) = (Star::ringing_for(120), Desktop::start());
    let [mut alice, mut mom] = Person::<Chromium>::all(["Alice", "Mom"], &star, &desktop);
    mom.browser.has_no_camera();
    alice.signs_in();
    mom.signs_in();
    mom.asks_for("video", "Alice");
    mom.sees("#call-lacks", "There is no camera. Alice sees a test picture.");
    alice.clicks("#answer");
    for person in [&mut alice, &mut mom] {
        person.sees("#call-facts", "frames a second");
        person.sees("#call-facts", "sound arrives");
    }
    alice.sees_no_more("#call-lacks");
}
