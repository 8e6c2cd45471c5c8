//! Lets Firefox itself put a certificate authority into a profile, so that no other tool has to be installed.
//!
//! For these few seconds Firefox listens for a driver on a port of this machine, as it does for every test. The driver's
//! protocol has no password: on a machine with other people's processes it is better to add the authority by policy.

use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::KIND;
use super::marionette::Marionette;
use crate::error::BrowserError;
use crate::pem::Authorities;
use crate::profile::Profile;
use crate::program;

/// How often it is checked whether Firefox has done something, and the pause between two checks: two minutes in all,
/// for the very first start on a slow machine.
const CHECKS_MAX: u32 = 1200;
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Runs with Firefox's own rights. `C` is an authority for servers, and for nothing else.
const SCRIPT: &str = r#"
const certificates = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
return arguments[0].every((der) => {
  const authority = certificates.addCertFromBase64(der, "C,,");
  return certificates.isCertTrusted(authority, Ci.nsIX509Cert.CA_CERT, Ci.nsIX509CertDB.TRUSTED_SSL);
});"#;

/// Makes `profile` trust the authorities.
pub(super) fn teach(firefox: &Path, profile: &Profile, authorities: &Authorities) -> Result<(), BrowserError> {
    let certificates: Vec<String> = authorities.certificates.iter().map(|der| STANDARD.encode(der)).collect();
    Marionette::forget_port(profile.folder())?;
    let mut headless = Headless::start(firefox, profile)?;
    let mut marionette = Marionette::connect(headless.port(profile)?)?;
    let trusted = marionette.run_in_chrome(SCRIPT, &json!([certificates]))?;
    if trusted != json!(true) {
        return Err(BrowserError::Driver("Firefox does not trust the CA that it was given".to_owned()));
    }
    // Firefox has written the certificates to the disk once it has ended in order.
    marionette.quit()?;
    headless.wait()
}

/// A Firefox without windows. It ends with this value in any case.
struct Headless(Child);

impl Headless {
    /// Starts it for a driver.
    fn start(firefox: &Path, profile: &Profile) -> Result<Self, BrowserError> {
        let mut command = Command::new(firefox);
        command.args(["--headless", "--no-remote", "--new-instance", "--profile"]).arg(profile.folder());
        command.args(["--marionette", "--remote-allow-system-access", "about:blank"]);
        program::start(command).map(Self)
    }

    /// Where its driver connects.
    fn port(&mut self, profile: &Profile) -> Result<u16, BrowserError> {
        for _ in 0..CHECKS_MAX {
            if let Some(port) = Marionette::port(profile.folder()) {
                return Ok(port);
            }
            if let Some(status) = self.status()? {
                let folder = profile.folder().to_owned();
                return Err(BrowserError::EndedAtOnce { browser: KIND.name, status, folder });
            }
            thread::sleep(CHECK_INTERVAL);
        }
        Err(BrowserError::Driver("Firefox cannot be driven: it names no Marionette port".to_owned()))
    }

    fn wait(&mut self) -> Result<(), BrowserError> {
        for _ in 0..CHECKS_MAX {
            if self.status()?.is_some() {
                return Ok(());
            }
            thread::sleep(CHECK_INTERVAL);
        }
        Err(BrowserError::Driver("Firefox does not end after it was asked to".to_owned()))
    }

    fn status(&mut self) -> Result<Option<ExitStatus>, BrowserError> {
        self.0.try_wait().map_err(|error| BrowserError::Driver(format!("cannot wait for Firefox: {error}")))
    }
}

impl Drop for Headless {
    fn drop(&mut self) {
        // It has usually ended already, and then there is nothing to kill.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
