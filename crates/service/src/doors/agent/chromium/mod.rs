//! The door of unmodified Chromium: check-in and registration over HTTP, then MCS, on the same port as everything else.
//!
//! `checkin` makes a browser a device, `registration` makes a page's subscription, and `session` delivers. `address` is
//! what a delivery has to repeat of a registration, and `answer` has everything that is said when something is not done.
//! A device is an agent like any other; its id and secret come out of the capability keys, so that nothing is stored
//! before the first subscription.
//!
//! The endpoint that a page gets has a host of Google's, which is compiled in: whoever sends puts our origin in its place
//! and keeps the path, so that the push resource answers at Chromium's paths too.

mod address;
mod answer;
mod checkin;
mod registration;
mod session;

use doorbell_protocol::id::AgentId;

use crate::config::ChromiumSettings;
use crate::doors::buckets::Table;

/// Where Chromium checks in, by what `--gcm-checkin-url` has to say.
pub(in crate::doors) const CHECKIN_PATH: &str = "/checkin";

/// Where Chromium registers, by what `--gcm-registration-url` has to say.
pub(in crate::doors) const REGISTRATION_PATH: &str = "/c2dm/register3";

/// The paths of endpoints, by the channel and the age of the browser.
const ENDPOINTS: [&str; 3] = ["/fcm/send/", "/wp/", "/preprod/wp/"];

/// What the door knows beside what all doors know.
pub(in crate::doors) struct Chromium {
    settings: ChromiumSettings,
    /// One bucket for the whole service: who is new has no name yet. Whoever empties it keeps other new devices out, which
    /// is what the setting weighs against ids without end.
    enrolments: Table<()>,
    /// Registrations are what is stored.
    registrations: Table<AgentId>,
}

/// Registrations that one device may make in a minute: more than a person's clicks do.
const REGISTRATIONS_PER_MINUTE: u32 = 60;

impl Chromium {
    pub(in crate::doors) fn new(settings: ChromiumSettings) -> Self {
        let registrations = Table::new("the device", REGISTRATIONS_PER_MINUTE);
        Self { settings, enrolments: Table::new("the service", settings.enrolments_per_minute), registrations }
    }

    /// Whether the door is open.
    pub(in crate::doors) fn is_open(&self) -> bool {
        self.settings.enabled
    }

    /// The token of a push resource that `path` names in Chromium's way.
    pub(in crate::doors) fn push_token<'a>(&self, path: &'a str) -> Option<&'a str> {
        ENDPOINTS.iter().filter(|_| self.is_open()).find_map(|endpoint| path.strip_prefix(endpoint))
    }
}
