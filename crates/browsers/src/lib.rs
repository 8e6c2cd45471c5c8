//! Finds, prepares and starts Firefox and Chromium so that they receive from a push service of one's own.
//!
//! A caller names the [`PushService`], prepares a [`Profile`] for it ([`Firefox::prepare`], [`Chromium::prepare`]) and
//! starts the browser with the command that it gets ([`start`], or [`replace_this_process`]):
//!
//! ```no_run
//! use std::path::Path;
//!
//! use doorbell_browsers::{BrowserError, Firefox, Preparation, PushService};
//!
//! # fn main() -> Result<(), BrowserError> {
//! let service = PushService::parse("https://push.example.org")?;
//! let firefox = Firefox::find()?;
//! let preparation = Preparation { service: &service, ca: None, folder: Path::new("/tmp/profile"), fresh: false };
//! let profile = firefox.prepare(&preparation, |notice| eprintln!("{notice}"))?;
//! let child = doorbell_browsers::start(firefox.command(&profile))?;
//! # Ok(())
//! # }
//! ```
//!
//! A profile is always a folder of this crate's own: the user's profiles are never touched.

mod error;
mod pem;
mod profile;
mod program;
mod push_service;
mod started;

pub mod chromium;
pub mod firefox;

pub use chromium::Chromium;
pub use error::BrowserError;
pub use firefox::Firefox;
pub use profile::{Notice, Preparation, Profile, folder_of};
pub use program::{replace_this_process, start};
pub use push_service::PushService;
pub use started::Started;
