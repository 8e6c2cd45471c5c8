//! Bodies: well-formed `aes128gcm` records (RFC 8188) whose content is random, since the service can open none and to
//! encrypt would cost the generator what it needs for measuring.
//!
//! The content begins with a stamp, so that the receiver of the message knows which one it is and since when it has
//! been due.

use bytes::Bytes;
use doorbell_protocol::base64url;
use doorbell_protocol::vapid::sign::SigningKey;

use crate::error::{Blame, LoadError, Result};

const SALT: usize = 16;
const RECORD_SIZE: u32 = 4096;
const KEY: usize = 65;
/// Salt, record size, the length of the key, the key.
const HEADER: usize = SALT + 4 + 1 + KEY;
const STAMP: usize = 16;

/// The smallest body that has room for the stamp and the tag.
pub(super) const SIZE_MIN: usize = HEADER + STAMP + 16;
/// The largest body that every push service takes (RFC 8030 s7.2).
pub(super) const SIZE_MAX: usize = 4096;

/// As many bytes of the base64url as hold everything up to the end of the stamp: a whole number of four.
const TEXT: usize = (HEADER + STAMP) / 3 * 4;
const _: () = assert!((HEADER + STAMP).is_multiple_of(3));

/// Which message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// When it should have been sent, on the monotonic clock.
    pub(super) intended: u64,
    /// The worker that sent it, so that it does not take messages of an earlier run for its own.
    pub(super) worker: u32,
    /// Its place in the worker's ledger.
    pub(super) serial: u32,
}

/// Makes bodies of one size.
pub(super) struct Bodies {
    key: [u8; KEY],
    random: Vec<u8>,
    size: usize,
}

/// Random bytes that bodies are cut from.
const POOL: usize = 64 << 10;

impl Bodies {
    pub(super) fn new(size: usize) -> Result<Self> {
        if !(SIZE_MIN..=SIZE_MAX).contains(&size) {
            return Err(LoadError::Usage(format!("--size must be between {SIZE_MIN} and {SIZE_MAX}")));
        }
        // A record holds a valid public key where the sender's is.
        let key = *SigningKey::generate().blame_generator("cannot make a key")?.public_key().as_bytes();
        let mut random = vec![0; POOL];
        fastrand::fill(&mut random);
        Ok(Self { key, random, size })
    }

    /// The next body.
    pub(super) fn stamped(&self, stamp: Stamp) -> Bytes {
        let mut body = Vec::with_capacity(self.size);
        body.extend(fastrand::u128(..).to_ne_bytes());
        body.extend(RECORD_SIZE.to_be_bytes());
        body.push(KEY as u8);
        body.extend(self.key);
        body.extend(stamp.intended.to_be_bytes());
        body.extend(stamp.worker.to_be_bytes());
        body.extend(stamp.serial.to_be_bytes());
        let rest = self.size - body.len();
        let from = fastrand::usize(..POOL - SIZE_MAX);
        body.extend(&self.random[from..from + rest]);
        debug_assert_eq!(body.len(), self.size, "a body has the size that was asked for");
        body.into()
    }
}

impl Stamp {
    /// The stamp of a body.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        let (intended, rest) = body.get(HEADER..)?.split_first_chunk()?;
        let (worker, rest) = rest.split_first_chunk()?;
        let (serial, _) = rest.split_first_chunk()?;
        Some(Self {
            intended: u64::from_be_bytes(*intended),
            worker: u32::from_be_bytes(*worker),
            serial: u32::from_be_bytes(*serial),
        })
    }

    /// The stamp of a body in base64url. The rest of the body is not decoded.
    pub(super) fn of_text(body: &str) -> Option<Self> {
        Self::of(&base64url::decode(body.get(..TEXT)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_size_and_gives_back_its_stamp_from_both_forms() {
        for size in [SIZE_MIN, 1024, SIZE_MAX] {
            let stamp = Stamp { intended: u64::MAX - 7, worker: 0xdead_beef, serial: 12 };
            let body = Bodies::new(size).unwrap().stamped(stamp);
            assert_eq!(body.len(), size);
            assert_eq!(Stamp::of(&body), Some(stamp));
            assert_eq!(Stamp::of_text(&base64url::encode(&body)), Some(stamp));
        }
        assert!(Bodies::new(SIZE_MIN - 1).is_err() && Bodies::new(SIZE_MAX + 1).is_err());
    }

    #[test]
    fn a_body_is_a_record_that_a_recipient_would_try_to_open() {
        let body = Bodies::new(1024).unwrap().stamped(Stamp { intended: 1, worker: 2, serial: 3 });
        let keys = doorbell_protocol::ece::keys::AgentKeys::generate().unwrap();
        let error = doorbell_protocol::ece::aes128gcm::decrypt(&keys, &body).unwrap_err();
        assert_eq!(error, doorbell_protocol::ece::EceError::Sealed, "it fails at its tag, and not before");
    }

    #[test]
    fn a_body_that_is_not_ours_has_no_stamp() {
        assert_eq!(Stamp::of(&[0; HEADER + STAMP - 1]), None);
        assert_eq!(Stamp::of_text(&"A".repeat(TEXT - 1)), None);
        assert_eq!(Stamp::of_text(&"ä".repeat(TEXT)), None);
    }
}
