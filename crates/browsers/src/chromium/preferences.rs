//! What a profile allows, in Chromium's own files of settings: sites to show notifications, and our extension to count
//! windows.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use doorbell_private_file as private_file;
use serde_json::{Map, Value, json};

use super::origin::Origin;
use super::reachable::EXTENSION_ID;
use crate::error::BrowserError;
use crate::profile::Profile;

/// Below the profile's folder.
const FILE: &str = "Default/Preferences";
/// The settings of all users of Chromium with this folder.
const LOCAL_STATE: &str = "Local State";
/// There: whether a second user may be added, and whether a guest may use it.
const PEOPLE: [&str; 2] = ["add_person_enabled", "browser_guest_enabled"];
/// Chromium's number for what a site may do.
const ALLOW: u8 = 1;

/// Lets each of `sites` show notifications. What the user decided about other sites stays.
pub(super) fn allow(profile: &Profile, sites: &[Origin]) -> Result<(), BrowserError> {
    if sites.is_empty() {
        return Ok(());
    }
    change(profile.folder(), FILE, |preferences| {
        let exceptions = inner(preferences, &["profile", "content_settings", "exceptions", "notifications"])?;
        exceptions.extend(sites.iter().map(|site| (site.pattern(), json!({ "setting": ALLOW }))));
        Ok(())
    })
}

/// Lets the extension that keeps the profile reachable count all windows: a woken Chromium ends when there is none. So it
/// sees private ones too, and no second profile or guest opens windows that it cannot see.
pub(super) fn count_windows(folder: &Path) -> Result<(), BrowserError> {
    change(folder, FILE, |preferences| {
        inner(preferences, &["extensions", "settings", EXTENSION_ID])?.insert("incognito".to_owned(), true.into());
        Ok(())
    })?;
    change(folder, LOCAL_STATE, |state| {
        inner(state, &["profile"])?.extend(PEOPLE.map(|name| (name.to_owned(), false.into())));
        Ok(())
    })
}

/// Takes that out again.
pub(super) fn forget_windows(folder: &Path) -> Result<(), BrowserError> {
    take_out(folder, FILE, &["extensions", "settings"], &[EXTENSION_ID])?;
    take_out(folder, LOCAL_STATE, &["profile"], &PEOPLE)
}

/// Takes settings out of the object at `path`. A file that is missing or damaged stays so: Chromium begins it anew.
fn take_out(folder: &Path, name: &str, path: &[&str], names: &[&str]) -> Result<(), BrowserError> {
    let text = fs::read(folder.join(name)).unwrap_or_default();
    let Ok(settings) = serde_json::from_slice::<Value>(&text) else { return Ok(()) };
    let object = path.iter().try_fold(&settings, |object, name| object.get(name));
    if !names.iter().any(|name| object.is_some_and(|object| object.get(name).is_some())) {
        return Ok(());
    }
    change(folder, name, |settings| {
        let object = inner(settings, path)?;
        for name in names {
            object.remove(*name);
        }
        Ok(())
    })
}

/// Changes a file of settings, which may be missing. No Chromium may work with the profile in `folder`: it would write the
/// file again.
fn change(folder: &Path, name: &str, edit: impl FnOnce(&mut Value) -> Result<(), String>) -> Result<(), BrowserError> {
    let file = folder.join(name);
    let mut settings = match fs::read(&file) {
        Ok(text) => serde_json::from_slice(&text).map_err(BrowserError::file(&file))?,
        Err(error) if error.kind() == ErrorKind::NotFound => json!({}),
        Err(error) => return Err(BrowserError::io("read", &file)(error)),
    };
    edit(&mut settings).map_err(BrowserError::file(&file))?;
    let parent = file.parent().expect("a file in a folder has a parent");
    fs::create_dir_all(parent).map_err(BrowserError::io("create", parent))?;
    private_file::replace(&file, settings.to_string().as_bytes()).map_err(BrowserError::io("write", &file))
}

/// The object at `path` in `settings`, which is created if it is missing.
fn inner<'a>(settings: &'a mut Value, path: &[&str]) -> Result<&'a mut Map<String, Value>, String> {
    let mut inner = settings;
    for name in path {
        let object = inner.as_object_mut().ok_or_else(|| format!("the parent of {name:?} is not an object"))?;
        inner = object.entry(*name).or_insert_with(|| json!({}));
    }
    inner.as_object_mut().ok_or_else(|| format!("{:?} is not an object", path.last()))
}

#[cfg(test)]
mod tests {
    use super::super::profile;
    use super::*;

    /// A profile with this file of settings.
    fn with_settings(name: &str, settings: &Value) -> (tempfile::TempDir, Profile) {
        let folder = tempfile::tempdir().unwrap();
        let profile = profile::open(folder.path(), false).unwrap();
        profile.create_folder("Default").unwrap();
        profile.write(name, settings.to_string().as_bytes()).unwrap();
        (folder, profile)
    }

    fn settings(profile: &Profile, name: &str) -> Value {
        serde_json::from_slice(&fs::read(profile.folder().join(name)).unwrap()).unwrap()
    }

    #[test]
    fn a_site_is_allowed_and_the_rest_stays_as_it_was() {
        let before = json!({ "profile": { "name": "Me", "content_settings": { "exceptions": {
            "notifications": { "https://other.example:443,*": { "setting": 2 } },
        } } } });
        let (_folder, profile) = with_settings(FILE, &before);
        allow(&profile, &["http://localhost:8000".parse().unwrap()]).unwrap();
        assert_eq!(
            settings(&profile, FILE),
            json!({ "profile": { "name": "Me", "content_settings": { "exceptions": { "notifications": {
                "https://other.example:443,*": { "setting": 2 },
                "http://localhost:8000,*": { "setting": 1 },
            } } } } })
        );
    }

    #[test]
    fn settings_of_another_shape_are_left_alone() {
        for before in [json!({ "profile": [] }), json!([])] {
            let (_folder, profile) = with_settings(FILE, &before);
            allow(&profile, &["http://localhost".parse().unwrap()]).unwrap_err();
            assert_eq!(settings(&profile, FILE), before);
        }
    }

    #[test]
    fn the_extension_sees_private_windows_and_all_windows_are_of_one_profile() {
        let (_folder, profile) = with_settings(LOCAL_STATE, &json!({ "profile": { "profiles_order": ["Default"] } }));
        count_windows(profile.folder()).unwrap();
        assert_eq!(settings(&profile, FILE)["extensions"]["settings"][EXTENSION_ID], json!({ "incognito": true }));
        assert_eq!(
            settings(&profile, LOCAL_STATE),
            json!({ "profile": {
                "profiles_order": ["Default"], "add_person_enabled": false, "browser_guest_enabled": false,
            } })
        );
        forget_windows(profile.folder()).unwrap();
        assert_eq!(settings(&profile, FILE), json!({ "extensions": { "settings": {} } }));
        assert_eq!(settings(&profile, LOCAL_STATE), json!({ "profile": { "profiles_order": ["Default"] } }));
    }

    #[test]
    fn where_no_windows_were_counted_nothing_is_written() {
        let (_folder, profile) = with_settings(LOCAL_STATE, &json!({ "profile": [] }));
        forget_windows(profile.folder()).unwrap();
        assert!(!profile.folder().join(FILE).exists());
        assert_eq!(settings(&profile, LOCAL_STATE), json!({ "profile": [] }));
        profile.write(FILE, b"{").unwrap();
        forget_windows(profile.folder()).unwrap();
        assert_eq!(fs::read(profile.folder().join(FILE)).unwrap(), b"{");
    }

    #[test]
    fn a_new_profile_gets_its_first_settings_and_one_without_sites_gets_none() {
        let folder = tempfile::tempdir().unwrap();
        let profile = profile::open(folder.path(), false).unwrap();
        allow(&profile, &[]).unwrap();
        assert!(!folder.path().join("Default").exists());
        allow(&profile, &["http://localhost".parse().unwrap()]).unwrap();
        assert!(fs::read_to_string(folder.path().join(FILE)).unwrap().contains("http://localhost:80,*"));
    }
}
