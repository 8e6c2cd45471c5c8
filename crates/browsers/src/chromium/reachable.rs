//! What keeps a profile reachable while no window is open: an extension by which Chromium receives without one and gets
//! a wake-only credential, and the program that the extension hands it to (native messaging).

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use doorbell_private_file as private_file;
use serde_json::json;

use super::preferences;
use crate::error::BrowserError;

const FILES: [(&str, &str); 3] = [
    ("manifest.json", include_str!("../../../../extras/desktop-extension/manifest.json")),
    ("worker.js", include_str!("../../../../extras/desktop-extension/worker.js")),
    ("page.html", include_str!("../../../../extras/desktop-extension/page.html")),
];

/// The id of the extension, which the key in its manifest fixes.
pub const EXTENSION_ID: &str = "gkigfmlkdphhhddmngbopalgdekllnip";
/// The folder of the extension, below the profile's. A profile with it is kept reachable.
const FOLDER: &str = "doorbell-desktop";
/// How the extension names the program.
const HOST: &str = "org.doorbell.desktop";
/// Where Chromium looks for programs that extensions may start, below the profile's folder.
const HOSTS: &str = "NativeMessagingHosts";
/// Starts the program. A manifest names a file, and no arguments.
const SCRIPT: &str = "doorbell-desktop-host";
/// What that program keeps in the profile: the credential, the number of windows, and that Chromium takes pages.
const KEPT: [&str; 3] = ["doorbell-wake-token", "doorbell-windows", "doorbell-woken"];

/// Writes the extension into the profile in `folder`, and the manifest of the program that Chromium starts for it:
/// `doorbell`, with these arguments and what Chromium adds. A Chromium that runs loads the extension at its next start.
pub fn keep_reachable(folder: &Path, doorbell: &Path, arguments: &[&OsStr]) -> Result<(), BrowserError> {
    let extension = folder.join(FOLDER);
    for folder in [&extension, &folder.join(HOSTS)] {
        fs::create_dir_all(folder).map_err(BrowserError::io("create", folder))?;
    }
    let script = folder.join(SCRIPT);
    let path = script.to_str().ok_or_else(|| BrowserError::ProfileFile {
        file: script.clone(),
        reason: "Chromium needs a path that is text".to_owned(),
    })?;
    let manifest = json!({
        "name": HOST,
        "description": "Hands a wake-only credential to doorbell desktop.",
        "path": path,
        "type": "stdio",
        "allowed_origins": [format!("chrome-extension://{EXTENSION_ID}/")],
    });
    write(&script, &host_script(doorbell, arguments), 0o700)?;
    write(&folder.join(HOSTS).join(format!("{HOST}.json")), format!("{manifest:#}\n").as_bytes(), 0o600)?;
    for (name, text) in FILES {
        write(&extension.join(name), text.as_bytes(), 0o600)?;
    }
    Ok(())
}

/// Removes it again, with the credential and the settings by which it counts windows. No Chromium may work with the
/// profile in `folder`.
pub fn forget_reachable(folder: &Path) -> Result<(), BrowserError> {
    let (extension, hosts) = (folder.join(FOLDER), folder.join(HOSTS));
    deleted(&extension, fs::remove_dir_all(&extension))?;
    let host = hosts.join(format!("{HOST}.json"));
    for file in KEPT.iter().chain([&SCRIPT]).map(|name| folder.join(name)).chain([host]) {
        deleted(&file, fs::remove_file(&file))?;
    }
    // The hosts of other extensions stay.
    fs::remove_dir(&hosts).ok();
    preferences::forget_windows(folder)
}

/// What is missing needs not to be deleted.
fn deleted(path: &Path, done: io::Result<()>) -> Result<(), BrowserError> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BrowserError::io("delete", path)(error)),
        _ => Ok(()),
    }
}

/// The folder of the extension, if the profile in `folder` is kept reachable.
pub fn reachable_extension(folder: &Path) -> Option<PathBuf> {
    let extension = folder.join(FOLDER);
    extension.join("manifest.json").is_file().then_some(extension)
}

fn host_script(doorbell: &Path, arguments: &[&OsStr]) -> Vec<u8> {
    let mut script =
        b"#!/bin/sh\n# Written by doorbell, anew at each start of `doorbell desktop` and `doorbell chromium`.\nexec"
            .to_vec();
    for word in [doorbell.as_os_str()].iter().chain(arguments) {
        script.extend_from_slice(b" '");
        for byte in word.as_bytes() {
            match byte {
                b'\'' => script.extend_from_slice(b"'\\''"),
                byte => script.push(*byte),
            }
        }
        script.push(b'\'');
    }
    script.extend_from_slice(b" \"$@\"\n");
    script
}

fn write(file: &Path, contents: &[u8], mode: u32) -> Result<(), BrowserError> {
    if fs::read(file).is_ok_and(|written| written == contents) {
        return Ok(());
    }
    private_file::replace(file, contents).map_err(BrowserError::io("write", file))?;
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).map_err(BrowserError::io("write", file))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use aws_lc_rs::digest::{SHA256, digest};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value;

    use super::*;

    fn manifest() -> Value {
        serde_json::from_str(FILES[0].1).unwrap()
    }

    #[test]
    fn the_key_in_the_manifest_makes_the_id_that_the_service_knows() {
        let key = STANDARD.decode(manifest()["key"].as_str().unwrap()).unwrap();
        let hash = digest(&SHA256, &key);
        let digits = hash.as_ref()[..16].iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let id: String = digits.map(|digit| char::from(b'a' + digit)).collect();
        assert_eq!(id, EXTENSION_ID);
    }

    #[test]
    fn the_extension_asks_for_four_permissions_and_reads_no_page() {
        let manifest = manifest();
        assert_eq!(manifest["permissions"], json!(["background", "offscreen", "gcm", "nativeMessaging"]));
        for name in ["host_permissions", "content_scripts", "optional_permissions", "web_accessible_resources"] {
            assert!(manifest.get(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_profile_is_kept_reachable_until_that_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(reachable_extension(folder.path()), None);
        keep_reachable(folder.path(), Path::new("/bin/echo"), &[]).unwrap();
        assert_eq!(reachable_extension(folder.path()), Some(folder.path().join(FOLDER)));
        let host = fs::read(folder.path().join("NativeMessagingHosts/org.doorbell.desktop.json")).unwrap();
        let host: Value = serde_json::from_slice(&host).unwrap();
        assert_eq!(host["allowed_origins"], json!([format!("chrome-extension://{EXTENSION_ID}/")]));
        assert_eq!(host["path"], folder.path().join(SCRIPT).to_str().unwrap());
        for name in KEPT {
            fs::write(folder.path().join(name), "1").unwrap();
        }
        forget_reachable(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing of it is left");
        forget_reachable(folder.path()).unwrap();
        assert_eq!(reachable_extension(folder.path()), None);
    }

    #[test]
    fn the_script_passes_any_path_on_whole_and_follows_a_binary_that_has_moved() {
        let folder = tempfile::tempdir().unwrap();
        let profile = folder.path().join("o'brien $HOME");
        for binary in ["/no/such", "/bin/echo"] {
            keep_reachable(&profile, Path::new(binary), &[OsStr::new("--profile"), profile.as_os_str()]).unwrap();
        }
        let printed = Command::new(profile.join(SCRIPT)).arg("chrome-extension://x/").output().unwrap();
        let printed = String::from_utf8(printed.stdout).unwrap();
        assert_eq!(printed, format!("--profile {} chrome-extension://x/\n", profile.display()));
    }
}
