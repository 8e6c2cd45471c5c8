//! Which sites may show notifications in the profile, in Chromium's own file of settings.

use std::fs;
use std::io::ErrorKind;

use serde_json::{Value, json};

use super::origin::Origin;
use crate::error::BrowserError;
use crate::profile::Profile;

/// Below the profile's folder.
const FOLDER: &str = "Default";
const FILE: &str = "Default/Preferences";
/// Chromium's number for what a site may do.
const ALLOW: u8 = 1;

/// Lets each of `sites` show notifications. What the user decided about other sites stays.
pub(super) fn allow(profile: &Profile, sites: &[Origin]) -> Result<(), BrowserError> {
    if sites.is_empty() {
        return Ok(());
    }
    let file = profile.folder().join(FILE);
    let mut preferences = match fs::read(&file) {
        Ok(text) => serde_json::from_slice(&text).map_err(BrowserError::file(&file))?,
        Err(error) if error.kind() == ErrorKind::NotFound => json!({}),
        Err(error) => return Err(BrowserError::io("read", &file)(error)),
    };
    add(&mut preferences, sites).map_err(BrowserError::file(&file))?;
    profile.create_folder(FOLDER)?;
    profile.write(FILE, preferences.to_string().as_bytes())
}

fn add(preferences: &mut Value, sites: &[Origin]) -> Result<(), String> {
    let mut inner = preferences;
    for name in ["profile", "content_settings", "exceptions", "notifications"] {
        if !inner.is_object() {
            return Err(format!("the parent of {name:?} is not an object"));
        }
        inner = &mut inner[name];
        if inner.is_null() {
            *inner = json!({});
        }
    }
    if !inner.is_object() {
        return Err("\"notifications\" is not an object".to_owned());
    }
    for site in sites {
        inner[site.pattern()] = json!({ "setting": ALLOW });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::profile;
    use super::*;

    #[test]
    fn a_site_is_allowed_and_the_rest_stays_as_it_was() {
        let mut preferences = json!({ "profile": { "name": "Me", "content_settings": { "exceptions": {
            "notifications": { "https://other.example:443,*": { "setting": 2 } },
        } } } });
        add(&mut preferences, &["http://localhost:8000".parse().unwrap()]).unwrap();
        assert_eq!(
            preferences,
            json!({ "profile": { "name": "Me", "content_settings": { "exceptions": { "notifications": {
                "https://other.example:443,*": { "setting": 2 },
                "http://localhost:8000,*": { "setting": 1 },
            } } } } })
        );
    }

    #[test]
    fn settings_of_another_shape_are_left_alone() {
        add(&mut json!({ "profile": [] }), &["http://localhost".parse().unwrap()]).unwrap_err();
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
