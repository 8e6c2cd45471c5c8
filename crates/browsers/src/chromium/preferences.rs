//! Which sites may show notifications in the profile, by Chromium's own file of settings.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::origin::Origin;
use crate::browser::Profile;

/// Below the profile's folder.
const FILE: &str = "Default/Preferences";
/// Chromium's number for what a site may do.
const ALLOW: u8 = 1;

/// Lets each of `sites` show notifications. What the user decided of others stays.
pub(super) fn allow(profile: &Profile, sites: &[Origin]) -> Result<()> {
    if sites.is_empty() {
        return Ok(());
    }
    let file = profile.folder().join(FILE);
    let mut preferences = match fs::read(&file) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", file.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => json!({}),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    add(&mut preferences, sites).with_context(|| format!("{} is not as Chromium writes it", file.display()))?;
    fs::create_dir_all(profile.folder().join("Default")).context("cannot make the profile")?;
    profile.write(FILE, preferences.to_string().as_bytes())
}

fn add(preferences: &mut Value, sites: &[Origin]) -> Result<()> {
    let mut inner = preferences;
    for name in ["profile", "content_settings", "exceptions", "notifications"] {
        ensure!(inner.is_object(), "what holds {name:?} is no object");
        inner = &mut inner[name];
        if inner.is_null() {
            *inner = json!({});
        }
    }
    ensure!(inner.is_object(), "the notifications are no object");
    for site in sites {
        inner[site.pattern()] = json!({ "setting": ALLOW });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
    fn a_new_profile_gets_its_first_settings_and_one_without_wishes_gets_none() {
        let folder = tempfile::tempdir().unwrap();
        let profile = super::super::profile::open(folder.path(), false).unwrap();
        allow(&profile, &[]).unwrap();
        assert!(!folder.path().join("Default").exists());
        allow(&profile, &["http://localhost".parse().unwrap()]).unwrap();
        assert!(fs::read_to_string(folder.path().join(FILE)).unwrap().contains("http://localhost:80,*"));
    }
}
