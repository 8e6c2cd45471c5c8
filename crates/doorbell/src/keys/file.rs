//! The file that holds a VAPID key: for its owner only, and never overwritten.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use doorbell_private_file as private_file;
use doorbell_protocol::vapid::sign::SigningKey;

use super::form;
use crate::browser::status;
use crate::shell::quoted;
use crate::state::state_dir;

/// The longest key file, in bytes.
const FILE_MAX: u64 = 64 * 1024;

/// The name of the file where `doorbell send` looks for its key.
const DEFAULT_NAME: &str = "vapid.pem";

/// `file`, or where the key of `doorbell send` is kept.
pub(crate) fn path_or_default(file: Option<PathBuf>) -> Result<PathBuf> {
    let default = || state_dir().map(|dir| dir.join(DEFAULT_NAME));
    file.or_else(default).ok_or_else(|| anyhow!("neither HOME nor XDG_STATE_HOME is set: name the file of the key"))
}

/// Reads a key in any form that [`form`] knows.
pub(crate) fn read(path: &Path) -> Result<SigningKey> {
    let what = || format!("cannot read the key in {}", path.display());
    let metadata = fs::metadata(path).with_context(|| match path.try_exists() {
        Ok(false) => {
            format!("there is no key in {0}; `doorbell keys new --out {0}` makes one", quoted(&path.to_string_lossy()))
        }
        _ => what(),
    })?;
    if metadata.len() > FILE_MAX {
        return Err(anyhow!("it is too long for a key")).with_context(what);
    }
    let key = form::read(&fs::read(path).with_context(what)?).with_context(what)?;
    if metadata.permissions().mode() & 0o077 != 0 {
        status(&format!("others can read the private key in {0}: chmod 600 {0}", quoted(&path.to_string_lossy())));
    }
    Ok(key)
}

/// Writes a key to a file that does not exist yet; `false` if it does.
pub(crate) fn create(path: &Path, key: &SigningKey) -> Result<bool> {
    let what = || format!("cannot write the key to {}", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private_file::create_folder(folder).with_context(what)?;
    }
    match private_file::create_new(path, key.to_pem()?.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(what),
    }
}

/// The key in `path`, which is made if there is none.
pub(crate) fn read_or_create(path: &Path) -> Result<SigningKey> {
    if !path.exists() && create(path, &SigningKey::generate()?)? {
        status(&format!("made a VAPID key in {}", path.display()));
    }
    read(path)
}

/// The key in a file that the user named. A mistyped name must not make a second identity, which subscriptions of the
/// first reject: only a file with the name of the default is made, in a folder that exists.
pub(crate) fn read_named(path: &Path) -> Result<SigningKey> {
    let is_default = path.file_name().is_some_and(|name| name == DEFAULT_NAME);
    let has_folder = path.parent().is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir());
    if is_default && has_folder { read_or_create(path) } else { read(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_only_and_then_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/doorbell/vapid.pem");
        let made = read_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_or_create(&path).unwrap().public_key(), made.public_key());
        assert!(!create(&path, &SigningKey::generate().unwrap()).unwrap());
        assert_eq!(read(&path).unwrap().public_key(), made.public_key());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_mistyped_file_or_folder_is_an_error_and_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("vapid.pme"), folder.path().join("sate/vapid.pem")] {
            let error = format!("{:#}", read_named(&path).unwrap_err());
            assert!(error.contains("there is no key in") && error.contains("doorbell keys new --out"), "{error}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        read_named(&folder.path().join("vapid.pem")).unwrap();
    }
}
