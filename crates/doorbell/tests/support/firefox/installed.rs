//! A copy of the installed Firefox under a prefix of the test's own, which can be upgraded and removed as a package is.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::program;
use crate::support::desktop::on_path;

/// What an upgrade replaces; the rest is links to the installed one.
const ABOUT: [&str; 2] = ["application.ini", "platform.ini"];

/// An installed Firefox.
pub struct Installed {
    original: PathBuf,
    build: String,
    prefix: TempDir,
}

impl Installed {
    /// A copy of the one on this machine.
    pub fn copy() -> Self {
        let original = on_path(program().expect("a Firefox")).expect("a program");
        let original = fs::canonicalize(original).expect("a program");
        let about = fs::read_to_string(original.with_file_name(ABOUT[0])).expect("its description");
        let build = about.lines().find_map(|line| line.strip_prefix("BuildID=")).expect("a build").to_owned();
        let prefix = tempfile::tempdir().expect("a prefix");
        let copy = Self { original, build, prefix };
        fs::create_dir(copy.folder()).expect("a folder");
        let installed = copy.original.parent().expect("a folder");
        for entry in fs::read_dir(installed).expect("a folder").flatten() {
            let name = entry.file_name();
            let is_replaced = ABOUT.iter().any(|about| name == *about) || Some(&*name) == copy.original.file_name();
            if !is_replaced {
                symlink(entry.path(), copy.folder().join(name)).expect("a link");
            }
        }
        copy.is_upgraded_to(&copy.build);
        copy
    }

    /// Its launcher.
    pub fn program(&self) -> PathBuf {
        self.folder().join(self.original.file_name().expect("a name"))
    }

    /// Another build takes its place: its launcher has other bytes, and more of them.
    pub fn is_upgraded_to(&self, build: &str) {
        for name in ABOUT {
            let about = fs::read_to_string(self.original.with_file_name(name)).expect("a description");
            self.puts(name.as_ref(), about.replace(&self.build, build).as_bytes(), 0o644);
        }
        let mut launcher = fs::read(&self.original).expect("a launcher");
        let (old, new) = (self.build.as_bytes(), build.as_bytes());
        assert_eq!(old.len(), new.len());
        let places: Vec<usize> =
            (0..launcher.len() - old.len()).filter(|&at| launcher[at..].starts_with(old)).collect();
        assert!(!places.is_empty(), "the launcher has its build in it");
        for at in places {
            launcher[at..at + new.len()].copy_from_slice(new);
        }
        launcher.extend_from_slice(new);
        self.puts(self.program().file_name().expect("a name").as_ref(), &launcher, 0o755);
    }

    /// Its package is removed.
    pub fn is_removed(&self) {
        fs::remove_dir_all(self.folder()).expect("it is removed");
    }

    /// Replaces a file as a package manager does.
    fn puts(&self, name: &Path, bytes: &[u8], mode: u32) {
        let (file, new) = (self.folder().join(name), self.folder().join("new"));
        fs::write(&new, bytes).expect("a file");
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).expect("its mode");
        fs::rename(&new, &file).expect("it takes the place of the old one");
    }

    fn folder(&self) -> PathBuf {
        self.prefix.path().join("firefox-esr")
    }
}
