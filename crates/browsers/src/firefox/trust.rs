//! Puts a CA into a profile with Firefox's own hands, so that no other tool has to be installed.
//!
//! For these few seconds Firefox listens to a driver on a port of this machine, as it does for every test. The driver's
//! protocol has no password, so that on a machine with other people's processes it is better to add the CA by policy.

use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::marionette::Marionette;
use crate::browser::{Profile, Program};

/// How often it is looked whether Firefox has done something, and how long between two looks: two minutes in all, for a
/// slow machine's very first start.
const LOOKS_MAX: u32 = 1200;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Runs in Firefox's own world. `C` is a CA for servers, and for nothing else.
const SCRIPT: &str = r#"
const certificates = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
return arguments[0].every((der) => {
  const authority = certificates.addCertFromBase64(der, "C,,");
  return certificates.isCertTrusted(authority, Ci.nsIX509Cert.CA_CERT, Ci.nsIX509CertDB.TRUSTED_SSL);
});"#;

/// Makes `profile` trust the authorities in `pem`.
pub(super) fn teach(firefox: &Program, profile: &Profile, pem: &[u8]) -> Result<()> {
    let mut authorities = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        authorities.push(STANDARD.encode(certificate.context("the CA file")?));
    }
    Marionette::forget_port(profile.folder())?;
    let mut unseen = Unseen(start_unseen(firefox, profile.folder())?);
    let mut marionette = Marionette::connect(unseen.port(profile)?)?;
    let trusted = marionette.run_in_chrome(SCRIPT, &json!([authorities]))?;
    ensure!(trusted == json!(true), "Firefox does not trust the CA that it was given");
    // What it learned is on the disk once it has ended in order.
    marionette.quit()?;
    unseen.ends()
}

/// Starts it with nothing to be seen, for a driver.
fn start_unseen(firefox: &Program, profile: &Path) -> Result<Child> {
    let mut command = firefox.command();
    command.args(["--headless", "--no-remote", "--new-instance", "--profile"]).arg(profile);
    command.args(["--marionette", "--remote-allow-system-access", "about:blank"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("cannot start {}", firefox.file().display()))
}

/// A Firefox without windows. It ends with this value, whatever happens.
struct Unseen(Child);

impl Unseen {
    /// Where its driver connects.
    fn port(&mut self, profile: &Profile) -> Result<u16> {
        for _ in 0..LOOKS_MAX {
            if let Some(port) = Marionette::port(profile.folder()) {
                return Ok(port);
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("{}", ended_at_once(profile, status));
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        bail!("Firefox does not let itself be driven: it names no Marionette port");
    }

    fn ends(&mut self) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            if self.0.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        bail!("Firefox does not end after it was asked to");
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn ended_at_once(profile: &Profile, status: ExitStatus) -> String {
    let folder = profile.folder().display();
    format!(
        "Firefox ended at once ({status}): close it if it already runs with the profile {folder}, and if it is one that \
         may not read that folder (from snap or flatpak), name another with --profile"
    )
}
