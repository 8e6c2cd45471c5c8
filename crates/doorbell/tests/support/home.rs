//! A home directory of the test's own, in which `doorbell desktop` is installed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::desktop::on_path;
use super::process::Running;
use super::service::doorbell;

/// A home directory, with a folder for the session, and programs on a PATH of its own.
pub struct Home {
    folder: TempDir,
}

/// What is in a folder: each name with the contents of the file, or where the link leads.
pub type Listing = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Home {
    /// An empty one.
    pub fn new() -> Self {
        let home = Self { folder: tempfile::tempdir().expect("a home directory") };
        for name in ["home", "run", "bin"] {
            fs::create_dir(home.folder.path().join(name)).expect("a folder");
        }
        fs::set_permissions(home.session(), fs::Permissions::from_mode(0o700)).expect("a folder of its own");
        home
    }

    /// The home directory itself.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The folder of its session.
    pub fn session(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// What a file in it says.
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes a file, with the folders above it.
    pub fn writes(&self, name: &str, text: &str) -> PathBuf {
        let file = self.file(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(&file, text).expect("a file");
        file
    }

    /// A program on its PATH.
    pub fn has_program(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join("bin").join(name);
        fs::write(&file, text).expect("a program");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a program");
        file
    }

    /// A Firefox ESR on its PATH whose start is noted in `started`, and which ends at once.
    pub fn has_lazy_firefox(&self) -> PathBuf {
        let installed = self.folder.path().join("esr");
        fs::create_dir_all(installed.join("defaults/pref")).expect("a folder");
        let launcher = format!("#!/bin/sh\necho \"$@\" >> {}\n", self.folder.path().join("started").display());
        for (name, text) in [
            ("firefox-esr", launcher.as_str()),
            ("libxul.so", ""),
            ("application.ini", "SourceRepository=https://example.org/mozilla-esr153\n"),
        ] {
            fs::write(installed.join(name), text).expect("a file");
        }
        let link = self.folder.path().join("bin/firefox-esr");
        fs::set_permissions(installed.join("firefox-esr"), fs::Permissions::from_mode(0o755)).expect("a program");
        symlink(installed.join("firefox-esr"), &link).expect("a link");
        link
    }

    /// Where that Firefox is installed.
    pub fn firefox_folder(&self) -> PathBuf {
        self.folder.path().join("esr")
    }

    /// What that Firefox was started with, a line for each time.
    pub fn started(&self) -> String {
        fs::read_to_string(self.folder.path().join("started")).unwrap_or_default()
    }

    /// Puts the surroundings of this user around `command`.
    pub fn surrounds(&self, command: &mut Command) {
        // A shell, and what the test itself puts there: no browser and no systemd of this machine.
        let tools = self.folder.path().join("tools");
        if !tools.exists() {
            fs::create_dir(&tools).expect("a folder");
            for tool in ["sh", "cat", "sleep"] {
                symlink(on_path(tool).expect("a tool of every system"), tools.join(tool)).expect("a link");
            }
        }
        let path = std::env::join_paths([self.folder.path().join("bin"), tools]).expect("a PATH");
        for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "DBUS_SESSION_BUS_ADDRESS"] {
            command.env_remove(name);
        }
        let folder = self.folder.path();
        command.env("PATH", path).env("HOME", self.path()).env("XDG_RUNTIME_DIR", self.session());
        command.env("XDG_CONFIG_DIRS", folder.join("xdg")).env("XDG_DATA_DIRS", folder.join("share"));
        command.env("DISPLAY", ":none");
    }

    /// `doorbell desktop` with these words, until it ends.
    pub fn desktop(&self, words: &[&str]) -> Output {
        let mut command = doorbell("desktop");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOORBELL_")) {
            command.env_remove(name);
        }
        self.surrounds(command.args(words).stdin(std::process::Stdio::null()));
        command.output().expect("it starts")
    }

    /// The same, which succeeds: what it prints.
    pub fn does(&self, words: &[&str]) -> String {
        let output = self.desktop(words);
        let text = printed(&output);
        assert!(output.status.success(), "{words:?}: {text}");
        text
    }

    /// The same, which fails: what it prints.
    pub fn fails(&self, words: &[&str]) -> String {
        let output = self.desktop(words);
        let text = printed(&output);
        assert!(!output.status.success(), "{words:?}: {text}");
        text
    }

    /// What the unit starts, as systemd would.
    pub fn starts_the_unit(&self, more: impl FnOnce(&mut Command)) -> Running {
        let unit = self.text(".config/systemd/user/doorbell-desktop.service");
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec {line}"));
        self.surrounds(&mut command);
        more(&mut command);
        Running::start(&mut command)
    }

    /// All that is in it, and in the folder of the session.
    pub fn listing(&self) -> Listing {
        let mut listing = listing(&self.path());
        listing.extend(self::listing(&self.session()));
        listing
    }
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// All that is in a folder.
pub fn listing(folder: &Path) -> Listing {
    let mut listing = Listing::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            listing.extend(self::listing(&path));
            listing.insert(path, None);
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            listing.insert(path, Some(target.into_os_string().into_encoded_bytes()));
        } else {
            listing.insert(path.clone(), fs::read(&path).ok());
        }
    }
    listing
}
