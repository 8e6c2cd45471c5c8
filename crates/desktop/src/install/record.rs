//! What an installation has written: the files, and the folders that it created for them. By it everything is taken away
//! again, and no file of another program is written over.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use doorbell_private_file as private_file;
use serde::{Deserialize, Serialize};

use crate::browser::Browser;
use crate::error::DesktopError;

/// Its largest file, and the most that is read of another one.
const BYTES_MAX: u64 = 1 << 20;

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text that other users may read.
    Public(String),
    /// Text for this user only.
    Private(String),
    /// A link.
    Link(PathBuf),
}

/// The record. It is a file itself. One for all users has paths below its root: an image is unpacked somewhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// The files, in the order in which they were written.
    files: Vec<PathBuf>,
    /// What was written into those that cannot name their owner, or into all for all users: a number by which a change of
    /// them is seen.
    sums: BTreeMap<PathBuf, u64>,
    /// The folders that were missing, the outer ones first.
    folders: Vec<PathBuf>,
    /// The profiles that it created.
    pub(super) profiles: Vec<PreparedProfile>,
    /// The everyday profiles of Firefox that have our settings.
    pub(super) adopted: Vec<PathBuf>,
    /// Of an installation for all users: an administrator may edit any of its files, which then is no longer ours.
    #[serde(skip)]
    root: Option<PathBuf>,
}

/// A profile that an installation created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedProfile {
    /// Its browser.
    pub browser: Browser,
    /// Its folder.
    pub folder: PathBuf,
    /// The state of the file that its browser writes whenever it runs, after the profile was prepared.
    pub(super) stamp: Option<u64>,
}

impl Record {
    /// The record in `file`; an empty one if there is none.
    pub(super) fn read(file: &Path) -> Result<Self, DesktopError> {
        match read(file) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| DesktopError::refused(file, format!("it is damaged ({error}): delete it"))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(DesktopError::io("read", file)(error)),
        }
    }

    /// Reads that of an installation for all users below `root`.
    pub(super) fn read_below(root: &Path, file: &Path) -> Result<Self, DesktopError> {
        let record = Self::read(file)?;
        let is_inside = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        if !record.files.iter().chain(&record.folders).chain(record.sums.keys()).all(|path| is_inside(path)) {
            return Err(DesktopError::refused(file, "it is damaged (a path is not below its root): delete it"));
        }
        Ok(Self { root: Some(root.to_owned()), ..record.with_paths(|path| root.join(path)) })
    }

    fn with_paths(&self, map: impl Fn(&Path) -> PathBuf) -> Self {
        let mapped = |paths: &[PathBuf]| paths.iter().map(|path| map(path)).collect();
        Self {
            files: mapped(&self.files),
            folders: mapped(&self.folders),
            sums: self.sums.iter().map(|(path, sum)| (map(path), *sum)).collect(),
            ..self.clone()
        }
    }

    /// Whether anything is installed.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Notes that what is created in `folder` needs it and the folders above it: those that are missing are ours.
    pub(super) fn needs_folder(&mut self, folder: &Path) {
        let missing: Vec<&Path> =
            folder.ancestors().take_while(|folder| self.root.as_deref() != Some(*folder) && !folder.exists()).collect();
        for folder in missing.into_iter().rev() {
            if !self.folders.iter().any(|known| known == folder) {
                self.folders.push(folder.to_owned());
            }
        }
    }

    /// Writes it to `file`.
    pub(super) fn write(&mut self, file: &Path) -> Result<(), DesktopError> {
        let folder = file.parent().expect("a file is in a folder");
        self.needs_folder(folder);
        private_file::create_folder(folder).map_err(DesktopError::io("create", folder))?;
        let relative = self.root.as_deref().map(|root| {
            self.with_paths(|path| path.strip_prefix(root).expect("all that it writes is below the root").to_owned())
        });
        let text = serde_json::to_vec_pretty(relative.as_ref().unwrap_or(self));
        let text = text.map_err(|error| DesktopError::io("write", file)(error.into()))?;
        private_file::replace(file, &text).map_err(DesktopError::io("write", file))
    }

    /// Refuses to write over a file of another program.
    pub(super) fn check(&self, planned: &[Planned]) -> Result<(), DesktopError> {
        let foreign =
            planned.iter().find(|planned| planned.path.symlink_metadata().is_ok() && !self.is_ours(&planned.path));
        match foreign {
            Some(planned) => {
                let owner = if self.root.is_some() { "as an installation has left it" } else { "from doorbell" };
                let help = "move it away, and see `doorbell desktop install --print`";
                Err(DesktopError::refused(&planned.path, format!("it is there, and not {owner}: {help}")))
            }
            None => Ok(()),
        }
    }

    /// Writes the files in place of those of an earlier installation. Its record, in `file`, is written first: what a
    /// crash leaves behind can be taken away too.
    pub(super) fn put(&mut self, planned: &[Planned], file: &Path) -> Result<(), DesktopError> {
        self.check(planned)?;
        let old: Vec<PathBuf> = std::mem::take(&mut self.files);
        self.files = planned.iter().map(|planned| planned.path.clone()).collect();
        let dropped: Vec<PathBuf> = old.into_iter().filter(|old| !self.files.contains(old)).collect();
        for planned in planned {
            match &planned.content {
                Content::Public(text) | Content::Private(text) if self.root.is_some() || !names_owner(text) => {
                    self.sums.insert(planned.path.clone(), sum(text));
                }
                Content::Link(target) if self.root.is_some() => {
                    self.sums.insert(planned.path.clone(), sum(&target.to_string_lossy()));
                }
                _ => {}
            }
            self.needs_folder(planned.path.parent().expect("a file is in a folder"));
        }
        self.files.extend(dropped.iter().cloned());
        self.write(file)?;
        planned.iter().try_for_each(write)?;
        for path in dropped.iter().filter(|path| self.is_ours(path)) {
            remove(path)?;
        }
        self.files.retain(|path| !dropped.contains(path));
        self.write(file)
    }

    /// Removes the files that are still ours: those that are not any more are returned.
    pub(super) fn remove_files(&mut self) -> Result<Vec<PathBuf>, DesktopError> {
        let mut kept = Vec::new();
        for path in std::mem::take(&mut self.files).into_iter().rev() {
            let there = path.symlink_metadata().is_ok();
            match there.then(|| self.is_ours(&path)) {
                Some(false) => kept.push(path),
                Some(true) => remove(&path)?,
                None => {}
            }
        }
        Ok(kept)
    }

    /// Removes the folders that it created, if nothing of another program is in them.
    pub(super) fn remove_folders(&self) {
        for folder in self.folders.iter().rev() {
            // One that is not empty is kept.
            fs::remove_dir(folder).ok();
        }
    }

    fn is_ours(&self, path: &Path) -> bool {
        let unchanged = |sum_then: &u64| match fs::read_link(path) {
            Ok(target) => sum(&target.to_string_lossy()) == *sum_then,
            Err(_) => read(path).is_ok_and(|text| sum(&text) == *sum_then),
        };
        (self.root.is_none() && is_marked(path)) || self.sums.get(path).is_some_and(unchanged)
    }
}

/// Whether the file, or that which it is a link to, says that it is ours. A link to a file that is gone has no other
/// owner either.
fn is_marked(path: &Path) -> bool {
    let target = fs::read_link(path);
    match read(path) {
        Ok(text) => names_owner(&text),
        Err(error) => error.kind() == ErrorKind::NotFound && target.is_ok(),
    }
}

/// Whether the first line of a file says that it is ours.
fn names_owner(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.contains("Written by `doorbell "))
}

/// FNV-1a: it only has to show that a user has edited the file.
fn sum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn write(planned: &Planned) -> Result<(), DesktopError> {
    let Planned { path, content } = planned;
    let folder = path.parent().expect("a file is in a folder");
    let created = match content {
        Content::Private(_) => private_file::create_folder(folder),
        Content::Public(_) | Content::Link(_) => fs::create_dir_all(folder),
    };
    created.map_err(DesktopError::io("create", folder))?;
    match content {
        Content::Public(text) => private_file::replace_public(path, text.as_bytes()),
        Content::Private(text) => private_file::replace(path, text.as_bytes()),
        Content::Link(target) if fs::read_link(path).is_ok_and(|linked| linked == *target) => Ok(()),
        Content::Link(target) => {
            remove(path)?;
            symlink(target, path)
        }
    }
    .map_err(DesktopError::io("write", path))
}

pub(super) fn remove(path: &Path) -> Result<(), DesktopError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(DesktopError::io("delete", path)(error)),
        _ => Ok(()),
    }
}
