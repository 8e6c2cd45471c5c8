//! The profile that a user's Firefox starts with.

use std::fs;
use std::path::{Path, PathBuf};

/// Where Firefox lists the profiles of a user, below the home directory.
const FOLDER: &str = ".mozilla/firefox";

/// The folder of the profile with which Firefox starts for the user with this home directory; `None` before its first start.
pub fn default_profile(home: &Path) -> Option<PathBuf> {
    let folder = home.join(FOLDER);
    let text = fs::read_to_string(folder.join("profiles.ini")).ok()?;
    // A path that is not below the folder is absolute, which replaces it.
    default_in(&text).map(|path| folder.join(path)).filter(|folder| folder.is_dir())
}

/// The profile that an installed Firefox is bound to, or else the one that older ones start with.
fn default_in(text: &str) -> Option<&str> {
    let sections = || text.split('[').filter_map(|section| section.split_once("]\n"));
    let installed = sections().filter(|(name, _)| name.starts_with("Install"));
    let bound = installed.filter_map(|(_, lines)| value(lines, "Default")).next();
    bound.or_else(|| {
        let mut profiles = sections().filter(|(name, _)| name.starts_with("Profile"));
        let (_, lines) = profiles.find(|(_, lines)| value(lines, "Default") == Some("1"))?;
        value(lines, "Path")
    })
}

fn value<'a>(lines: &'a str, key: &str) -> Option<&'a str> {
    lines.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILES: &str = "[Profile1]\nName=default\nIsRelative=1\nPath=old.default\nDefault=1\n\n\
        [Profile0]\nName=default-esr\nPath=new.default-esr\n\n[General]\nVersion=2\n";

    #[test]
    fn the_profile_that_an_installed_firefox_is_bound_to_comes_before_the_default_one() {
        assert_eq!(default_in(PROFILES), Some("old.default"));
        let bound = format!("[Install3B6073811A6ABF12]\nDefault=new.default-esr\nLocked=1\n\n{PROFILES}");
        assert_eq!(default_in(&bound), Some("new.default-esr"));
        assert_eq!(default_in("[Profile0]\nPath=a\n"), None);
    }

    #[test]
    fn a_profile_that_is_gone_is_none() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(default_profile(home.path()), None);
        let folder = home.path().join(FOLDER);
        fs::create_dir_all(folder.join("old.default")).unwrap();
        fs::write(folder.join("profiles.ini"), PROFILES).unwrap();
        assert_eq!(default_profile(home.path()), Some(folder.join("old.default")));
        fs::remove_dir(folder.join("old.default")).unwrap();
        assert_eq!(default_profile(home.path()), None);
    }
}
