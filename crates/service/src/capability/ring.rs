//! The secrets behind capability URLs: a file of keys, each with the moment when it starts to seal.

use std::path::Path;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorbell_private_file as private_file;
use doorbell_protocol::time::UnixMs;
use thiserror::Error;
use zeroize::Zeroizing;

/// More keys are a mistake: each junk token is tried against all of them.
const KEYS_MAX: usize = 64;

/// The keys, oldest first. The newest one seals new resources; all of them open. It is never empty.
pub struct KeyRing(Vec<(UnixMs, Zeroizing<[u8; 32]>)>);

/// Why the key ring cannot be used.
#[derive(Debug, Error)]
pub enum KeyRingError {
    /// The file could not be read or written.
    #[error("cannot use the capability keys in {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// There is no file, although the store was in use. A new key would make a 404 of every URL that clients have.
    #[error(
        "{path} is missing, and the store was in use: restore the file from a backup (without it, every subscription \
         made so far is lost), or start with an empty state directory"
    )]
    Missing {
        /// The file.
        path: String,
    },
    /// A line is not a time and a key. The parser does not guess: with a lost key, every URL that it sealed becomes a
    /// 404.
    #[error(
        "line {line} of {path} is not `<milliseconds since 1970> <base64url of 32 bytes>`; restore the file from a \
         backup (without it, every subscription made so far is lost)"
    )]
    Damaged {
        /// The file.
        path: String,
        /// Counted from 1.
        line: usize,
    },
    /// The file has no key, or too many, including the one that rotation would add.
    #[error("{path} must hold 1 to {KEYS_MAX} keys; remove the oldest lines to retire the URLs that they sealed")]
    Count {
        /// The file.
        path: String,
    },
}

impl KeyRing {
    /// A ring with one new key that seals from `now` on.
    pub fn generate(now: UnixMs) -> Self {
        let mut ring = Self(Vec::new());
        ring.rotate(now);
        ring
    }

    /// Whether the ring has room for one more key.
    pub fn has_room(&self) -> bool {
        self.0.len() < KEYS_MAX
    }

    /// Adds a new key that seals all resources created from `now` on.
    pub fn rotate(&mut self, now: UnixMs) {
        let mut key = Zeroizing::new([0; 32]);
        rand::fill(key.as_mut()).expect("a system without randomness cannot run a push service");
        self.0.push((now, key));
    }

    /// Reads the ring, or creates the file (mode 0600) with one new key.
    pub fn load_or_create(path: &Path, now: UnixMs) -> Result<Self, KeyRingError> {
        let io = |source| KeyRingError::Io { path: path.display().to_string(), source };
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&Zeroizing::new(text), path),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let ring = Self::generate(now);
                ring.save(path).map_err(io)?;
                Ok(ring)
            }
            Err(e) => Err(io(e)),
        }
    }

    /// Writes the ring, all or nothing.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let line = |(since, key): &(UnixMs, Zeroizing<[u8; 32]>)| {
            format!("{} {}\n", since.as_millis(), URL_SAFE_NO_PAD.encode(key.as_ref()))
        };
        let text = Zeroizing::new(self.0.iter().map(line).collect::<String>());
        private_file::replace(path, text.as_bytes())
    }

    /// Each key with the moment when it starts to seal, oldest first.
    pub fn keys(&self) -> impl Iterator<Item = (UnixMs, &[u8; 32])> {
        self.0.iter().map(|(since, key)| (*since, &**key))
    }

    fn parse(text: &str, path: &Path) -> Result<Self, KeyRingError> {
        let path = || path.display().to_string();
        let mut keys = Vec::new();
        for (n, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let key = parse_line(line).ok_or_else(|| KeyRingError::Damaged { path: path(), line: n + 1 })?;
            keys.push(key);
        }
        keys.sort_by_key(|(since, _)| *since);
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(KeyRingError::Count { path: path() });
        }
        Ok(Self(keys))
    }

    #[cfg(test)]
    pub(super) fn keep_newest_of(&mut self, other: &Self) {
        self.0 = other.0.last().cloned().into_iter().collect();
    }
}

fn parse_line(line: &str) -> Option<(UnixMs, Zeroizing<[u8; 32]>)> {
    let (since, key) = line.trim().split_once(' ')?;
    let key: [u8; 32] = URL_SAFE_NO_PAD.decode(key.trim()).ok()?.try_into().ok()?;
    Some((UnixMs::from_millis(since.parse().ok()?), Zeroizing::new(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_made_once_kept_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("capability.keys");
        let made = KeyRing::load_or_create(&path, UnixMs::from_secs(1)).unwrap();
        let read = KeyRing::load_or_create(&path, UnixMs::from_secs(2)).unwrap();
        assert!(made.keys().eq(read.keys()));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_ring_is_refused_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("capability.keys");
        for text in ["", "12 short\n", "no key at all\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(KeyRing::load_or_create(&path, UnixMs::from_secs(1)).is_err(), "{text:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
