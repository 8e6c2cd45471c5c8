//! Chromium: switches that name the push service, and a profile that trusts its certificate authority.

mod extension;
mod origin;
mod policies;
mod preferences;
mod profile;
mod switches;
mod trust;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::BrowserError;
use crate::pem::Authorities;
use crate::profile::{Notice, Preparation, Profile};
use crate::program;
use crate::push_service::PushService;

pub use origin::{Origin, OriginError};
pub use policies::policies;
pub use switches::debian_flags;

/// The folder of its profiles in a state directory.
pub const FOLDER: &str = "chromium";

const KIND: program::Kind = program::Kind {
    name: "Chromium",
    programs: &["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"],
    install: "install the package chromium",
};

/// An installed Chromium.
#[derive(Clone, Debug)]
pub struct Chromium {
    program: PathBuf,
}

impl Chromium {
    /// The first on the PATH.
    pub fn find() -> Result<Self, BrowserError> {
        program::find(&KIND).map(|program| Self { program })
    }

    /// The one in this file.
    pub fn at(file: &Path) -> Result<Self, BrowserError> {
        program::named(file).map(|program| Self { program })
    }

    /// Makes a profile trust the authority, and lets the sites in `allow` show notifications without asking. A profile
    /// stays with one push service, since its subscriptions do.
    pub fn prepare(
        &self,
        p: &Preparation<'_>,
        allow: &[Origin],
        mut notice: impl FnMut(Notice),
    ) -> Result<Profile, BrowserError> {
        // An address that Chromium cannot use is an error before anything is written.
        switches::push(p.service)?;
        let profile = profile::open(p.folder, p.fresh)?;
        profile::belongs_to(&profile, &p.service.origin())?;
        if let Some(file) = p.ca
            && trust::add(&profile, &Authorities::read(file)?)?
        {
            notice(Notice::Trusted(file.to_owned()));
        }
        preferences::allow(&profile, allow)?;
        Ok(profile)
    }

    /// Starts it with this profile and push service. Add the pages to open, or its own switches.
    pub fn command(&self, profile: &Profile, service: &PushService) -> Result<Command, BrowserError> {
        let mut command = Command::new(&self.program);
        command.arg(switches::profile(profile.folder())).args(switches::push(service)?).args(switches::TRYING_OUT);
        Ok(command)
    }
}

/// Puts an extension into the profile by which pages see `service` in their endpoints, and makes `command` load it: for
/// sites whose backend the user cannot change.
pub fn rewrite_endpoints(command: &mut Command, profile: &Profile, service: &PushService) -> Result<(), BrowserError> {
    command.arg(extension::install(profile, &service.origin())?);
    Ok(())
}
