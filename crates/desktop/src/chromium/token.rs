//! The token that the extension gets from the push service: the credential of the wake door.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use doorbell_private_file as private_file;

/// The file in the profile in which the token is kept.
pub(crate) const FILE: &str = "doorbell-wake-token";
/// A sealed token of ours has 91 characters.
const CHARS_MAX: usize = 256;

/// A token that can stand in a header field.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct WakeToken(String);

impl WakeToken {
    /// Reads a text from outside.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "-_:".contains(c);
        let fits = !text.is_empty() && text.len() <= CHARS_MAX && text.chars().all(is_token);
        fits.then(|| Self(text.to_owned()))
    }

    /// The one of the profile in `folder`; `None` if its extension has not handed one over yet.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let mut text = String::new();
        match File::open(folder.join(FILE)) {
            Ok(file) => file.take(CHARS_MAX as u64 + 1).read_to_string(&mut text)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Self::parse(text.trim_end()))
    }

    /// Keeps it in the profile in `folder`. A token that is kept already is not written again.
    pub(super) fn keep(&self, folder: &Path) -> io::Result<()> {
        if Self::read(folder).is_ok_and(|kept| kept.as_ref() == Some(self)) {
            return Ok(());
        }
        private_file::replace(&folder.join(FILE), self.0.as_bytes())
    }

    /// The text.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_could_not_stand_in_a_header_field_is_not_a_token() {
        for text in ["", "a b", "a\r\nb", "tökén", &"x".repeat(257)] {
            assert!(WakeToken::parse(text).is_none(), "{text}");
        }
        for text in ["aZ09:_-", &"x".repeat(256)] {
            assert_eq!(WakeToken::parse(text).unwrap().into_string(), text);
        }
    }

    #[test]
    fn a_token_is_kept_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(WakeToken::read(folder.path()).unwrap().is_none());
        let token = WakeToken::parse("a:b").unwrap();
        token.keep(folder.path()).unwrap();
        let file = folder.path().join(FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(WakeToken::read(folder.path()).unwrap().unwrap().into_string(), "a:b");
        for hostile in ["a b", "", &"x".repeat(1 << 20)] {
            fs::write(&file, hostile).unwrap();
            assert!(WakeToken::read(folder.path()).unwrap().is_none());
        }
        fs::write(&file, [0xff]).unwrap();
        WakeToken::read(folder.path()).err().expect("it is not text");
    }
}
