//! The folders of links: one for each installed Firefox, so that profiles with different programs do not share one.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::error::DesktopError;

/// A part of every Firefox that is a link in our folder.
pub(super) const LIBRARY: &str = "libxul.so";

/// The folder in `folders` for the Firefox that is installed in `installed`, an absolute path: named by that path.
pub(super) fn folder_for(installed: &Path, folders: &Path) -> PathBuf {
    let path = installed.as_os_str().as_bytes();
    let mut name = Vec::with_capacity(path.len());
    for &byte in path.strip_prefix(b"/").unwrap_or(path) {
        match byte {
            b'/' => name.push(b'+'),
            // Another path never gets the same name.
            b'+' => name.extend_from_slice(b"%2B"),
            b'%' => name.extend_from_slice(b"%25"),
            other => name.push(other),
        }
    }
    folders.join(OsString::from_vec(name))
}

/// Removes the folders of links to programs that are gone.
pub(super) fn remove_orphans(folders: &Path) -> Result<(), DesktopError> {
    let entries = match fs::read_dir(folders) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(DesktopError::io("read", folders))?,
    };
    for entry in entries {
        let folder = entry.map_err(DesktopError::io("read", folders))?.path();
        if is_orphan(&folder) {
            // It does not follow links. Another desktop part may remove the same folder at this moment.
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(DesktopError::io("delete", &folder)(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn is_orphan(folder: &Path) -> bool {
    let library = folder.join(LIBRARY);
    let is_gone = |result: io::Result<_>| result.is_err_and(|error| error.kind() == ErrorKind::NotFound);
    library.is_symlink() && is_gone(fs::metadata(&library))
}

/// The names of what is in `folder`.
pub(super) fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn different_paths_have_different_names() {
        let name = |path: &str| folder_for(Path::new(path), Path::new("/f")).to_str().unwrap().to_owned();
        assert_eq!(name("/usr/lib/firefox-esr"), "/f/usr+lib+firefox-esr");
        let names = ["/a/b", "/a+b", "/a%2Bb", "/a%b", "/a/%b", "/a%/b", "/ab"].map(name);
        for (at, one) in names.iter().enumerate() {
            assert!(!names[..at].contains(one), "{one}");
            assert_eq!(Path::new(one).parent(), Some(Path::new("/f")));
        }
    }

    #[test]
    fn only_the_folders_of_programs_that_are_gone_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (folders, installed) = (folder.path().join("links"), folder.path().join("installed"));
        remove_orphans(&folders).unwrap();
        fs::create_dir(&installed).unwrap();
        fs::write(installed.join(LIBRARY), "library").unwrap();
        for (name, target) in [("kept", installed.join(LIBRARY)), ("gone", folder.path().join("removed/libxul.so"))] {
            fs::create_dir_all(folders.join(name)).unwrap();
            symlink(target, folders.join(name).join(LIBRARY)).unwrap();
            // A link to a folder: what is in it stays.
            symlink(&installed, folders.join(name).join("browser")).unwrap();
        }
        fs::create_dir(folders.join("other")).unwrap();
        remove_orphans(&folders).unwrap();
        let mut left = names(&folders).unwrap();
        left.sort();
        assert_eq!(left, [OsStr::new("kept"), OsStr::new("other")]);
        assert!(installed.join(LIBRARY).exists());
    }
}
