//! The extension by which pages see the service's origin in their endpoints, for sites that the user cannot change.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::BrowserError;
use crate::profile::Profile;

const MANIFEST: &str = include_str!("../../../../extras/endpoint-extension/manifest.json");
const SCRIPT: &str = include_str!("../../../../extras/endpoint-extension/endpoint.js");
/// The text in the script that the service's origin replaces.
const ANY_SERVICE: &str = "'https://push.example.org'";

/// Below the profile's folder.
const FOLDER: &str = "doorbell-endpoints";

/// Writes the extension into the profile: its folder.
pub(super) fn install(profile: &Profile, service: &str) -> Result<PathBuf, BrowserError> {
    let folder = profile.create_folder(FOLDER)?;
    profile.write(&format!("{FOLDER}/manifest.json"), MANIFEST.as_bytes())?;
    profile.write(&format!("{FOLDER}/endpoint.js"), script(service).as_bytes())?;
    Ok(folder)
}

/// The folder of the extension, if it is in the profile in `folder`.
pub(super) fn installed(folder: &Path) -> Option<PathBuf> {
    let extension = folder.join(FOLDER);
    extension.join("manifest.json").is_file().then_some(extension)
}

fn script(service: &str) -> String {
    debug_assert!(SCRIPT.contains(ANY_SERVICE), "the script has a place for the service");
    SCRIPT.replace(ANY_SERVICE, &Value::from(service).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_names_the_service_and_nothing_else_of_it_changes() {
        let script = script("https://[::1]:8443");
        assert!(script.contains("  const SERVICE = \"https://[::1]:8443\";\n"));
        assert_eq!(script.lines().count(), SCRIPT.lines().count());
    }
}
