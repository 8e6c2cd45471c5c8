//! `aesgcm`: the coding of draft-ietf-webpush-encryption-04, which old application servers still emit. Opened only.
//!
//! Salt and key stand in header fields, which real senders quote, pad and separate in every way there is.

use zeroize::Zeroizing;

use super::EceError;
use super::derive::{self, ContentKey, IKM_LENGTH, NONCE_LENGTH, SALT_LENGTH, TAG_LENGTH};
use super::keys::AgentKeys;
use crate::base64url;
use crate::headers::params;
use crate::key::{PUBLIC_KEY_LENGTH, PublicKey};

/// The record size when Encryption has no `rs`.
const RECORD_SIZE_DEFAULT: u32 = 4096;
/// Two octets of padding length and one of text.
const RECORD_SIZE_MIN: u32 = 3;
const PADDING_LENGTH: usize = 2;

/// Opens a body whose Encryption and Crypto-Key fields were `encryption` and `crypto_key`.
pub fn decrypt(keys: &AgentKeys, encryption: &str, crypto_key: &str, body: &[u8]) -> Result<Vec<u8>, EceError> {
    let Encryption { salt, record_size } = Encryption::parse(encryption)?;
    let sender = sender_key(crypto_key)?;
    // A record of full length announces another one, and Web Push has a single record: the rest was cut off.
    if body.len() < PADDING_LENGTH + TAG_LENGTH || body.len() - TAG_LENGTH >= record_size {
        return Err(EceError::Truncated);
    }
    let record = content_key(keys, &sender, &salt)?.open(0, body)?;
    unpad(&record).map(<[u8]>::to_vec)
}

/// The key and nonce of the draft's s4.2 and of draft-ietf-httpbis-encryption-encoding-03 s3.2.
fn content_key(keys: &AgentKeys, sender: &PublicKey, salt: &[u8; SALT_LENGTH]) -> Result<ContentKey, EceError> {
    let auth = keys.auth_secret().as_bytes();
    let ikm: Zeroizing<[u8; IKM_LENGTH]> = derive::hkdf(auth, &keys.agree(sender)?, &[b"Content-Encoding: auth\0"])?;
    let length = (PUBLIC_KEY_LENGTH as u16).to_be_bytes();
    let context: [&[u8]; 5] = [b"P-256\0", &length, keys.public_key().as_bytes(), &length, sender.as_bytes()];
    let info = |label: &'static [u8]| [&[label], &context[..]].concat();
    let key = derive::hkdf::<{ derive::KEY_LENGTH }>(salt, ikm.as_slice(), &info(b"Content-Encoding: aesgcm\0"))?;
    let nonce = derive::hkdf::<NONCE_LENGTH>(salt, ikm.as_slice(), &info(b"Content-Encoding: nonce\0"))?;
    ContentKey::new(&key, nonce)
}

/// Two octets of padding length, that many zeros, the text.
fn unpad(record: &[u8]) -> Result<&[u8], EceError> {
    let (length, rest) = record.split_first_chunk::<PADDING_LENGTH>().ok_or(EceError::Padding)?;
    let padding = usize::from(u16::from_be_bytes(*length));
    let (zeros, text) = rest.split_at_checked(padding).ok_or(EceError::Padding)?;
    if zeros.iter().all(|&octet| octet == 0) { Ok(text) } else { Err(EceError::Padding) }
}

/// `salt=…[;rs=…]`.
struct Encryption {
    salt: [u8; SALT_LENGTH],
    record_size: usize,
}

impl Encryption {
    fn parse(field: &str) -> Result<Self, EceError> {
        let mut entries = params::split(field, ',');
        let (entry, another) = (entries.next().ok_or(EceError::HeaderField)?, entries.next());
        // A key in the field itself would take the place of the agreed one (draft s4.1).
        if another.is_some() || params::get(entry, "aesgcm").is_some() {
            return Err(EceError::HeaderField);
        }
        let salt = params::get(entry, "salt").ok_or(EceError::HeaderField)?;
        let rs = params::get(entry, "rs").map_or(Ok(RECORD_SIZE_DEFAULT), str::parse);
        let rs = rs.map_err(|_| EceError::HeaderField)?;
        if rs < RECORD_SIZE_MIN {
            return Err(EceError::RecordSize(rs));
        }
        let salt = base64url::decode_array(salt).map_err(|_| EceError::HeaderField)?;
        Ok(Self { salt, record_size: usize::try_from(rs).map_err(|_| EceError::RecordSize(rs))? })
    }
}

/// The one `dh` of Crypto-Key; entries without it belong to VAPID.
fn sender_key(field: &str) -> Result<PublicKey, EceError> {
    let parameters = || params::split(field, ',').flat_map(|entry| params::split(entry, ';')).map(params::pair);
    let mut keys = parameters().filter(|(name, _)| name.eq_ignore_ascii_case("dh")).filter_map(|(_, value)| value);
    let (key, another) = (keys.next().ok_or(EceError::HeaderField)?, keys.next());
    if another.is_some() || parameters().any(|(name, _)| name.eq_ignore_ascii_case("aesgcm")) {
        return Err(EceError::HeaderField);
    }
    Ok(PublicKey::from_base64url(params::unquote(key))?)
}
