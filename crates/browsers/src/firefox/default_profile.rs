//! The profile that a user's Firefox starts with.

use std::fs;
use std::path::{Path, PathBuf};

use super::Firefox;

/// Where a Firefox lists the profiles of a user, below the home directory.
const FOLDER: &str = ".mozilla/firefox";
/// Where newer ones do for a user who has no such folder, below the folder of settings.
const NEW_FOLDER: &str = "mozilla/firefox";
/// In a profile: names the folder of the Firefox that worked with it last.
const COMPATIBILITY: &str = "compatibility.ini";
/// A part of each Firefox. In a folder of links, from which it is woken, it leads to the installed one.
const LIBRARY: &str = "libxul.so";

/// The folder of the profile with which the installed Firefox starts for the user with this home directory; `None` before
/// its first start.
pub fn default_profile(home: &Path) -> Option<PathBuf> {
    // As the specification of XDG has it.
    let settings = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let settings = settings.unwrap_or_else(|| home.join(".config"));
    let launcher = Firefox::find().ok().and_then(|firefox| fs::canonicalize(firefox.program()).ok());
    let library = launcher.and_then(|launcher| library_of(launcher.parent()?));
    default_of(&[home.join(FOLDER), settings.join(NEW_FOLDER)], library.as_deref())
}

/// The first in these folders that the Firefox with this library worked with last. Without a library it is not known
/// which Firefox is started, and the first is it.
fn default_of(folders: &[PathBuf], library: Option<&Path>) -> Option<PathBuf> {
    let listed = folders.iter().flat_map(|folder| {
        let text = fs::read_to_string(folder.join("profiles.ini")).unwrap_or_default();
        // A path that is not below the folder is absolute, which replaces it.
        defaults_in(&text).into_iter().map(|path| folder.join(path)).collect::<Vec<_>>()
    });
    let is_its = |profile: &PathBuf| {
        library.is_none_or(|library| {
            let about = fs::read_to_string(profile.join(COMPATIBILITY)).unwrap_or_default();
            value(&about, "LastPlatformDir").and_then(|folder| library_of(Path::new(folder))).as_deref()
                == Some(library)
        })
    };
    listed.filter(|profile| profile.is_dir()).find(is_its)
}

fn library_of(folder: &Path) -> Option<PathBuf> {
    fs::canonicalize(folder.join(LIBRARY)).ok()
}

/// The profiles that the installed Firefoxes are bound to, and then the one that older ones start with.
fn defaults_in(text: &str) -> Vec<&str> {
    let sections = || text.split('[').filter_map(|section| section.split_once("]\n"));
    let installed = sections().filter(|(name, _)| name.starts_with("Install"));
    let bound = installed.filter_map(|(_, lines)| value(lines, "Default"));
    let mut profiles = sections().filter(|(name, _)| name.starts_with("Profile"));
    let older = profiles.find(|(_, lines)| value(lines, "Default") == Some("1"));
    bound.chain(older.and_then(|(_, lines)| value(lines, "Path"))).collect()
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
    fn the_profiles_that_installed_firefoxes_are_bound_to_come_before_the_default_one() {
        assert_eq!(defaults_in(PROFILES), ["old.default"]);
        let bound = format!("[Install3B6073811A6ABF12]\nDefault=new.default-esr\nLocked=1\n\n{PROFILES}");
        assert_eq!(defaults_in(&bound), ["new.default-esr", "old.default"]);
        assert_eq!(defaults_in("[Profile0]\nPath=a\n"), Vec::<&str>::new());
    }

    #[test]
    fn a_profile_that_is_gone_is_none() {
        let home = tempfile::tempdir().unwrap();
        let folders = [home.path().join("old"), home.path().join("new")];
        assert_eq!(default_of(&folders, None), None);
        fs::create_dir_all(folders[1].join("old.default")).unwrap();
        fs::write(folders[1].join("profiles.ini"), PROFILES).unwrap();
        assert_eq!(default_of(&folders, None), Some(folders[1].join("old.default")));
        fs::remove_dir(folders[1].join("old.default")).unwrap();
        assert_eq!(default_of(&folders, None), None);
    }

    #[test]
    fn only_a_profile_that_this_firefox_worked_with_last_is_its_own() {
        let home = tempfile::tempdir().unwrap();
        let folders = [home.path().join("old"), home.path().join("new")];
        let programs = ["release", "esr", "links"].map(|name| home.path().join(name));
        programs.iter().for_each(|program| fs::create_dir(program).unwrap());
        fs::write(programs[0].join(LIBRARY), "").unwrap();
        fs::write(programs[1].join(LIBRARY), "").unwrap();
        std::os::unix::fs::symlink(programs[1].join(LIBRARY), programs[2].join(LIBRARY)).unwrap();
        for (folder, program) in folders.iter().zip(&programs) {
            fs::create_dir_all(folder.join("bound")).unwrap();
            let listed = format!("[Install3B6073811A6ABF12]\nDefault=bound\nLocked=1\n\n{PROFILES}");
            fs::write(folder.join("profiles.ini"), listed).unwrap();
            let about = format!("[Compatibility]\nLastPlatformDir={}\n", program.display());
            fs::write(folder.join("bound").join(COMPATIBILITY), about).unwrap();
        }
        let of = |program: &Path| default_of(&folders, Some(&library_of(program).unwrap()));
        assert_eq!(of(&programs[0]), Some(folders[0].join("bound")));
        assert_eq!(of(&programs[1]), Some(folders[1].join("bound")));
        // It was woken last, from a folder of links.
        let about = format!("[Compatibility]\nLastPlatformDir={}\n", programs[2].display());
        fs::write(folders[1].join("bound").join(COMPATIBILITY), about).unwrap();
        assert_eq!(of(&programs[1]), Some(folders[1].join("bound")));
        fs::remove_file(folders[1].join("bound").join(COMPATIBILITY)).unwrap();
        assert_eq!(of(&programs[1]), None, "no Firefox has started with it");
    }
}
