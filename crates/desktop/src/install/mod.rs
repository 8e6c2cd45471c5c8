//! Installs the desktop part for a user, without root, and takes everything away again.

mod fleet;
pub mod manager;
mod reached;
mod record;
mod texts;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use fleet::{Fleet, plan_for_all};
pub use reached::note_reached;
pub use record::{Content, Planned, PreparedProfile};
pub use texts::RUNS_ALREADY_STATUS;

use record::Record;

use crate::browser::{Browser, ProfileConfig};
use crate::error::DesktopError;
use crate::firefox::forget_woken;
use crate::launcher::{FIREFOX_LINKS, Launcher};
use crate::settings::Settings;
use crate::start_lock::StartLock;

/// The name of the unit.
pub const UNIT: &str = "doorbell-desktop.service";
const RECORD: &str = "installed.json";

/// Where the files of a user are.
#[derive(Clone, Debug)]
pub struct Places {
    config: PathBuf,
    data: PathBuf,
    state: PathBuf,
}

impl Places {
    /// Those of this user, by HOME and the variables of XDG; `state` is the desktop part's own folder. `None` without a
    /// home directory.
    pub fn of_user(state: PathBuf) -> Option<Self> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
        let place = |name, below: &str| absolute(name).or_else(|| Some(absolute("HOME")?.join(below)));
        Some(Self {
            config: place("XDG_CONFIG_HOME", ".config")?,
            data: place("XDG_DATA_HOME", ".local/share")?,
            state,
        })
    }

    /// The settings.
    pub fn settings(&self) -> PathBuf {
        self.config.join("doorbell/desktop.toml")
    }

    /// The desktop part's own folder.
    pub fn state(&self) -> &Path {
        &self.state
    }
}

/// An entry of the menu that starts a browser.
#[derive(Clone, Debug)]
pub struct MenuEntry {
    /// The name of its file, without the end.
    pub file: String,
    /// The name that the user reads.
    pub name: String,
    /// The name of its picture.
    pub icon: &'static str,
    /// The words of the command.
    pub words: Vec<std::ffi::OsString>,
}

/// The entry of the menu for the installed Firefox, so that it starts with an everyday profile by the words of `entry`;
/// `None` if Firefox has no entry.
pub fn plan_everyday(places: &Places, entry: &MenuEntry) -> Result<Option<Planned>, DesktopError> {
    // As the specification of XDG has it.
    let folders = std::env::var_os("XDG_DATA_DIRS").filter(|folders| !folders.is_empty());
    let folders = folders.unwrap_or_else(|| "/usr/local/share:/usr/share".into());
    for name in ["firefox-esr.desktop", "firefox.desktop"] {
        for folder in std::env::split_paths(&folders) {
            let Ok(original) = fs::read_to_string(folder.join("applications").join(name)) else { continue };
            let words: Vec<&OsStr> = entry.words.iter().map(AsRef::as_ref).collect();
            let content = Content::Public(texts::menu_in_place_of(&original, &words)?);
            return Ok(Some(Planned { path: places.data.join("applications").join(name), content }));
        }
    }
    Ok(None)
}

/// The files that start `program` with the session of the user, with these settings and entries of the menu.
pub fn plan(
    places: &Places,
    program: &Path,
    settings: &Settings,
    menu: &[MenuEntry],
) -> Result<Vec<Planned>, DesktopError> {
    let units = places.config.join("systemd/user");
    let unit = units.join(UNIT);
    let mut planned = vec![
        Planned { path: places.settings(), content: Content::Private(settings.text()?) },
        Planned { path: unit.clone(), content: Content::Public(texts::unit(program)?) },
        Planned { path: units.join("graphical-session.target.wants").join(UNIT), content: Content::Link(unit) },
        Planned {
            path: places.config.join("autostart/doorbell-desktop.desktop"),
            content: Content::Public(texts::autostart(program)?),
        },
    ];
    for entry in menu {
        let words: Vec<&OsStr> = entry.words.iter().map(AsRef::as_ref).collect();
        let path = places.data.join("applications").join(&entry.file).with_extension("desktop");
        planned.push(Planned { path, content: Content::Public(texts::menu(&entry.name, entry.icon, &words)?) });
    }
    Ok(planned)
}

/// An installation that is made or taken away.
#[derive(Debug)]
pub struct Installation {
    /// The desktop part's own folder; none for an installation for all users.
    state: Option<PathBuf>,
    file: PathBuf,
    record: Record,
}

impl Installation {
    /// The one of this user, whole, in part, or none.
    pub fn of(places: &Places) -> Result<Self, DesktopError> {
        let file = places.state.join(RECORD);
        Ok(Self { state: Some(places.state.clone()), record: Record::read(&file)?, file })
    }

    /// The one for all users below `root`.
    pub fn for_all(root: &Path) -> Result<Self, DesktopError> {
        let file = fleet::record(root);
        Ok(Self { state: None, record: Record::read_below(root, &file)?, file })
    }

    /// Whether anything is installed.
    pub fn is_empty(&self) -> bool {
        self.record.is_empty()
    }

    /// Refuses files of other programs, before anything is written.
    pub fn check(&self, planned: &[Planned]) -> Result<(), DesktopError> {
        self.record.check(planned)
    }

    /// Notes that a profile is about to be created, so that it can be taken away again.
    pub fn creates(&mut self, browser: Browser, folder: &Path) -> Result<(), DesktopError> {
        if folder.exists() {
            return Ok(());
        }
        self.record.needs_folder(folder.parent().expect("a profile is in a folder"));
        self.record.profiles.retain(|profile| profile.folder != folder);
        self.record.profiles.push(PreparedProfile { browser, folder: folder.to_owned(), stamp: None });
        self.record.write(&self.file)
    }

    /// Notes the state of a profile that was prepared now.
    pub fn prepared(&mut self, folder: &Path) -> Result<(), DesktopError> {
        for profile in self.record.profiles.iter_mut().filter(|profile| profile.folder == folder) {
            profile.stamp = stamp(profile);
        }
        self.record.write(&self.file)
    }

    /// Notes that our settings are about to be written into an everyday profile of Firefox.
    pub fn adopts(&mut self, folder: &Path) -> Result<(), DesktopError> {
        if !self.record.adopted.iter().any(|adopted| adopted == folder) {
            self.record.adopted.push(folder.to_owned());
        }
        self.record.write(&self.file)
    }

    /// The everyday profiles that have our settings.
    pub fn adopted(&self) -> &[PathBuf] {
        &self.record.adopted
    }

    /// Takes our settings out of an everyday profile: an error if a Firefox works with it.
    pub fn releases(&mut self, folder: &Path) -> Result<(), DesktopError> {
        if folder.exists() {
            let Some(_lock) = StartLock::try_take(folder)? else {
                return Err(DesktopError::refused(folder, "a Firefox is starting with it: close it, and try again"));
            };
            doorbell_browsers::firefox::release(folder)?;
            forget_woken(folder)?;
            record::remove(&StartLock::file(folder))?;
        }
        self.record.adopted.retain(|adopted| adopted != folder);
        self.record.write(&self.file)
    }

    /// Writes the files, in place of those of an earlier installation.
    pub fn put(&mut self, planned: &[Planned]) -> Result<(), DesktopError> {
        self.record.put(planned, &self.file)
    }

    /// Takes the files away: those that are no longer ours are kept, and returned.
    pub fn remove_files(&mut self) -> Result<Vec<PathBuf>, DesktopError> {
        let kept = self.record.remove_files()?;
        self.record.write(&self.file)?;
        Ok(kept)
    }

    /// Takes the profile in `folder` away if it is one of doorbell's and no browser has worked with it, or in any case with
    /// `used`; `false` if it is kept.
    pub fn remove_profile(&mut self, browser: Browser, folder: &Path, used: bool) -> Result<bool, DesktopError> {
        if !folder.exists() && !StartLock::file(folder).exists() {
            return Ok(true);
        }
        let Some(_lock) = StartLock::try_take(folder)? else { return Ok(false) };
        let known = self.record.profiles.iter().find(|profile| profile.folder == folder);
        let untouched = known.is_some_and(|profile| stamp(profile) == profile.stamp);
        let doomed = browser.is_profile(folder) && browser.process_of(folder).is_none() && (untouched || used);
        if doomed {
            fs::remove_dir_all(folder).map_err(DesktopError::io("delete", folder))?;
        }
        if !doomed && browser.is_profile(folder) && browser.process_of(folder).is_none() {
            match browser {
                // The program that the extension talks to may be uninstalled next.
                Browser::Chromium => doorbell_browsers::chromium::forget_reachable(folder)?,
                Browser::Firefox => forget_woken(folder)?,
            }
        }
        record::remove(&StartLock::file(folder))?;
        Ok(doomed || !folder.exists())
    }

    /// Takes away what is left: the folder of links, the record, and the folders that were created and are empty.
    pub fn finish(self) -> Result<(), DesktopError> {
        if let Some(links) = self.state.as_ref().map(|state| state.join(FIREFOX_LINKS)) {
            match fs::remove_dir_all(&links) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(DesktopError::io("delete", &links)(error));
                }
                _ => {}
            }
        }
        record::remove(&self.file)?;
        if let Some(state) = &self.state {
            record::remove(&reached::file(state))?;
            // It was created by a desktop part that was never installed.
            fs::remove_dir(state).ok();
        }
        self.record.remove_folders();
        Ok(())
    }

    /// The folders of Chromium's profiles into which a desktop part has written.
    pub fn reached(&self) -> Result<Vec<PathBuf>, DesktopError> {
        self.state.as_deref().map_or_else(|| Ok(Vec::new()), reached::read)
    }

    /// The profiles that it created.
    pub fn profiles(&self) -> &[PreparedProfile] {
        &self.record.profiles
    }
}

/// Changes whenever the browser has run with the profile; `None` while it never did.
fn stamp(profile: &PreparedProfile) -> Option<u64> {
    let metadata = fs::metadata(profile.folder.join(profile.browser.settings_file())).ok()?;
    // Only compared with itself.
    Some((metadata.mtime().cast_unsigned() << 30) ^ metadata.mtime_nsec().cast_unsigned() ^ metadata.ino())
}

/// Checks that the browser of `profile` can be woken at all, before anything is written; with `allow_debug_port` a Firefox
/// that is not an ESR can be, too.
pub fn check_browser(profile: &ProfileConfig, allow_debug_port: bool) -> Result<(), DesktopError> {
    match Launcher::check(profile) {
        Err(DesktopError::Unsuitable { .. } | DesktopError::WeakerSandbox { .. }) if allow_debug_port => Ok(()),
        checked => checked,
    }
}
