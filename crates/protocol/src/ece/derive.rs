//! Key derivation: HKDF with SHA-256 (RFC 5869) and the labels of RFC 8188 s2.2, s2.3, RFC 8291 s3.4 and the draft.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use super::EceError;

pub(super) const KEY_LENGTH: usize = 16;
pub(super) const NONCE_LENGTH: usize = 12;
pub(super) const IKM_LENGTH: usize = 32;
pub(super) const SALT_LENGTH: usize = 16;
pub(super) const TAG_LENGTH: usize = 16;

/// HKDF with `N` bytes of output.
pub(super) fn hkdf<const N: usize>(salt: &[u8], ikm: &[u8], info: &[&[u8]]) -> Result<Zeroizing<[u8; N]>, EceError> {
    let prk = Salt::new(HKDF_SHA256, salt).extract(ikm);
    let mut out = Zeroizing::new([0; N]);
    prk.expand(info, Length(N)).and_then(|okm| okm.fill(out.as_mut_slice())).map_err(|_| EceError::Crypto)?;
    Ok(out)
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// The content encryption key of one message, and its nonce before the record number is mixed in.
pub(super) struct ContentKey {
    key: LessSafeKey,
    nonce: Zeroizing<[u8; NONCE_LENGTH]>,
}

impl ContentKey {
    /// The key of an `aes128gcm` body.
    pub(super) fn aes128gcm(salt: &[u8], ikm: &[u8]) -> Result<Self, EceError> {
        let key = hkdf::<KEY_LENGTH>(salt, ikm, &[b"Content-Encoding: aes128gcm\0"])?;
        Self::new(&key, hkdf(salt, ikm, &[b"Content-Encoding: nonce\0"])?)
    }

    pub(super) fn new(key: &[u8; KEY_LENGTH], nonce: Zeroizing<[u8; NONCE_LENGTH]>) -> Result<Self, EceError> {
        let key = UnboundKey::new(&AES_128_GCM, key).map_err(|_| EceError::Crypto)?;
        Ok(Self { key: LessSafeKey::new(key), nonce })
    }

    /// Seals `record` as number `sequence`, tag behind.
    pub(super) fn seal(&self, sequence: u64, record: &mut Vec<u8>) -> Result<(), EceError> {
        let nonce = self.nonce_of(sequence);
        self.key.seal_in_place_append_tag(nonce, Aad::empty(), record).map_err(|_| EceError::Crypto)
    }

    /// Opens record number `sequence`.
    pub(super) fn open(&self, sequence: u64, record: &[u8]) -> Result<Vec<u8>, EceError> {
        let mut opened = record.to_vec();
        let nonce = self.nonce_of(sequence);
        let length = self.key.open_in_place(nonce, Aad::empty(), &mut opened).map_err(|_| EceError::Sealed)?.len();
        opened.truncate(length);
        Ok(opened)
    }

    /// The nonce XOR the record number as 96 bits, big endian (RFC 8188 s2.3).
    fn nonce_of(&self, sequence: u64) -> Nonce {
        let mut nonce = *self.nonce;
        for (byte, number) in nonce.iter_mut().skip(NONCE_LENGTH - 8).zip(sequence.to_be_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}
