//! `aes128gcm`: the content coding of RFC 8188 with the keys of RFC 8291.
//!
//! We write one record of at most 4096 octets, as RFC 8291 s4 asks, and read any number of them.

use aws_lc_rs::agreement;
use zeroize::Zeroizing;

use super::derive::{self, ContentKey, IKM_LENGTH, SALT_LENGTH, TAG_LENGTH};
use super::keys::{self, AgentKeys, AuthSecret};
use super::{EceError, PLAINTEXT_MAX};
use crate::key::{PUBLIC_KEY_LENGTH, PublicKey};

/// The record size that we write: Apple and some older agents take no other.
const RECORD_SIZE: u32 = 4096;
/// Room for one octet of delimiter, one of text and the tag (RFC 8188 s2).
const RECORD_SIZE_MIN: u32 = 18;
const HEADER_LENGTH: usize = SALT_LENGTH + 4 + 1;
const LAST: u8 = 2;
const NOT_LAST: u8 = 1;

/// How far a text is padded, so that its length tells less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Not at all.
    #[default]
    None,
    /// With zeros up to this many octets, at most [`PLAINTEXT_MAX`]; a longer text stays as it is.
    To(usize),
}

/// Encrypts `plaintext` to the subscription with the keys `agent` and `auth`, with a fresh key and a fresh salt.
pub fn encrypt(plaintext: &[u8], padding: Padding, agent: &PublicKey, auth: &AuthSecret) -> Result<Vec<u8>, EceError> {
    let mut salt = [0; SALT_LENGTH];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| EceError::Crypto)?;
    encrypt_with(plaintext, padding, agent, auth, &keys::generate_private()?, &salt)
}

/// [`encrypt`] with a given key and salt: for test vectors only, since a pair must never be used twice.
fn encrypt_with(
    plaintext: &[u8],
    padding: Padding,
    agent: &PublicKey,
    auth: &AuthSecret,
    sender: &agreement::PrivateKey,
    salt: &[u8; SALT_LENGTH],
) -> Result<Vec<u8>, EceError> {
    let padded = match padding {
        Padding::None => plaintext.len(),
        Padding::To(length) => plaintext.len().max(length),
    };
    if padded > PLAINTEXT_MAX {
        return Err(EceError::TooLong);
    }
    let sender_public = keys::public_of(sender)?;
    let ikm = ikm(&keys::agree(sender, agent)?, auth, agent, &sender_public)?;
    let mut record = Vec::with_capacity(padded + 1 + TAG_LENGTH);
    record.extend_from_slice(plaintext);
    record.push(LAST);
    record.resize(padded + 1, 0);
    ContentKey::aes128gcm(salt, ikm.as_slice())?.seal(0, &mut record)?;
    let keyid = sender_public.as_bytes();
    let keyid_length = [PUBLIC_KEY_LENGTH as u8];
    Ok([&salt[..], &RECORD_SIZE.to_be_bytes(), &keyid_length, keyid, &record].concat())
}

/// Opens a body. Anything that is not exactly a message for these keys is an error, and then nothing of it is given out.
pub fn decrypt(keys: &AgentKeys, body: &[u8]) -> Result<Vec<u8>, EceError> {
    let header = Header::parse(body)?;
    let sender = PublicKey::from_bytes(header.keyid)?;
    let ikm = ikm(&keys.agree(&sender)?, keys.auth_secret(), keys.public_key(), &sender)?;
    header.open(ikm.as_slice())
}

/// The input keying material of RFC 8291 s3.4.
fn ikm(
    shared: &[u8],
    auth: &AuthSecret,
    agent: &PublicKey,
    sender: &PublicKey,
) -> Result<Zeroizing<[u8; IKM_LENGTH]>, EceError> {
    derive::hkdf(auth.as_bytes(), shared, &[b"WebPush: info\0", agent.as_bytes(), sender.as_bytes()])
}

/// The header of a body (RFC 8188 s2.1) and what follows it.
struct Header<'a> {
    salt: &'a [u8],
    record_size: usize,
    keyid: &'a [u8],
    records: &'a [u8],
}

impl<'a> Header<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, EceError> {
        let (fixed, rest) = body.split_first_chunk::<HEADER_LENGTH>().ok_or(EceError::HeaderTruncated)?;
        let (salt, after) = fixed.split_at(SALT_LENGTH);
        let &[a, b, c, d, keyid_length] = after else { return Err(EceError::HeaderTruncated) };
        let record_size = u32::from_be_bytes([a, b, c, d]);
        if record_size < RECORD_SIZE_MIN {
            return Err(EceError::RecordSize(record_size));
        }
        let (keyid, records) = rest.split_at_checked(usize::from(keyid_length)).ok_or(EceError::HeaderTruncated)?;
        let record_size = usize::try_from(record_size).map_err(|_| EceError::RecordSize(record_size))?;
        Ok(Self { salt, record_size, keyid, records })
    }

    /// Opens all records. The delimiter tells the last one, so that a body cut between records is noticed.
    fn open(&self, ikm: &[u8]) -> Result<Vec<u8>, EceError> {
        let key = ContentKey::aes128gcm(self.salt, ikm)?;
        let mut text = Vec::with_capacity(self.records.len());
        let mut records = (0u64..).zip(self.records.chunks(self.record_size)).peekable();
        if records.peek().is_none() {
            return Err(EceError::Truncated);
        }
        while let Some((sequence, record)) = records.next() {
            if record.len() <= TAG_LENGTH {
                return Err(EceError::Truncated);
            }
            let opened = key.open(sequence, record)?;
            text.extend_from_slice(unpad(&opened, records.peek().is_none())?);
        }
        Ok(text)
    }
}

/// The text of a record: what stands before the delimiter, which is the last octet that is not zero.
fn unpad(record: &[u8], last: bool) -> Result<&[u8], EceError> {
    let at = record.iter().rposition(|&octet| octet != 0).ok_or(EceError::Padding)?;
    match (record[at], last) {
        (LAST, true) | (NOT_LAST, false) => Ok(&record[..at]),
        (NOT_LAST, true) => Err(EceError::Truncated),
        _ => Err(EceError::Padding),
    }
}
