//! The door of unmodified Chromium: check-in and registration over HTTP, then MCS, on the same port as everything else.
//!
//! `checkin` makes a browser a device, `registration` creates a page's subscription or returns the wake credential of
//! Doorbell's extension, and `session` delivers. `address`
//! is the part of a registration that a delivery repeats, and `answer` has all rejections. A device is an agent like
//! any other. Its id and secret derive from the capability keys, so that nothing is stored before the first
//! subscription.
//!
//! The endpoint that a page gets has one of Google's hosts, which is compiled in. The sender replaces the host with our
//! origin and keeps the path, so the push resource also answers at Chromium's paths.

mod address;
mod answer;
mod checkin;
mod registration;
mod session;

use std::sync::atomic::{AtomicBool, Ordering};

use doorbell_protocol::id::AgentId;

use crate::config::ChromiumSettings;
use crate::doors::buckets::Table;
use crate::doors::growth::{self, Growth};

/// The path for `--gcm-checkin-url`.
pub(in crate::doors) const CHECKIN_PATH: &str = "/checkin";

/// The path for `--gcm-registration-url`.
pub(in crate::doors) const REGISTRATION_PATH: &str = "/c2dm/register3";

/// The paths of endpoints: they depend on the browser's channel and version.
const ENDPOINTS: [&str; 3] = ["/fcm/send/", "/wp/", "/preprod/wp/"];

/// The state of this door, in addition to the state of all doors.
pub(in crate::doors) struct Chromium {
    is_open: AtomicBool,
    /// New devices, which have no names yet. The settings weigh those that they keep out against unlimited ids.
    enrolments: Growth,
    /// Limited, because each registration is stored.
    registrations: Table<AgentId>,
}

/// The maximum of one device's registrations per minute: more than a person's clicks cause.
const REGISTRATIONS_PER_MINUTE: u32 = 60;

impl Chromium {
    pub(in crate::doors) fn new(settings: &ChromiumSettings) -> Self {
        let registrations = Table::new("the device", REGISTRATIONS_PER_MINUTE);
        let enrolments = Growth::new("Chromium browsers", bounds(settings));
        Self { is_open: AtomicBool::new(settings.enabled), enrolments, registrations }
    }

    /// Takes over other settings. A door that closes turns new requests and logins away; the devices that are connected
    /// stay until they leave.
    pub(in crate::doors) fn set(&self, settings: &ChromiumSettings) {
        self.is_open.store(settings.enabled, Ordering::Relaxed);
        self.enrolments.set(bounds(settings));
    }

    /// The budget of new devices.
    pub(in crate::doors) fn enrolments(&self) -> &Growth {
        &self.enrolments
    }

    /// Whether the door is open.
    pub(in crate::doors) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// The token of a push resource, if `path` is one of Chromium's forms.
    pub(in crate::doors) fn push_token<'a>(&self, path: &'a str) -> Option<&'a str> {
        ENDPOINTS.iter().filter(|_| self.is_open()).find_map(|endpoint| path.strip_prefix(endpoint))
    }
}

/// The service stores nothing for an enrolment, so a day has no limit.
fn bounds(settings: &ChromiumSettings) -> growth::Bounds {
    growth::Bounds {
        per_minute: settings.enrolments_per_minute,
        per_minute_of_source: settings.enrolments_per_source,
        per_day_of_source: 0,
    }
}
