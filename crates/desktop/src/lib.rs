//! Wakes closed browsers when a message waits: the desktop part of Doorbell.
//!
//! A resident process of a user's session holds the wake door of the push service for some browser profiles. When the
//! service reports that messages wait and no browser works with the profile, [`run`] starts the browser without a window.
//! The browser connects to the push service, the service worker of the site shows its notification, and the browser ends
//! by itself when nothing is left to do. Messages and their keys never reach this process.
//!
//! Firefox ESR is woken; see [`firefox`]. [`rules`] decides when, without IO.

mod clock;
mod error;
mod profile;
mod report;
#[allow(dead_code, reason = "`run` does not use it yet")]
mod scope;
#[allow(dead_code, unused_imports, reason = "`run` does not use it yet")]
mod session;
mod wake_door;

pub mod firefox;
pub mod rules;

use std::path::PathBuf;

use doorbell_browsers::Firefox;
use doorbell_browsers::firefox::is_profile;
use doorbell_protocol::headers::urgency::Urgency;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use url::Url;

use clock::Clock;
use firefox::Application;
use profile::Profile;
use rules::{Bounds, Rules};
use wake_door::{Follower, WakeDoor};

pub use error::DesktopError;
pub use report::Report;
pub use wake_door::Trust;

/// Reports that the caller has not taken yet; the desktop part waits while there are this many.
const REPORTS_MAX: usize = 64;

/// What the desktop part is started with.
#[derive(Debug)]
pub struct Config {
    /// The push service, `https://…`.
    pub url: Url,
    /// The authorities that identify it.
    pub trust: Trust,
    /// Messages below this urgency wake no browser.
    pub floor: Urgency,
    /// The Firefox that is woken.
    pub firefox: Firefox,
    /// The folders of its profiles, prepared by `doorbell firefox`.
    pub profiles: Vec<PathBuf>,
    /// Where the folder of links is kept.
    pub application: PathBuf,
    /// How often a profile may be woken.
    pub bounds: Bounds,
}

/// Checks and prepares everything, then wakes browsers until the future is dropped. Each step is given to `report`.
///
/// # Errors
/// [`DesktopError`] before anything is connected: a folder that is not a profile, a Firefox that cannot be woken, an
/// address without a wake door. Later errors are reported, and what failed is tried again.
pub async fn run(config: Config, mut report: impl FnMut(Report)) -> Result<(), DesktopError> {
    if ["DISPLAY", "WAYLAND_DISPLAY"].iter().all(|name| std::env::var_os(name).is_none()) {
        return Err(DesktopError::NoDisplay);
    }
    if let Some(other) = config.profiles.iter().find(|folder| !is_profile(folder)) {
        return Err(DesktopError::NotAProfile(other.clone()));
    }
    let application = Application::prepare(&config.firefox, &config.application)?;
    let (reports, mut reported) = mpsc::channel(REPORTS_MAX);
    let door = WakeDoor::new(config.url, config.trust, config.floor, reports.clone())?;
    let mut tasks = JoinSet::new();
    let mut followers = Vec::new();
    for folder in config.profiles {
        let (follower, events) = Follower::of(folder.clone());
        followers.push(follower);
        let (rules, clock) = (Rules::new(config.bounds), Clock::start());
        let profile = Profile { folder, application: application.clone(), rules, clock, reports: reports.clone() };
        tasks.spawn(profile.keep(events));
    }
    tasks.spawn(door.follow(followers));
    drop(reports);
    while let Some(next) = reported.recv().await {
        report(next);
    }
    Ok(())
}
