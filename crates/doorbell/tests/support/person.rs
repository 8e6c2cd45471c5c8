//! A person before a browser, at the demo's page: does what people do, and sees what they see.

use serde_json::{Value, json};

use super::browser::Browser;
use super::desktop::Desktop;
use super::firefox::Firefox;
use super::star::Star;

/// Is fulfilled when an element that is visible shows the words.
const SEEN: &str = r#"
const [selector, words] = arguments;
return new Promise((resolve, reject) => {
  const until = Date.now() + 60000;
  const look = () => {
    const found = [...document.querySelectorAll(selector)].some((e) => e.checkVisibility() && e.innerText.includes(words));
    if (found) resolve(true);
    else if (Date.now() > until) reject(new Error(`no ${selector} shows "${words}" in: ${document.body.innerText}`));
    else setTimeout(look, 50);
  };
  look();
});"#;

/// Clicks an element as soon as it is there.
const CLICKED: &str = r#"
const [selector] = arguments;
return new Promise((resolve, reject) => {
  const until = Date.now() + 60000;
  const look = () => {
    const element = [...document.querySelectorAll(selector)].find((e) => e.checkVisibility() && !e.disabled);
    if (element) resolve(element.click());
    else if (Date.now() > until) reject(new Error(`no ${selector} to click in: ${document.body.innerText}`));
    else setTimeout(look, 50);
  };
  look();
});"#;

const TYPED: &str = r#"
const [selector, words] = arguments;
const field = document.querySelector(selector);
field.value = words;
field.form.requestSubmit();"#;

const WHEN: &str = r#"
const steps = [...document.querySelectorAll(".story:first-child li")];
const step = steps.find((step) => step.innerText.includes(arguments[0]));
return step.querySelector("time").innerText.match(/\d+/)[0];"#;

/// Hangs up as soon as the page has asked the server for a call.
const HUNG_UP_AT_ONCE: &str = "
const real = window.fetch;
window.fetch = (resource, init) => {
  const answer = real(resource, init);
  if (resource === '/api/calls') {
    window.fetch = real;
    document.querySelector('#hang-up').click();
  }
  return answer;
};";

const LOST: &str = r#"
return navigator.serviceWorker.ready
  .then(({ pushManager }) => pushManager.getSubscription())
  .then((subscription) => subscription.unsubscribe());"#;

/// Starts the first voice mail, which fails on a machine without a sound device, and decodes it, which needs none: its
/// duration in seconds.
const PLAYED: &str = r#"
const player = document.querySelector('#voice-mails audio');
player.play().catch(() => {});
const decoder = new OfflineAudioContext(1, 48000, 48000);
return fetch(player.src)
  .then((response) => response.arrayBuffer())
  .then((sound) => decoder.decodeAudioData(sound))
  .then(({ duration }) => duration);"#;

/// A user with a name.
pub struct Person<B> {
    name: &'static str,
    site: String,
    pub browser: B,
}

impl Person<Firefox> {
    /// A user with another Firefox that is prepared in the same way, before this one is started.
    pub fn beside(&self, name: &'static str) -> Self {
        Self { name, site: self.site.clone(), browser: self.browser.another() }
    }
}

impl<B: Browser> Person<B> {
    /// With a browser of their own, whose push service is the demo's.
    pub fn new(name: &'static str, star: &Star, desktop: &Desktop) -> Self {
        Self { name, site: star.site().to_owned(), browser: B::new(star, desktop) }
    }

    /// The same for several.
    pub fn all<const N: usize>(names: [&'static str; N], star: &Star, desktop: &Desktop) -> [Self; N] {
        names.map(|name| Self::new(name, star, desktop))
    }

    /// Opens the page and signs in.
    pub fn signs_in(&mut self) {
        self.opens_the_page();
        self.clicks("#sign-in-form summary");
        self.types("#name", self.name);
        self.sees("#my-name", self.name);
    }

    /// Opens the page.
    pub fn opens_the_page(&mut self) {
        let site = self.site.clone();
        self.browser.visits(&site);
    }

    /// Waits until the page that a click on a notification has opened is there.
    pub fn is_led_to_the_page(&mut self) {
        let site = self.site.clone();
        self.browser.turns_to_the_page_of(&site);
    }

    /// Allows pushes, and is available from then on.
    pub fn becomes_reachable(&mut self) {
        self.clicks("#enable");
        self.sees("#steps", "it can ring this device");
    }

    /// The browser ends its subscription, and the server does not learn of it: as after a loss on either side.
    pub fn loses_the_subscription(&mut self) {
        let ended = self.browser.runs(LOST, json!([]));
        assert_eq!(ended, Value::Bool(true));
    }

    /// Clicks a button next to a name: `audio`, `video` or `voice`.
    pub fn asks_for(&mut self, what: &str, other: &str) {
        self.clicks(&format!(".person[data-name='{other}'] button[data-act={what}]"));
    }

    /// Calls a person, and hangs up before the server has answered.
    pub fn asks_for_and_hangs_up_at_once(&mut self, what: &str, other: &str) {
        self.browser.does(HUNG_UP_AT_ONCE, json!([]));
        self.asks_for(what, other);
    }

    /// Opens the conversation with a person, and writes.
    pub fn writes(&mut self, text: &str, other: &str) {
        self.clicks(&format!(".person[data-name='{other}'] .words button"));
        self.sees("#chat-title", other);
        self.types("#chat-text", text);
    }

    /// Plays the newest voice mail: how many seconds it has.
    pub fn plays_the_voice_mail(&mut self) -> f64 {
        self.browser.does(PLAYED, json!([])).as_f64().expect("a duration")
    }

    /// Waits until a part of the page shows the words.
    pub fn sees(&mut self, selector: &str, words: &str) {
        let seen = self.browser.runs(SEEN, json!([selector, words]));
        assert_eq!(seen, Value::Bool(true));
    }

    /// When a step of the newest story was, in milliseconds after the story began.
    pub fn reads_when(&mut self, step: &str) -> u64 {
        let when = self.browser.runs(WHEN, json!([step]));
        when.as_str().and_then(|when| when.parse().ok()).unwrap_or_else(|| panic!("no time for {step:?}: {when}"))
    }

    /// Clicks, as soon as there is something to click.
    pub fn clicks(&mut self, selector: &str) {
        self.browser.does(CLICKED, json!([selector]));
    }

    /// Fills a field and sends its form.
    pub fn types(&mut self, selector: &str, words: &str) {
        self.browser.does(TYPED, json!([selector, words]));
    }
}
