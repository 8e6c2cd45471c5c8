//! Chromium: switches that name the push service, and a profile that trusts its certificate authority.

mod extension;
mod origin;
mod policies;
mod preferences;
mod profile;
mod reachable;
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
pub use profile::{is_profile, mcs_of, process_of, service_of};
pub use reachable::{EXTENSION_ID, forget_reachable, keep_reachable, reachable_extension};
pub use switches::debian_flags;

/// The folder of its profiles in a state directory.
pub const FOLDER: &str = "chromium";

/// The switch of a Chromium that is started without a window.
pub const WINDOWLESS: &str = "--no-startup-window";

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

    /// Its program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Makes a profile trust the authority, and lets the sites in `allow` show notifications without asking. A profile
    /// stays with one push service, since its subscriptions do, and keeps the address of the stream of messages that the
    /// service has last been given.
    pub fn prepare(
        &self,
        p: &Preparation<'_>,
        allow: &[Origin],
        mut notice: impl FnMut(Notice),
    ) -> Result<Profile, BrowserError> {
        // An address that Chromium cannot use is an error before anything is written.
        switches::push(p.service, p.service.mcs())?;
        let profile = profile::open(p.folder, p.fresh)?;
        profile::belongs_to(&profile, &p.service.origin())?;
        if let Some(mcs) = p.service.mcs() {
            profile::keep_mcs(&profile, mcs)?;
        }
        if let Some(file) = p.ca
            && trust::add(&profile, &Authorities::read(file)?)?
        {
            notice(Notice::Trusted(file.to_owned()));
        }
        preferences::allow(&profile, allow)?;
        if reachable_extension(profile.folder()).is_some() {
            preferences::count_windows(profile.folder())?;
        }
        Ok(profile)
    }

    /// Starts it with this profile and push service, and with these extensions of ours. Add the pages to open, or its own
    /// switches.
    pub fn command(
        &self,
        profile: &Profile,
        service: &PushService,
        extensions: &[PathBuf],
    ) -> Result<Command, BrowserError> {
        self.command_with(profile.folder(), service, extensions)
    }

    /// Starts it without a window, with a profile that is kept reachable and that no Chromium works with.
    pub fn windowless(&self, folder: &Path, service: &PushService) -> Result<Command, BrowserError> {
        preferences::count_windows(folder)?;
        // A page that a click opens reads the same endpoints as before.
        let extensions: Vec<_> =
            [reachable_extension(folder), extension::installed(folder)].into_iter().flatten().collect();
        let mut command = self.command_with(folder, service, &extensions)?;
        command.arg(WINDOWLESS);
        Ok(command)
    }

    /// Opens a window, or the pages that you add, in the Chromium that works with the profile in `folder`.
    pub fn command_for(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(switches::profile(folder));
        command
    }

    fn command_with(
        &self,
        folder: &Path,
        service: &PushService,
        extensions: &[PathBuf],
    ) -> Result<Command, BrowserError> {
        let mut command = self.command_for(folder);
        let mcs = mcs_of(folder)?;
        let mcs = service.mcs().or(mcs.as_deref());
        command.args(switches::push(service, mcs)?).args(switches::TRYING_OUT).args(switches::extensions(extensions)?);
        Ok(command)
    }
}

/// Puts an extension into the profile by which pages see `service` in their endpoints, for sites whose backend the user
/// cannot change: its folder.
pub fn rewrite_endpoints(profile: &Profile, service: &PushService) -> Result<PathBuf, BrowserError> {
    extension::install(profile, &service.origin())
}
