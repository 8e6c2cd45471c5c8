//! Firefox: a profile whose user.js names the push service, and which trusts its certificate authority.

mod default_profile;
mod everyday;
mod lock;
mod marionette;
mod policies;
mod prefs;
mod profile;
mod trust;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::BrowserError;
use crate::pem::Authorities;
use crate::profile::{Notice, Preparation, Profile};
use crate::program;
use crate::push_service::PushService;

pub use default_profile::default_profile;
pub use everyday::{is_adopted, is_firefox_profile, release};
pub use marionette::Marionette;
pub use policies::policies;
pub use profile::{is_profile, process_of};

/// The folder of its profiles in a state directory.
pub const FOLDER: &str = "firefox";

const KIND: program::Kind = program::Kind {
    name: "Firefox",
    programs: &["firefox-esr", "firefox"],
    install: "install the package firefox-esr (Debian) or firefox (others)",
};

/// An installed Firefox.
#[derive(Clone, Debug)]
pub struct Firefox {
    program: PathBuf,
}

impl Firefox {
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

    /// Writes the settings into a profile and makes it trust the authority, for which Firefox itself runs for a few
    /// seconds. Blocks meanwhile. `notice` is called before that. A service without TLS needs no authority.
    pub fn prepare(&self, p: &Preparation<'_>, mut notice: impl FnMut(Notice)) -> Result<Profile, BrowserError> {
        let profile = profile::open(p.folder, p.fresh)?;
        let mut prefs = prefs::push(p.service);
        prefs.extend(prefs::trying_out());
        prefs.extend(prefs::driven());
        profile.write(profile::USER_JS, prefs::user_js(&prefs).as_bytes())?;
        if let Some(file) = p.ca.filter(|_| !p.service.is_plain()) {
            let authorities = Authorities::read(file)?;
            if !profile::trusts(&profile, &authorities.pem) {
                notice(Notice::TeachingTrust);
                trust::teach(&self.program, &profile, &authorities)?;
                profile::remember_trust(&profile, &authorities.pem)?;
            }
        }
        Ok(profile)
    }

    /// Starts it with this profile. Add the pages to open, or its own flags.
    pub fn command(&self, profile: &Profile) -> Command {
        self.command_for(profile.folder())
    }

    /// The same for a profile that a Firefox works with already: that one opens the pages.
    pub fn command_for(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--profile").arg(folder);
        command
    }
}

/// The address of the service as Firefox wants it: by WebSocket.
pub fn server_url(service: &PushService) -> String {
    let scheme = if service.is_plain() { "ws" } else { "wss" };
    format!("{scheme}://{}{}", service.authority(), service.path())
}

/// The text of a user.js that makes a profile receive from `service`, with the reason of each setting.
pub fn user_js(service: &PushService) -> String {
    prefs::user_js(&prefs::push(service))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firefox_gets_the_same_address_by_websocket() {
        for (url, by_websocket) in [
            ("https://127.0.0.1:8443", "wss://127.0.0.1:8443/"),
            ("https://push.example.org/", "wss://push.example.org/"),
            ("https://push.example.org/bell/", "wss://push.example.org/bell/"),
            ("wss://push.example.org", "wss://push.example.org/"),
            ("https://[::1]:1", "wss://[::1]:1/"),
            ("http://localhost:8080", "ws://localhost:8080/"),
        ] {
            assert_eq!(server_url(&PushService::parse(url).unwrap()), by_websocket);
        }
    }
}
