//! The file that holds a VAPID key: for its owner only, and never overwritten.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use doorbell_private_file as private_file;
use doorbell_protocol::vapid::sign::SigningKey;

use crate::state::state_dir;

/// The longest key file, in bytes.
const FILE_MAX: u64 = 64 * 1024;

/// `file`, or where the key of `doorbell send` is kept.
pub(crate) fn path_or_default(file: Option<PathBuf>) -> Result<PathBuf> {
    let default = || state_dir().map(|dir| dir.join("vapid.pem"));
    file.or_else(default).ok_or_else(|| anyhow!("neither HOME nor XDG_STATE_HOME is set: name the file of the key"))
}

/// Reads a key: a PEM file, or the private key in base64url.
pub(crate) fn read(path: &Path) -> Result<SigningKey> {
    let what = || format!("cannot read the key in {}", path.display());
    let metadata = fs::metadata(path).with_context(what)?;
    if metadata.len() > FILE_MAX {
        return Err(anyhow!("it is too long for a key")).with_context(what);
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        eprintln!("doorbell: others can read the private key in {}: chmod 600 it", path.display());
    }
    let text = fs::read_to_string(path).with_context(what)?;
    let key = if text.contains("-----BEGIN") { SigningKey::from_pem(&text) } else { SigningKey::from_base64url(&text) };
    key.with_context(what)
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
        eprintln!("doorbell: made a VAPID key in {}", path.display());
    }
    read(path)
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
    fn the_keys_of_other_tools_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = SigningKey::generate().unwrap();
        fs::write(&path, format!("{}\n", key.to_base64url().unwrap().as_str())).unwrap();
        assert_eq!(read(&path).unwrap().public_key(), key.public_key());
        fs::write(&path, "no key").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("cannot read the key in") && error.contains("not a P-256 private key"), "{error}");
    }
}
